#!/usr/bin/env python3
"""Holds the install and update scripts of the extension to the rules of pgspot: a superuser runs them in
databases in which other roles may have made functions, operators and schemas.

    install-script.py [SQL_DIRECTORY]

- search_path is pg_catalog, pg_temp before anything else is done.
- Nothing is replaced or taken over: no CREATE OR REPLACE, no CREATE ... IF NOT EXISTS.
- What is created lies in schema insula, by name.
- No function is SECURITY DEFINER, and the body of an SQL function is parsed when it is made.
- PUBLIC is granted nothing.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATH_IS_SET = "SET LOCAL search_path = pg_catalog, pg_temp"

CREATES = re.compile(
    r"^CREATE\s+(?:UNLOGGED\s+|TEMP\s+)?(FUNCTION|PROCEDURE|AGGREGATE|VIEW|TABLE|TYPE|DOMAIN|SEQUENCE|OPERATOR|CAST|SCHEMA)\s+(\S+)",
    re.I,
)
INDEX = re.compile(r"^CREATE\s+(?:UNIQUE\s+)?INDEX\s.*?\sON\s+(\S+)", re.I | re.S)


def statements(text):
    """Each statement with its line; bodies between dollars, and BEGIN ATOMIC ... END, are part of theirs."""
    token = re.compile(r"--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|\bBEGIN\s+ATOMIC\b|^END\b|;", re.I | re.S | re.M)
    begin, in_body, code = 0, False, []
    last = 0
    for match in token.finditer(text):
        code.append(text[last:match.start()])
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


def faults_of(statement):
    bare = re.sub(r"'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$", "''", statement, flags=re.S)
    if re.match(r"CREATE\s+OR\s+REPLACE\b", bare, re.I):
        yield "replaces what another role may have made"
    if re.match(r"CREATE\b.*\bIF\s+NOT\s+EXISTS\b", bare, re.I | re.S):
        yield "takes over what another role may have made"
    created = CREATES.match(bare) or INDEX.match(bare)
    if created and not created.groups()[-1].startswith("insula."):
        yield "does not name schema insula"
    if re.search(r"\bSECURITY\s+DEFINER\b", bare, re.I):
        yield "is SECURITY DEFINER"
    if re.match(r"CREATE\s+(FUNCTION|PROCEDURE)\b", bare, re.I):
        language = re.search(r"\bLANGUAGE\s+(\w+)", bare, re.I)
        if not language or language.group(1).lower() not in ("c", "sql"):
            yield "is written in neither C nor SQL"
        elif language.group(1).lower() == "sql" and not re.search(r"\bBEGIN\s+ATOMIC\b|\bRETURN\b", bare, re.I):
            yield "is looked up by search_path at each call: write BEGIN ATOMIC"
    if re.match(r"GRANT\b.*\bTO\b.*\bPUBLIC\b", bare, re.I | re.S):
        yield "grants to PUBLIC"


def main():
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "extension" / "sql"
    parts = sorted(directory.glob("[0-9]*.sql"))
    scripts = [parts] + [[path] for path in sorted(directory.glob("insula--*--*.sql"))]
    found = []
    seen = 0
    for script in scripts:
        is_path_set = False
        for path in script:
            text = path.read_text()
            if path == script[0] and not text.startswith("\\echo"):
                found.append(f"{path}:1: psql runs it: begin with \\echo ... \\quit")
            text = re.sub(r"^\\.*$", "", text, flags=re.M)
            for line, statement in statements(text):
                seen += 1
                if not is_path_set and not statement.startswith(PATH_IS_SET):
                    found.append(f"{path}:{line}: comes before {PATH_IS_SET}")
                is_path_set = True
                found += [f"{path}:{line}: {fault}: {statement.splitlines()[0]}" for fault in faults_of(statement)]
    print("\n".join(found))
    print(f"{seen} statements")
    return 1 if found or not seen else 0


sys.exit(main())
