#!/usr/bin/env bash
#
# Counts the words that the project's texts do without, and fails above the rates of
# its models: pgvector, pg_cron, pgq, timescaledb's bgw, leveldb, fmt, libpqxx, taopq
# and re2. A rate is per 1,000 lines, the highest among them.
#
#   scripts/test/words.sh [-v] [<file or directory>...]
#
# Without arguments it reads extension/, core/, client/, test/, docs/ and README.md;
# -v shows each line that counts. A line of Markdown is a comment; how its paragraphs
# begin is not looked at.

set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd)
exec python3 - "$root" "$@" <<'EOF'
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv.pop(1))
PLACES = ["extension", "core", "client", "test", "docs", "README.md"]
SIGNS = {
    ".cpp": "//", ".hpp": "//", ".mjs": "//", ".sql": "--", ".in": "#", ".sh": "#", ".py": "#", ".cmake": "#",
    ".txt": "#", ".spec": "#", ".md": None,
}
PRONOUN = r"\b(?:he|him|his|himself)\b"

# name, what counts, whether only in comments, and the highest rate
KINDS = [
    ("somebody, nobody, whoever, anybody", r"(?:some|no|any)body|whoever", False, 0.1),
    ('"so many"', r"\bso many\b", False, 0.05),
    ('"who" in a comment', r"\bwhom?\b", True, 0.17),
    ('"meanwhile"', r"meanwhile", False, 0.0),
    ("a comment begins with What, Who, Where, Of", None, True, 1.1),
    ("he, him, his", PRONOUN, True, 0.0),
]
BEGINS = re.compile(r"(?:What|Who|Whom|Whose|Whoever|Where|Of)\b")


def comment_of(line, sign):
    """The text of the comment in a line, or None."""
    if sign is None:
        return line.strip()
    at = line.find(sign)
    while at > 0 and (line[at - 1] in ':"' or line[:at].count('"') % 2):  # a URL, or inside of a string
        at = line.find(sign, at + 1)
    return None if at < 0 else line[at + len(sign):].strip(" -/#!<")


def files(places):
    for place in places:
        path = pathlib.Path(place)
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        for file in found:
            if file.is_file() and file.suffix in SIGNS and "corpus" not in file.parts:
                yield file


def main():
    arguments = sys.argv[1:]
    verbose = "-v" in arguments
    places = [a for a in arguments if a != "-v"] or [ROOT / place for place in PLACES]
    lines = 0
    hits = {name: [] for name, *_ in KINDS}
    for file in files(places):
        sign = SIGNS[file.suffix]
        is_before = False  # the line before is a comment as well
        for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
            lines += 1
            comment = comment_of(line, sign)
            starts = bool(comment) and not (is_before and line.lstrip().startswith(sign or ""))
            for name, pattern, in_comments, _ in KINDS:
                text = comment if in_comments else line
                if not text:
                    continue
                count = bool(starts and sign and BEGINS.match(text)) if pattern is None else len(re.findall(pattern, text, re.I))
                hits[name] += [f"{file}:{number}: {line.strip()}"] * count
            is_before = bool(comment) and line.lstrip().startswith(sign or "")
            if sign is None:
                is_before = bool(comment)
    failed = False
    for name, _, _, most in KINDS:
        rate = 1000 * len(hits[name]) / max(lines, 1)
        failed |= rate > most
        print(f"{'TOO MANY' if rate > most else 'ok':<9}{name:<44}{len(hits[name]):>6}  {rate:6.2f} of at most {most:.2f}")
        if verbose:
            print("".join(f"    {hit}\n" for hit in hits[name]), end="")
    print(f"{lines} lines")
    return 1 if failed else 0


sys.exit(main())
EOF
