// The words of SQL texts on a tenant's tables: the lists of codes.hpp, and what several statements have in common.
//
// How the texts are written: a row is found by an id from elsewhere as `w.id = ANY (ARRAY[u.id])`.  So the planner can
// only look rows up by id; a plain equality would let it scan the whole table, if the plan was made while that was
// small.  For the same reason elements are found from their groups in a LATERAL query with OFFSET 0, which the planner
// does not pull up.
#include "spi/words.hpp"
#include "storage/codes.hpp"

namespace insula {

namespace {

#define STATE_WORD(name, number) {"state." #name, nullptr, number},
#define LANE_WORD(name, number) {"lane." #name, nullptr, number},
#define KIND_WORD(name, letter) {"kind." #name, #letter},

constexpr Word words[] = {
    INSULA_STATES(STATE_WORD) INSULA_LANES(LANE_WORD) INSULA_KINDS(KIND_WORD){"lane.free", nullptr, lanes_free},

    // The lane of `w` when it becomes ready; the same, or where it is kept while it is paused.
    {"open_lane", "CASE WHEN w.limit_key IS NULL THEN -w.priority ELSE {lane.limited} - w.priority END"},
    {"ready_lane", "CASE WHEN w.paused_at IS NOT NULL THEN {lane.paused} ELSE {open_lane} END"},
    // Whether `w` is claimable.
    {"is_ready", "w.lane < {lane.later}"},

    // Groups `g` with their elements `e`.
    {"elements", R"({work} g, LATERAL (
      SELECT q.* FROM {work} q WHERE q.id >= g.first_element AND q.id < g.first_element + g.span OFFSET 0) e)"},

    // Whether a group can have elements which have not ended.
    {"open_groups", "g.state < {state.completed}"},

    // A task that is to run anew forgets its former runs.
    {"as_never_run", R"(lease = NULL, attempt = 0, started_at = NULL, finished_at = NULL, worker = NULL, error = NULL,
      output = NULL, paused_at = NULL, event = NULL, waits_for = NULL, child = NULL)"},

    // A row of an execution that has ended, of which its place in the books stays.  The worker names a process.
    {"as_scrubbed", R"(input = CASE WHEN w.input IS NOT NULL THEN '{}'::jsonb END,
      output = CASE WHEN w.output IS NOT NULL THEN '{}'::jsonb END,
      event = CASE WHEN w.event IS NOT NULL THEN '{}'::jsonb END,
      error = CASE WHEN w.error IS NOT NULL THEN
        coalesce(CASE WHEN w.task < 0 AND w.state = {state.failed} THEN substring(w.error FROM '^task "[a-zA-Z0-9_-]+" failed: ') END, '')
          || 'scrubbed' END, idempotency_key = NULL, limit_key = NULL)"},

