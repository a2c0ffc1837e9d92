#!/usr/bin/python3
"""insula.next_fires against python3-croniter and python's zoneinfo.

croniter says on which days and at which times of day an expression fires, without a zone:
where clocks are set it has rules of its own. Ours are written down here once more, over
zoneinfo, whose zones are the system's as PostgreSQL's are. Compared are ten years: all of
them where an expression fires seldom, else what lies about the changes of a zone's clock.

For the command of with-cluster.sh. Ends with 1 if anything differs.
"""

import bisect
import functools
import os
import random
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

from croniter import croniter

EPOCH = datetime(1970, 1, 1)
HOUR, DAY = 3600, 86400
FIRST = datetime(2010, 1, 1)
LAST = datetime(2020, 1, 1)

ZONES = """
    UTC Europe/Berlin Europe/Dublin Europe/London Europe/Moscow Europe/Istanbul Africa/Casablanca Africa/Cairo
    America/New_York America/Los_Angeles America/St_Johns America/Havana America/Caracas America/Sao_Paulo
    America/Santiago America/Asuncion America/Scoresbysund Antarctica/Troll Asia/Tehran Asia/Gaza Asia/Kathmandu
    Asia/Pyongyang Australia/Lord_Howe Australia/Adelaide Pacific/Apia Pacific/Chatham Pacific/Fakaofo
""".split()

# Compared as they stand.
SAME = """
    * * * * *|*/5 * * * *|*/20 * * * *|0 * * * *|30 * * * *|7,37 * * * *|1/20 * * * *|15-45/15 * * * *
    0 */2 * * *|30 */3 * * *|45 */23 * * *|*/30 2 * * *|*/15 0-3 * * *|* 1 * * *|* 2 * * 0|*/10 23 * * 6,0
    0 0 * * *|1 0 * * *|30 0 * * *|0 1 * * *|30 1 * * *|0 2 * * *|15 2 * * *|30 2 * * *|59 2 * * *|0 3 * * *
    30 3 * * *|0 4 * * *|30 23 * * *|59 23 * * *|0 12 * * *|0,30 2 * * *|0-59 2 * * *|0,15,30,45 0-3 * * *
    0 2,3 * * *|30 1,2,3 * * *|5/20 2/7 * * *|0 0-23 * * *|0 0-4/2 * * *
    30 2 * * 0|0 2 * * SUN|0 0 * * 1-5|0 9 * * MON-FRI|0 0 * * FRI-SAT|0 22 * * sat,sun
    0 0 1 * *|30 2 31 * *|0 0 29 2 *|0 12 28-31 * *|30 2 8-14 3 *|0 0 1 1 *|0 0 30 12 *|0 0 15 */3 *|0 0 10/10 * *
    0 0 1 JAN,jul *|30 2 * MAR-APR *|0 0 * 10/1 *|30 1 * 10,11 0|0 0 L * *|30 2 L 3,10 *|0 0 1,L * *
    0 0 13 * 5|30 2 1 * MON|0 0 1-7 10 0|0 0 L * 0|0 0 * * 1#1|30 2 * * SUN#2|0 2 * 11 sun#1|0 0 * * 5#5
    @hourly|@daily|@midnight|@weekly|@monthly|@yearly|@annually
    0 30 2 * * *|15,45 30 2 * * *|*/20 59 1 * * *|* 30 2 * * *|*/10 * * * * *|* * 2 * * *|0-59/7 0 0 1 * *
""".replace("\n", "|").split("|")
SAME = [expression.strip() for expression in SAME if expression.strip()]

# The expressions on which croniter 1.3 differs: ours, theirs (one or the other), and why. Newer
# ones have learnt some of them.
DIFFERENT = [
    ("0 0 ? * *", ["0 0 * * *"], "croniter does not know ?"),
    ("30 2 ? * SUN", ["30 2 * * SUN"], "croniter does not know ?"),
    ("0 0 * * 7", ["0 0 * * 0"], "croniter finds no day that is 7"),
    ("30 2 * * 6-7", ["30 2 * * 6,0"], "croniter finds no day that is 7"),
    ("0 0 * * FRI-SUN", ["0 0 * * FRI,SAT,SUN"], "croniter finds no day that is 7"),
    ("0 0 * * 5L", ["0 0 * * L5"], "croniter writes the L first"),
    ("30 2 * 3,10 SUNL", ["30 2 * 3,10 L0"], "croniter writes the L first, and a number after it"),
    ("0 0 */2 * MON", ["0 0 */2 * MON AND"], "croniter takes a step from * for a restriction"),
    ("30 2 13 * */5", ["30 2 13 * */5 AND"], "croniter takes a step from * for a restriction"),
    ("0 0 1 * 0-6", ["0 0 * * *"], "croniter takes a range of all days for *"),
    ("0 0 1 * 1#1", ["0 0 1 * *", "0 0 * * 1#1"], "croniter forgets the day of the month beside #"),
    ("0 2 * * 1#1,0", ["0 2 * * 1#1", "0 2 * * 0"], "croniter does not mix # with plain days"),
]

SHORTHANDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


def seconds(moment):
    return int((moment - EPOCH) / timedelta(seconds=1))


def fields(expression):
    """The six fields, seconds first; after them may come AND."""
    parts = SHORTHANDS.get(expression, expression).split()
    return parts if len(parts) - parts.count("AND") == 6 else ["0"] + parts


def croniter_of(expression, start):
    """croniter has the seconds last. AND: both fields of days must fit."""
    second, *rest = fields(expression)
    day_or = "AND" not in rest
    rest = rest if day_or else rest[:-1]
    return croniter(" ".join(rest + [second]), start, ret_type=datetime, day_or=day_or)


# ---------------------------------------------------------------------------
# Local times that fit
# ---------------------------------------------------------------------------


@functools.cache
def days_of(expression):
    found = []
    fires = croniter_of(expression, FIRST - timedelta(days=3))
    while (day := fires.get_next()) < LAST + timedelta(days=3):
        found.append(seconds(day))
    return found


@functools.cache
def times_of(expression):
    found = []
    fires = croniter_of(expression, FIRST - timedelta(seconds=1))
    while (time := fires.get_next()) < FIRST + timedelta(days=1):
        found.append(seconds(time) - seconds(FIRST))
    return found


class LocalTimes:
    """Those that fit one of the expressions, which differ in their days alone."""

    def __init__(self, expressions):
        time_fields = {" ".join(fields(expression)[:3]) for expression in expressions}
        day_fields = [" ".join(fields(expression)[3:]) for expression in expressions]
        (self.times,) = [times_of(f"{time} * * *") for time in time_fields]
        self.days = sorted({day for each in day_fields for day in days_of("0 0 0 " + each)})

    def between(self, low, high):
        """Those in [low, high), in order."""
        first = bisect.bisect_left(self.days, low - DAY)
        last = bisect.bisect_left(self.days, high)
        return [day + time for day in self.days[first:last] for time in self.times if low <= day + time < high]


def check_parts(expression):
    """That croniter, asked for the whole expression, says what its parts say."""
    rng = random.Random(expression)
    for _ in range(3):
        start = rng.randrange(seconds(FIRST), seconds(LAST - timedelta(days=1000)))
        fires = croniter_of(expression, EPOCH + timedelta(seconds=start))
        whole = [seconds(fires.get_next()) for _ in range(10)]
        if whole[-1] < seconds(LAST):
            parts = LocalTimes([expression]).between(start + 1, whole[-1] + 1)
            assert whole == parts, f"croniter disagrees with itself on {expression}"


# ---------------------------------------------------------------------------
# Instants
# ---------------------------------------------------------------------------


def offsets(zone):
    """[(start, end, offset)] that cover the ten years and something about them."""

    def offset(instant):
        return int(datetime.fromtimestamp(instant, zone).utcoffset().total_seconds())

    start = seconds(FIRST) - 4 * DAY
    pieces = [[start, None, offset(start)]]
    for instant in range(start, seconds(LAST) + 4 * DAY, 6 * HOUR):
        if offset(instant) == pieces[-1][2]:
            continue
        before, after = instant - 6 * HOUR, instant
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if offset(middle) == pieces[-1][2] else (before, middle)
        pieces[-1][1] = after
        pieces.append([after, None, offset(after)])
    pieces[-1][1] = seconds(LAST) + 4 * DAY
    return pieces


def instants(local, pieces, elapsed):
    """The rules: when an expression that fits the local times fires.

    elapsed: at each instant that shows one of them. Otherwise once for each: at the first
    instant that shows it; where none does, at the end of the gap.
    """
    fires = set()
    shown = None  # up to where local times have come already
    for start, end, offset in pieces:
        low, high = start + offset, end + offset
        first = bisect.bisect_left(local, low)
        if not elapsed and shown is not None:
            skipped = bisect.bisect_left(local, shown)
            if skipped < first:
                fires.add(start)
            first = max(first, skipped)
        fires.update(time - offset for time in local[first : bisect.bisect_left(local, high)])
        shown = high if shown is None else max(shown, high)
    return sorted(fires)


