#!/usr/bin/env python3
"""Makes of this tree's extension the next version, for tests of updates: next-version.py DIRECTORY

DIRECTORY gets extension/ as a release after this one would have it: a column and a table more, views and a list of
rights that name them, a new function in C, one with a parameter more, another comment, a table of which a dump has
less; what a person adds to the update script; and that script, by scripts/update-script.py, which must ask for what
the person forgets.  Prints the version.
"""

import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from sql_script import ROOT, base, number, version  # noqa: E402

BY_HAND = {
    "TABLE insula.tenant differs: ALTER it": "ALTER TABLE insula.tenant ADD COLUMN motto text CHECK (motto <> '');\n",
    "FUNCTION insula.resume_tenant has other parameters: DROP it": "DROP FUNCTION insula.resume_tenant(text);\n",
}

SOURCE = """// insula.motto: the column that only the next version has.
#include "entry/arguments.hpp"
#include "spi/session.hpp"

using namespace insula;

INSULA_FUNCTION(insula_motto);

Datum insula_motto(PG_FUNCTION_ARGS) {
  static constexpr Statement read_motto = {"read_motto", "SELECT motto FROM insula.tenant WHERE tenant = $1", {TEXTOID}};
  const Datum name = CStringGetTextDatum(required_text(fcinfo, 0, "tenant"));
  const Session session = open_session();
  Arguments arguments;
  arguments.add(name);
  char *motto = run(read_motto, arguments) == 0 ? nullptr : get_text(0, 1);
  text *answer = motto ? static_cast<text *>(SPI_palloc(VARHDRSZ + strlen(motto))) : nullptr;
  if (answer) {
    SET_VARSIZE(answer, VARHDRSZ + strlen(motto));
    memcpy(VARDATA(answer), motto, strlen(motto));
  }
  close_session(session);
  if (!answer) PG_RETURN_NULL();
  PG_RETURN_TEXT_P(answer);
}
"""

FUNCTION = """
CREATE TABLE insula.saying (
	tenant_no integer PRIMARY KEY REFERENCES insula.tenant ON DELETE CASCADE,
	saying text NOT NULL
);
COMMENT ON TABLE insula.saying IS 'what tenants say';
SELECT pg_catalog.pg_extension_config_dump('insula.saying', '');

CREATE FUNCTION insula.motto(tenant text) RETURNS text
AS 'MODULE_PATHNAME', 'insula_motto' LANGUAGE C STABLE PARALLEL UNSAFE;
COMMENT ON FUNCTION insula.motto IS 'the tenant''s motto';
"""


def change(path, pattern, replacement):
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.S)
    if count != 1:
        sys.exit(f"next-version.py: nothing in {path} fits {pattern}")
    path.write_text(text)


def main():
    target = pathlib.Path(sys.argv[1])
    sql = target / "extension" / "sql"
    shutil.copytree(ROOT / "extension" / "sql", sql)
    shutil.copy(ROOT / "extension" / "insula.control", target / "extension")
    for name in ("releases", "updates"):
        if (ROOT / "extension" / name).is_dir():
            shutil.copytree(ROOT / "extension" / name, target / "extension" / name)
        (target / "extension" / name).mkdir(exist_ok=True)
    (target / "scripts").mkdir()
    for name in ("sql_script.py", "update-script.py"):
        shutil.copy(ROOT / "scripts" / name, target / "scripts")

    present = version()
    major, minor = number(present)[:2]
    new = f"{major}.{minor + 1}.0"
    (target / "extension" / "releases" / f"insula--{present}.sql").write_text(base())
    change(target / "extension" / "insula.control", r"default_version = '[^']*'", f"default_version = '{new}'")
    change(sql / "20_tables.sql", r"(CREATE TABLE insula\.tenant \(.*?)\n\);", r"\1,\n\tmotto text CHECK (motto <> '')\n);")
    change(sql / "20_tables.sql", r"(CREATE VIEW insula\.tenants AS.*?AS error_at)\n", r"\1, t.motto\n")
    change(sql / "20_tables.sql", r"(config_dump\('insula\.tenant', ')'", r"\1WHERE tenant_no > 0'")
    change(sql / "44_rights.sql", r"'routine', 'EXECUTE', ARRAY\[\n", r"\g<0>\t\t\t'motto', ")
    change(sql / "44_rights.sql", r"'relation', 'SELECT', ARRAY\[\n", r"\g<0>\t\t\t'saying', ")
    change(sql / "47_copies.sql", r"COMMENT ON FUNCTION insula\.adopt IS\n'", r"\g<0>Adopts.  ")
    change(sql / "40_tenants.sql", r"(CREATE FUNCTION insula\.resume_tenant\(tenant text)\)", r"\1, mood text DEFAULT NULL)")
    with open(sql / "40_tenants.sql", "a") as file:
        file.write(FUNCTION)
    by_hand = target / "extension" / "updates" / f"{present}--{new}.sql"
    for fault in BY_HAND:
        by_hand.write_text("".join(text for of, text in BY_HAND.items() if of != fault))
        made = subprocess.run([target / "scripts" / "update-script.py"], stderr=subprocess.PIPE, text=True)
        if made.returncode == 0 or fault not in made.stderr:
            sys.exit(f"next-version.py: without what it is asked for, update-script.py says: {made.stderr}")
    by_hand.write_text("".join(BY_HAND.values()))
    (target / "motto.cpp").write_text(SOURCE)
    subprocess.run([target / "scripts" / "update-script.py"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([target / "scripts" / "update-script.py", "--check"], check=True)
    (target / "extension" / f"insula--{new}.sql").write_text(base(target))
    print(new)


main()