    // Usage; see usage.cpp.  Whether the last run of `w` ended with its row, and not before, with an event.
    {"run_ended", R"((w.started_at IS NOT NULL AND w.first_element IS NULL
      AND (w.state IN ({state.completed}, {state.failed}) OR (w.state = {state.cancelled} AND w.lease IS NOT NULL))))"},
    // When the run began that the event `e` ended, or put off.
    {"run_began", "(e.body ->> 'started_at')::timestamptz"},
    // In the first three a worker gave up a task that goes on; the next end an attempt.
    {"usage_stretches", "'task_deferred', 'task_waiting', 'task_given_back'"},
    {"run_events",
     "{usage_stretches}, 'task_attempt_failed', 'task_attempt_cancelled', 'task_put_off', 'task_lease_lapsed'"},
    // Not as a condition of the index, which would be searched for each name.
    {"is_usage_event", "((r.name IN ({run_events}, 'execution_retried')) IS TRUE)"},
    // The first start of the execution `w`, of which the last runs of its tasks began at `t.started_at`.  An execution
    // can have any number of events: a hundred of each name are looked at, so that a run of more than a hundred at a
    // time may be missed.
    {"first_start", R"(CASE WHEN t.started_at IS NOT NULL AND EXISTS (
        SELECT FROM {record} e WHERE e.kind = {kind.history} AND e.owner = w.id)
      THEN least(t.started_at, (
        SELECT min({run_began})
        FROM unnest(ARRAY[{run_events}]) n(name),
          LATERAL (
            SELECT h.body FROM {record} h
            WHERE h.kind = {kind.history} AND h.owner = w.id AND h.name = n.name COLLATE "C"
            ORDER BY h.seq
            LIMIT 100) e))
      ELSE t.started_at END)"},
    // One line for each thing that counts, of the rows of `counted` and the events of `events`.
    {"usage_lines", R"(
      SELECT w.def, q.*
      FROM counted w, LATERAL (
        SELECT w.created_at, 1, 0, 0, 0, 0, interval '0', coalesce(insula.context_size(w.input), 0)
        WHERE w.head IS NULL
        UNION ALL
        SELECT w.finished_at, 0, (w.head IS NULL AND w.state = {state.completed})::integer,
          (w.head IS NULL AND w.state = {state.failed})::integer,
          (w.head IS NULL AND w.state = {state.cancelled})::integer, ({run_ended})::integer,
          CASE WHEN {run_ended} AND w.child IS NULL THEN greatest(w.finished_at - w.started_at, '0') ELSE '0' END,
          CASE WHEN {run_ended} AND w.state = {state.completed} THEN coalesce(insula.context_size(w.output), 0)
            ELSE 0 END
        WHERE w.state >= {state.completed}) q(at, started, completed, failed, cancelled, runs, ran, bytes)
      UNION ALL
      SELECT e.def, e.at, 0, 0, 0, 0, (e.name NOT IN ({usage_stretches}))::integer,
        CASE WHEN e.name = 'task_attempt_failed' AND e.body ? 'child' THEN '0'
          ELSE greatest(e.at - {run_began}, '0') END, 0
      FROM events e
      WHERE e.body ->> 'started_at' IS NOT NULL
      UNION ALL
      SELECT e.def, (e.body ->> 'finished_at')::timestamptz, 0, 0, (e.body ->> 'status' = 'failed')::integer,
        (e.body ->> 'status' = 'cancelled')::integer, 0, '0', 0
      FROM events e
      WHERE e.name = 'execution_retried' AND e.body ? 'finished_at')"},
    {"usage_hour", "floor(date_part('epoch', l.at) / 3600)::bigint"},
    {"usage_sums", R"(sum(l.started)::bigint AS started, sum(l.completed)::bigint AS completed,
      sum(l.failed)::bigint AS failed, sum(l.cancelled)::bigint AS cancelled, sum(l.runs)::bigint AS runs,
      sum(l.ran) AS ran, sum(l.bytes)::bigint AS bytes)"},
    // Adds up the lines, of `counted` and `events`, and stores them: $1 the first number that goes, $2 the time.
    {"store_usage", R"(
      INSERT INTO {record} AS r (kind, owner, name, seq, at, body)
      SELECT {kind.usage_added}, l.hour, l.name, $1, $2, jsonb_strip_nulls(jsonb_build_object(
        'started', nullif(l.started, 0), 'completed', nullif(l.completed, 0), 'failed', nullif(l.failed, 0),
        'cancelled', nullif(l.cancelled, 0), 'runs', nullif(l.runs, 0),
        'seconds', nullif(extract(epoch FROM l.ran), 0), 'bytes', nullif(l.bytes, 0)))
      FROM (
        SELECT d.name, l.hour, {usage_sums}
        FROM (SELECT l.def, {usage_hour} AS hour, {usage_sums} FROM ({usage_lines}) l GROUP BY l.def, hour) l,
          LATERAL (SELECT v.name FROM {record} v WHERE v.kind = {kind.version} AND v.owner = l.def LIMIT 1) d
        GROUP BY d.name, l.hour) l
      {add_usage})"},
    // The end of an INSERT into `r`: numbers begin again, and the merged sums of an hour are added to.
    {"add_usage", R"(
      ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at, body = (
        SELECT jsonb_object_agg(s.key, s.total)
        FROM (
          SELECT m.key, sum(m.value::numeric) AS total
          FROM (SELECT * FROM jsonb_each_text(r.body) UNION ALL SELECT * FROM jsonb_each_text(EXCLUDED.body)) m
          GROUP BY m.key) s))"},

    // The columns of a row that tell_rows reads.
    {"told", "w.def, w.lane, w.key, w.due"},

    // The columns of a TaskRow; see read_task_rows.
    {"task_header", R"(w.id, w.head, w.def, w.task, w.key, w.state, w.attempt, w.lease, w.started_at, w.worker, w.due,
      w.deadline, w.parent, w.parent_head, w.child, coalesce(w.element, -1), w.limit_key)"},
};

constexpr Words all_words = {words, lengthof(words)};

}  // namespace

const Words &storage_words() { return all_words; }

}  // namespace insula
