#!/usr/bin/env python3
"""Makes the script that updates the extension from the release before, out of the same sources as the install script.

    update-script.py            writes extension/sql/insula--OLD--NEW.sql, and says what it cannot know
    update-script.py --check    whether it would be written as it is, and each release has its way to the next
    update-script.py --release  keeps the install script, as that of a version which does not change any more, and the
                                digest of its update script

NEW is the version of the control file, OLD the newest release below it, whose install script is kept in
extension/releases/.  What the two have in common stays as it is.  What is new is made; a function, view or comment that
differs is replaced.  What becomes of a table or type that differs, and of what is no more, only a person knows:
extension/updates/OLD--NEW.sql has it (ALTER TABLE, DROP), and comes first.  What that drops is made anew.
"""

import hashlib
import re
import sys

from sql_script import ROOT, PATH_IS_SET, bare, base, key_of, keyed, number, parts, releases, statements, version, without_meta

REPLACEABLE = ("FUNCTION", "PROCEDURE", "VIEW")
# Checked or done for a fresh database alone, or done by each script.
NOT_UPDATED = ("00_prologue.sql", "90_grants.sql", "95_start.sql")

HEAD = """\\echo Use "ALTER EXTENSION insula UPDATE" to load this file. \\quit

-- Made by scripts/update-script.py: change extension/sql/[0-9]*.sql or extension/updates/, not this file.

{path};

-- Calls that come while a table is altered wait for this transaction, and it for those before: not for long.
SELECT pg_catalog.set_config('lock_timeout'::text, '3s'::text, true)
WHERE pg_catalog.current_setting('lock_timeout'::text) = '0'::text;
"""
TAIL = """
-- Sessions that remember tenants read them again, and see the version: the rights are there already.
GRANT SELECT ON insula.tenant TO insula_admin;

-- The scheduler stays as it was.  Both calls fail under a library that is older than this script.
SELECT CASE WHEN EXISTS (SELECT FROM insula.scheduler_wanted WHERE NOT wanted) THEN insula.stop_scheduler()
	ELSE insula.start_scheduler() END;
"""


def unkeyed(text):
    return {statement for _, statement in statements(without_meta(text)) if not key_of(statement)}


def names(by_hand, command, name):
    return re.search(rf"\b{command}\s+(?:\w+\s+)*?(?:ONLY\s+)?{re.escape(name)}\b", by_hand, re.I) is not None


def head(statement):
    """A function with its parameters: with others it is another function to CREATE OR REPLACE."""
    return re.split(r"\b(?:RETURNS|AS|LANGUAGE)\b", " ".join(bare(statement).split()), maxsplit=1, flags=re.I)[0]


def update(old_text, by_hand):
    """The statements that make new what the old install script has made, and what only a person can say."""
    old, old_deeds = keyed(old_text), unkeyed(old_text)
    out, faults, kept = [], [], set()
    hand = "\n".join(statement for _, statement in statements(without_meta(by_hand)))
    for path in parts():
        for _, statement in statements(without_meta(path.read_text())):
            key = key_of(statement)
            if not key:
                if path.name not in NOT_UPDATED and statement not in old_deeds and path.name not in by_hand:
                    faults.append(f"{path.name} does something else: say what an update does, and name the file there")
                continue
            kept.add(key)
            kind, name = key
            is_new = key not in old or names(hand, "DROP", name)
            if kind == "COMMENT":
                of = name.split(" ", 1)[1]
                if name.startswith("COLUMN "):
                    of = of.rpartition(".")[0]
                if old.get(key) != statement or names(hand, "DROP", of):
                    out.append(statement)
            elif is_new:
                out.append(statement)
            elif old[key] == statement:
                pass
            elif kind == "CONFIG":
                out.append(statement)
            elif kind != "VIEW" and kind in REPLACEABLE and head(old[key]) != head(statement):
                faults.append(f"{kind} {name} has other parameters: DROP it")
            elif kind in REPLACEABLE:
                out.append(re.sub(r"^CREATE", "CREATE OR REPLACE", statement, count=1))
            elif not names(hand, "ALTER", name):
                faults.append(f"{kind} {name} differs: ALTER it")
    for kind, name in old:
        gone = (kind, name) not in kept
        if gone and kind not in ("COMMENT", "CONFIG") and not names(hand, "DROP", name):
            faults.append(f"{kind} {name} is no more: DROP it")
        if gone and kind == "COMMENT" and tuple(name.split(" ", 1)) in kept and not names(hand, "COMMENT", name.split(" ", 1)[1]):
            faults.append(f"the comment on {name} is no more: COMMENT ON {name} IS NULL")
    return out, faults


def script(old):
    """The update script from a release to the version of the control file, and what is wrong with it."""
    path = ROOT / "extension" / "updates" / f"{old}--{version()}.sql"
    by_hand = path.read_text() if path.exists() else ""
    made, faults = update((ROOT / "extension" / "releases" / f"insula--{old}.sql").read_text(), by_hand)
    grants = next(part for part in parts() if part.name == "90_grants.sql").read_text()
    text = HEAD.format(path=PATH_IS_SET)
    if by_hand:
        text += f"\n-- {path.name}\n\n{by_hand.strip()}\n"
    text += "\n-- New, or not as it was.\n\n" + "".join(statement + "\n\n" for statement in made)
    text += f"-- 90_grants.sql\n\n{grants.strip()}\n{TAIL}"
    return text, [f"extension/updates/{path.name}: {fault}" for fault in faults]


def digest(old, new):
    """The update script's digest, and the file that has it since the release."""
    made = ROOT / "extension" / "sql" / f"insula--{old}--{new}.sql"
    return hashlib.sha256(made.read_bytes()).hexdigest() + "\n", ROOT / "extension" / "releases" / f"{made.name}.sha256"


def main():
    check = sys.argv[1:] == ["--check"]
    new, released = version(), releases()
    if sys.argv[1:] == ["--release"] and new not in released:
        path = ROOT / "extension" / "releases" / f"insula--{new}.sql"
        path.parent.mkdir(exist_ok=True)
        path.write_text(base())
        print(path.relative_to(ROOT))
        if released:
            now, kept = digest(released[-1], new)
            kept.write_text(now)
            print(kept.relative_to(ROOT))
        return 0
    older = [release for release in released if number(release) < number(new)]
    faults = []
    for release in released:
        if number(release) > number(new):
            faults.append(f"extension/releases has {release}, the control file {new}")
    if new in released and (ROOT / "extension" / "releases" / f"insula--{new}.sql").read_text() != base():
        faults.append(f"version {new} was released with other SQL: raise default_version in extension/insula.control")
    for old, to in zip(older, older[1:] + [new]):
        if not (ROOT / "extension" / "sql" / f"insula--{old}--{to}.sql").exists() and (check or to != new):
            faults.append(f"there is no extension/sql/insula--{old}--{to}.sql")
        elif to in released:
            now, kept = digest(old, to)
            if not kept.exists() or kept.read_text() != now:
                faults.append(f"extension/sql/insula--{old}--{to}.sql was released, and is not as it was")
    if older:
        text, found = script(older[-1])
        faults += found
        path = ROOT / "extension" / "sql" / f"insula--{older[-1]}--{new}.sql"
        if not check and not found:
            path.write_text(text)
            print(path.relative_to(ROOT))
        elif path.exists() and path.read_text() != text:
            faults.append(f"{path.relative_to(ROOT)} is not what scripts/update-script.py makes")
    print("\n".join(faults), file=sys.stderr, end="\n" if faults else "")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