def windows(local, pieces):
    changes = [piece[0] for piece in pieces[1:]]
    per_day = len(local.times)
    if per_day * len(local.days) < 1000:
        return [(seconds(FIRST), seconds(LAST))]
    half = 3 * DAY if per_day <= 4 else 36 * HOUR if per_day <= 50 else 2 * HOUR
    if per_day > 1440:
        changes, half = changes[-2:], 5000
    sample = random.Random(per_day).randrange(seconds(FIRST), seconds(LAST) - DAY)
    return [(sample, sample + half)] + [(change - half, change + half) for change in changes]


def expected(local, pieces, elapsed):
    """[(after, before, fires)]: of each window, in parts that one call can return."""
    most = 900
    margin = 50 * HOUR
    for low, high in windows(local, pieces):
        near = [piece for piece in pieces if piece[0] < high + margin and piece[1] > low - margin]
        times = local.between(low - margin, high + margin)
        fires = [fire for fire in instants(times, near, elapsed) if low <= fire < high]
        after = low - 1
        for at in range(0, max(len(fires), 1), most):
            part = fires[at : at + most]
            yield after, (part[-1] + 1 if at + most < len(fires) else high), part
            after = part[-1] if part else after


# ---------------------------------------------------------------------------
# Ours
# ---------------------------------------------------------------------------

QUERY = r"""
SET timezone = 'UTC';
CREATE TEMP TABLE request (id int, cron text, zone text, after bigint, before bigint, n int);
COPY request FROM stdin;
{requests}
\.
SELECT id, (SELECT string_agg(extract(epoch FROM fire)::bigint::text, ',' ORDER BY fire)
    FROM insula.next_fires(cron, zone, n, to_timestamp(after)) fire WHERE fire < to_timestamp(before))
FROM request ORDER BY id;
"""


def next_fires(requests):
    rows = ("\t".join(map(str, (number, *request))) for number, request in enumerate(requests))
    psql = os.path.join(os.environ["INSULA_PGBIN"], "psql")
    command = [psql, "-XqAt", "-F", " ", "-v", "ON_ERROR_STOP=1", "-c", "CREATE EXTENSION IF NOT EXISTS insula"]
    subprocess.run(command, check=True)
    command[-2:] = ["-f", "-"]
    answer = subprocess.run(
        command, check=True, text=True, stdout=subprocess.PIPE, input=QUERY.format(requests="\n".join(rows))
    )
    for line in answer.stdout.splitlines():
        yield [int(fire) for fire in line.split(" ")[1].split(",") if fire]


def describe(ours, zone, fires, wanted):
    def show(instant):
        moment = datetime.fromtimestamp(instant, timezone.utc)
        return f"{moment:%F %T} (local {moment.astimezone(ZoneInfo(zone)):%F %T})"

    wrong = min(set(fires) ^ set(wanted))
    return f"{ours} in {zone}: {'fires' if wrong in fires else 'does not fire'} at {show(wrong)}"


def main():
    cases = [(ours, [ours]) for ours in SAME] + [(ours, theirs) for ours, theirs, _ in DIFFERENT]
    zones = {zone: offsets(ZoneInfo(zone)) for zone in ZONES}
    requests, wanted = [], []
    for ours, theirs in cases:
        for expression in theirs:
            check_parts(expression)
        local = LocalTimes(theirs)
        _, minute, hour, *_ = fields(ours)
        elapsed = minute.startswith("*") or hour.startswith("*")
        for zone, pieces in zones.items():
            for after, before, fires in expected(local, pieces, elapsed):
                requests.append((ours, zone, after, before, len(fires) + 1))
                wanted.append(fires)
    failures = [
        describe(request[0], request[1], fires, right)
        for request, fires, right in zip(requests, next_fires(requests), wanted, strict=True)
        if fires != right
    ]
    print(
        f"F7: {len(cases)} expressions, {len(zones)} zones, {sum(map(len, wanted))} fires:"
        f" {len(failures)} differences beside the {len(DIFFERENT)} that are written down"
    )
    print(*failures[:50], sep="\n", end="")
    return 1 if failures else 0


sys.exit(main())
