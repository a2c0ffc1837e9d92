#!/usr/bin/env python3
"""Holds the order of the rooms: a file includes its own room's headers and those of rooms below it, and
one file alone registers callbacks at the end of a transaction, one alone knows the versions of PostgreSQL, and
one alone tells shared memory how rows change.

    includes.py [SOURCE_TREE]

A room is a folder of C++ sources.  What lies directly beside the rooms is no room: a header there is
the ground that all rooms stand on and includes none of them, a source file there is the roof and may
include all.  Headers of others (<...>, and PostgreSQL's, which end in .h) are of no concern.
"""

import pathlib
import re
import sys

# From the top; an arrow goes down only.
EXTENSION = [
    "entry",
    "provision",
    "scheduler",
    "schedule",
    "operation",
    "definition",
    "storage",
    "tenant",
    "spi",
    "shared",
    "context",
    "core",
]
CLIENT = ["testing", "face", "runtime", "wire", "core"]

CALLBACKS = re.compile(r"\bRegister(Xact|SubXact|ResourceRelease)Callback\b")
OF_CALLBACKS = "extension/src/shared/transaction_end.cpp"

# The keys of a system cache after the first differ between versions: a look-up by more of them compiles
# and finds nothing.
VERSIONS = re.compile(r"PG_VERSION_NUM|\b(SearchSysCache\w*|GetSysCacheOid)[2-4]\b")
OF_VERSIONS = "extension/src/pg_versions.hpp"

# What follows from the change of a row.  shared/ defines and uses it.
TOLD = re.compile(
    r"\b(announce_(ready|due|upkeep|claimable|claimed|ended)"
    r"|count_(arrived|left|moved|happened|wait|run)|note_permits_used)\("
)
OF_TOLD = "extension/src/storage/tell.cpp"

INCLUDE = re.compile(r'\s*#\s*include\s+"([^"]+\.hpp)"')


def includes_of(path):
    """Yields the number and the header of each line that includes a header of ours."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if match := INCLUDE.match(line):
            yield number, match.group(1)


def fault_of(rooms, room, is_header, header):
    """Says which rule forbids the include, or None."""
    room_of_header = header.split("/")[0] if "/" in header else None
    if room_of_header is None:
        if room == "core":
            return "core/ knows nothing beside core/"
        return None
    if room_of_header not in rooms:
        return f"{room_of_header}/ is no room of {' -> '.join(rooms)}"
    if room is None:
        return f"a header beside the rooms lies below {room_of_header}/" if is_header else None
    if rooms.index(room) > rooms.index(room_of_header):
        return f"an arrow goes down only: {room}/ lies below {room_of_header}/ ({' -> '.join(rooms)})"
    return None


def check(tree, top, rooms):
    """Prints each include that breaks a rule; returns how many there are and how many were looked at."""
    faults = 0
    looked_at = 0
    for path in sorted([*top.rglob("*.cpp"), *top.rglob("*.hpp")]):
        inside = path.relative_to(top).parts
        room = "core" if top.name == "core" else inside[0] if len(inside) > 1 else None
        if room is not None and room not in rooms:
            print(f"{path.relative_to(tree)}:1: {room}/ is no room of {' -> '.join(rooms)}")
            faults += 1
            continue
        for number, header in includes_of(path):
            looked_at += 1
            if fault := fault_of(rooms, room, path.suffix == ".hpp", header):
                print(f'{path.relative_to(tree)}:{number}: #include "{header}": {fault}')
                faults += 1
    return faults, looked_at


def check_owned(tree, pattern, owner, rule, but=None):
    """Prints each line outside of the owner, and of the room `but`, that has the pattern; returns how many there are."""
    faults = 0
    for path in sorted((tree / "extension/src").rglob("*.?pp")):
        if str(path.relative_to(tree)) == owner or path.parent.name == but:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if pattern.search(line):
                print(f"{path.relative_to(tree)}:{number}: only {owner} {rule}")
                faults += 1
    return faults


def main():
    tree = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[2]).resolve()
    parts = [("extension/src", EXTENSION), ("client/src", CLIENT), ("core", EXTENSION)]
    faults = check_owned(tree, CALLBACKS, OF_CALLBACKS, "registers callbacks: add a step to its list")
    faults += check_owned(tree, VERSIONS, OF_VERSIONS, "knows the versions of PostgreSQL and their caches' keys")
    faults += check_owned(tree, TOLD, OF_TOLD, "tells shared memory of rows: call tell() where one is written", "shared")
    for part, rooms in parts:
        of_part, looked_at = check(tree, tree / part, rooms)
        if looked_at == 0:
            print(f"{part}: no file with an include of ours was found")
            of_part += 1
        faults += of_part
    sys.exit(1 if faults else 0)


main()
