#!/usr/bin/env python3
"""Holds the install and update scripts of the extension to the rules of pgspot: a superuser runs them in
databases in which other roles may have made functions, operators and schemas.

    install-script.py [SQL_DIRECTORY]

- search_path is pg_catalog, pg_temp before anything else is done, and stays so: operators and functions are PostgreSQL's.
- Nothing is taken over: no CREATE ... IF NOT EXISTS, and CREATE OR REPLACE only in an update, of what the release
  before has made (extension/releases/), which PostgreSQL itself then finds to be a member.
- What is created lies in schema insula, by name, and is of a kind that this program knows.
- No function is SECURITY DEFINER, and the body of an SQL function is parsed when it is made.
- PUBLIC is granted nothing, and what functions grant it by themselves is revoked after the last of them.
"""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from sql_script import ROOT, PATH_IS_SET, bare as bare_of, key_of, keyed, statements, without_meta  # noqa: E402

CREATES = re.compile(
    r"^CREATE\s+(?:OR\s+REPLACE\s+)?(?:UNLOGGED\s+)?(FUNCTION|PROCEDURE|AGGREGATE|VIEW|TABLE|TYPE|DOMAIN|SEQUENCE)\s+(\S+)",
    re.I,
)
INDEX = re.compile(r"^CREATE\s+(?:UNIQUE\s+)?INDEX\s.*?\sON\s+(\S+)", re.I | re.S)
TAKES_OVER = re.compile(r"\bCREATE\b[^;]*?\bIF\s+NOT\s+EXISTS\b", re.I)
REPLACES = re.compile(r"\bCREATE\s+OR\s+REPLACE\b", re.I)
SETS_PATH = re.compile(r"\bSET\s+(?:LOCAL\s+|SESSION\s+)?search_path\b|\bset_config\(\s*'search_path'", re.I)
TO_PUBLIC = re.compile(r"\bGRANT\b[^;]*\bTO\b[^;]*\bPUBLIC\b", re.I)
REVOKES = "FROM insula.deviation"


def faults_of(statement, released=frozenset()):
    """What is wrong with a statement of a script; `released` is what the script may replace."""
    bare = bare_of(statement)
    # The statements of a DO block count as well; comments do not.
    deeds = statement if re.match(r"DO\b", bare, re.I) else bare
    if REPLACES.search(deeds) and key_of(re.sub(r"^CREATE\s+OR\s+REPLACE", "CREATE", statement, flags=re.I)) not in released:
        yield "replaces what another role may have made"
    if TAKES_OVER.search(deeds):
        yield "takes over what another role may have made"
    if SETS_PATH.search(statement if not bare.startswith("COMMENT") else "") and not statement.startswith(PATH_IS_SET):
        yield "changes search_path"
    if re.match(r"CREATE\b", bare, re.I):
        created = CREATES.match(bare) or INDEX.match(bare)
        if not created:
            yield "creates what this check does not know"
        elif not created.groups()[-1].startswith("insula."):
            yield "does not name schema insula"
    if re.search(r"\bSECURITY\s+DEFINER\b", deeds, re.I):
        yield "is SECURITY DEFINER"
    if re.match(r"CREATE\s+(?:OR\s+REPLACE\s+)?(FUNCTION|PROCEDURE)\b", bare, re.I):
        language = re.search(r"\bLANGUAGE\s+(\w+)", bare, re.I)
        if not language or language.group(1).lower() not in ("c", "sql"):
            yield "is written in neither C nor SQL"
        elif language.group(1).lower() == "sql" and not re.search(r"\bBEGIN\s+ATOMIC\b|\bRETURN\b", bare, re.I):
            yield "is looked up by search_path at each call: write BEGIN ATOMIC"
    if TO_PUBLIC.search(deeds):
        yield "grants to PUBLIC"


# Bad examples, which the rules must find.
BAD = {
    "CREATE OR REPLACE VIEW insula.v AS SELECT 1": "replaces",
    "DO $$ BEGIN EXECUTE 'x'; CREATE OR REPLACE VIEW insula.v AS SELECT 1; END $$": "replaces",
    "CREATE TABLE IF NOT EXISTS insula.t (a int)": "takes over",
    "DO $$ BEGIN CREATE TABLE IF NOT EXISTS insula.t (a int); END $$": "takes over",
    "SET search_path = insula": "changes search_path",
    "SELECT pg_catalog.set_config('search_path', 'insula', true)": "changes search_path",
    "CREATE TABLE t (a int)": "does not name",
    "CREATE INDEX i ON t (a)": "does not name",
    "CREATE SCHEMA other": "does not know",
    "CREATE OPERATOR insula.+ (FUNCTION = insula.f)": "does not know",
    "CREATE FUNCTION insula.f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$": "BEGIN ATOMIC",
    "CREATE FUNCTION insula.f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END $$": "neither",
    "CREATE FUNCTION insula.f() RETURNS int LANGUAGE c SECURITY DEFINER AS 'x'": "DEFINER",
    "GRANT EXECUTE ON FUNCTION insula.f TO PUBLIC": "PUBLIC",
    "DO $$ BEGIN GRANT SELECT ON insula.t TO PUBLIC; END $$": "PUBLIC",
}


def faults_of_script(script, released):
    is_path_set = False
    last_made = None
    for path in script:
        text = path.read_text()
        if path == script[0] and not text.startswith("\\echo"):
            yield f"{path}:1: psql runs it: begin with \\echo ... \\quit"
        for line, statement in statements(without_meta(text)):
            if not is_path_set and not statement.startswith(PATH_IS_SET):
                yield f"{path}:{line}: comes before {PATH_IS_SET}"
            is_path_set = True
            if re.match(r"CREATE\b", statement, re.I):
                last_made = f"{path}:{line}"
            elif REVOKES in statement:
                last_made = None
            for fault in faults_of(statement, released):
                yield f"{path}:{line}: {fault}: {statement.splitlines()[0]}"
    if last_made:
        yield f"{last_made}: the rights of what is made here are not set any more"


def released_before(path):
    """What there is before an update script runs."""
    old = path.name.split("--")[1]
    record = path.parents[1] / "releases" / f"insula--{old}.sql"
    return keyed(record.read_text()) if record.exists() else {}


def main():
    for statement, fault in BAD.items():
        if not any(fault in found for found in faults_of(statement)):
            sys.exit(f"not found to be wrong: {statement}")
    directory = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "extension" / "sql"
    scripts = [(sorted(directory.glob("[0-9]*.sql")), {})]
    scripts += [([path], released_before(path)) for path in sorted(directory.glob("insula--*--*.sql"))]
    found = [fault for script, released in scripts for fault in faults_of_script(script, released)]
    print("\n".join(found))
    seen = sum(len(list(statements(without_meta(path.read_text())))) for script, _ in scripts for path in script)
    print(f"{seen} statements")
    return 1 if found or not seen else 0


sys.exit(main())
