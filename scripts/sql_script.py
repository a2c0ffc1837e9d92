"""The statements of the extension's scripts, for the programs that read them."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATH_IS_SET = "SET LOCAL search_path = pg_catalog, pg_temp"

TOKEN = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|\bBEGIN\s+ATOMIC\b|^END\b|;", re.I | re.S | re.M)

OBJECT = re.compile(
    r"CREATE\s+(?:UNLOGGED\s+|UNIQUE\s+)?(FUNCTION|PROCEDURE|VIEW|TABLE|TYPE|SEQUENCE|DOMAIN|INDEX)\s+([\w.]+)", re.I
)
COMMENT = re.compile(r"COMMENT\s+ON\s+(\w+)\s+([\w.]+)", re.I)
CONFIG = re.compile(r"SELECT\s+pg_catalog\.pg_extension_config_dump\('([\w.]+)'", re.I)


def parts(root=ROOT):
    """The sources of the install script, in their order."""
    return sorted((root / "extension" / "sql").glob("[0-9]*.sql"))


def base(root=ROOT):
    """The install script, as the Makefile puts it together."""
    return "".join(f"\n-- {path.name}\n\n{path.read_text()}" for path in parts(root))


def version(root=ROOT):
    return re.search(r"^default_version *= *'(.*)'", (root / "extension" / "insula.control").read_text(), re.M).group(1)


def number(text):
    """A version as numbers, to be compared."""
    return tuple(int(part) for part in text.split("."))


def releases(root=ROOT):
    """The versions that were released, the oldest first."""
    names = (path.stem for path in (root / "extension" / "releases").glob("insula--*.sql"))
    return sorted((name.removeprefix("insula--") for name in names), key=number)


def without_meta(text):
    """The text without psql's commands."""
    return re.sub(r"^\\.*$", "", text, flags=re.M)


def statements(text):
    """Each statement with its line; bodies between dollars, and BEGIN ATOMIC ... END, are part of theirs."""
    in_body, code = False, []
    last = 0
    for match in TOKEN.finditer(text):
        code.append(text[last : match.start()])
        word = match.group()
        last = match.end()
        if word.startswith(("--", "/*")):
            continue
        code.append(word)
        if word.upper().startswith("BEGIN"):
            in_body = True
        elif word.upper() == "END":
            in_body = False
        elif word == ";" and not in_body:
            statement = "".join(code).strip()
            # Its line is where it ends, less what it is long.
            yield text.count("\n", 0, last) + 1 - statement.count("\n"), statement
            code = []
    rest = ("".join(code) + text[last:]).strip()
    if rest:
        yield text.count("\n") + 1, rest


def bare(statement):
    """The statement without what its strings and bodies hold."""
    return re.sub(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", "''", statement, flags=re.S)


def key_of(statement):
    """What the statement makes, or None."""
    if made := OBJECT.match(bare(statement)):
        return made.group(1).upper(), made.group(2)
    if made := COMMENT.match(statement):
        return "COMMENT", f"{made.group(1).upper()} {made.group(2)}"
    if made := CONFIG.match(statement):
        return "CONFIG", made.group(1)
    return None


def keyed(text):
    """The statements of a script by what they make."""
    return {key: statement for _, statement in statements(without_meta(text)) if (key := key_of(statement))}
