// The statements on a tenant's tables, as text.  Rules: every value is a parameter; no
// volatile function in an UPDATE; arrays come sorted by id, and the nested loop over
// them locks rows in that order, which is the one global order.
//
// Lanes of the queue index: below 100000 claimable, the lane being the negated priority, of rows
// under a concurrency limit at -200000 less the priority;
// 100000 ready later, 100001 running (due is the lease's end), 100002 deferred, 100004 ready
// but paused; 100003 is an execution's own row, due when its time is up.  State numbers are those of storage/work.hpp.
#include "spi/plans.hpp"

namespace insula {

// A row by an id from elsewhere.  Written like this the planner can only look rows up by
// id: a plain equality would let it scan the whole table instead, if it was made while
// the table was small.
#define BY_ID(id) "w.id = ANY (ARRAY[" id "])"
// Where a row goes that becomes ready.
#define OPEN_LANE "CASE WHEN w.limit_key IS NULL THEN -w.priority ELSE -200000 - w.priority END"
#define READY_LANE "CASE WHEN w.paused_at IS NOT NULL THEN 100004 ELSE " OPEN_LANE " END"
#define IN_READY_LANE "w.lane < 100000"
// Whether a key is among many.  Written like this they are hashed once, not searched for each row.
#define HAS_KEY(key, keys) "(" key " IN (SELECT unnest(" keys "))) IS TRUE"
#define ROW_FILTER BY_ID("u.id") " AND w.lease = u.lease AND w.state = 2"
// The elements of groups, as e.  Written like this the planner can only go from a group to
// its elements.
#define ELEMENTS(columns, groups)                                                    \
  "SELECT " columns                                                                  \
  " FROM {work} g, LATERAL (SELECT q.* FROM {work} q WHERE q.id >= g.first_element " \
  "AND q.id < g.first_element + g.span OFFSET 0) e WHERE " groups
#define OF_EXECUTION(first, last) "g.id > " first " AND g.id <= " last " AND g.first_element IS NOT NULL"
#define OF_GROUP(id) "g.id = " id " AND g.first_element IS NOT NULL"
#define EACH_ELEMENT(groups) "(" ELEMENTS("e.id", groups) " OFFSET 0) x WHERE " BY_ID("x.id")
#define CANCELLED "state = 7, lane = NULL, due = NULL, finished_at = $1"
#define TASK_HEADER                                                                                  \
  "w.id, w.head, w.def, w.task, w.key, w.state, w.attempt, w.lease, w.started_at, w.worker, w.due, " \
  "w.deadline, w.parent, w.parent_head, w.child, "                                                   \
  "coalesce(w.element, -1), w.limit_key"
#define PROBE(filter) "SELECT 1 FROM {work} WHERE lane = $1 AND due >= $2" filter " ORDER BY due LIMIT 1"

static const StatementText texts[static_cast<int>(Statement::count)] = {
    // insert_heads
    {"INSERT INTO {work} (id, def, task, key, state, priority, remaining, span, attempt, created_at, run_at, input, "
     "lane, due, idempotency_key, parent, parent_head) "
     "SELECT u.id, $1, -1, 0, 1, $2, $3, $3, 0, $4, $5, u.input, $8, $9, u.key, $11, $12 "
     "FROM unnest($6, $7, $10) u(id, input, key)",
     {INT4OID, INT4OID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8ARRAYOID, JSONBARRAYOID, INT4OID, INT8OID,
      TEXTARRAYOID, INT8OID, INT8OID}},
    // insert_tasks
    {"INSERT INTO {work} (id, head, def, task, key, state, lane, due, priority, remaining, span, attempt, run_at, "
     "time_limit, parent, parent_head, limit_key) "
     "SELECT h.id + t.pos, h.id, $1, t.pos - 1, t.key, CASE WHEN t.deps = 0 THEN 1 ELSE 0 END, "
     "CASE WHEN t.deps = 0 THEN coalesce($2, $13 - $4 - t.priority) END, CASE WHEN t.deps = 0 THEN $3 + h.ord END, "
     "$4 + t.priority, t.deps, 0, 0, $5, nullif(t.time_limit, 0), $11, $12, h.limit_key "
     "FROM unnest($6, $14) WITH ORDINALITY h(id, limit_key, ord), "
     "unnest($7, $8, $9, $10) WITH ORDINALITY t(key, deps, priority, time_limit, pos)",
     {INT4OID, INT4OID, INT8OID, INT4OID, TIMESTAMPTZOID, INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
      INT8ARRAYOID, INT8OID, INT8OID, INT4OID, INT8ARRAYOID}},
    // put_back
    {"UPDATE {work} w SET state = 1, lane = " OPEN_LANE ", due = u.due, lease = NULL, deadline = NULL, "
     "attempt = w.attempt - 1, started_at = CASE WHEN w.attempt > 1 THEN w.started_at END, "
     "worker = CASE WHEN w.attempt > 1 THEN w.worker END FROM unnest($1, $2) u(id, due) WHERE " BY_ID("u.id"),
     {INT8ARRAYOID, INT8ARRAYOID}},
    // running_by_limit
    {"SELECT limit_key, count(*) FROM {work} WHERE lane = 100001 GROUP BY limit_key", {}},
    // probe_any
    {PROBE(""), {INT4OID, INT8OID}},
    // probe_keys
    {PROBE(" AND key = ANY ($3)"), {INT4OID, INT8OID, INT4ARRAYOID}},
    // probe_any_unlocked
    {PROBE("") " FOR NO KEY UPDATE SKIP LOCKED", {INT4OID, INT8OID}},
    // probe_keys_unlocked
    {PROBE(" AND key = ANY ($3)") " FOR NO KEY UPDATE SKIP LOCKED", {INT4OID, INT8OID, INT4ARRAYOID}},
    // probe_many_keys
    {PROBE(" AND " HAS_KEY("key", "$3")), {INT4OID, INT8OID, INT4ARRAYOID}},
    // probe_many_keys_unlocked
    {PROBE(" AND " HAS_KEY("key", "$3")) " FOR NO KEY UPDATE SKIP LOCKED", {INT4OID, INT8OID, INT4ARRAYOID}},
    // next_due
    {"SELECT least((SELECT due FROM {work} WHERE lane = 100000 ORDER BY due LIMIT 1), "
     "(SELECT due FROM {work} WHERE lane = 100001 ORDER BY due LIMIT 1), "
     "(SELECT due FROM {work} WHERE lane = 100002 ORDER BY due LIMIT 1), "
     "(SELECT due FROM {work} WHERE lane = 100003 ORDER BY due LIMIT 1))",
     {}},
    // release_due
    {"WITH c AS (SELECT id FROM {work} WHERE lane = $1 AND due <= $2 ORDER BY due LIMIT 1000 "
     "FOR NO KEY UPDATE SKIP LOCKED) "
     "UPDATE {work} w SET state = 1, lane = " READY_LANE ", waits_for = NULL, event = CASE WHEN w.waits_for IS NULL "
     "THEN w.event ELSE jsonb_build_object('name', w.waits_for, 'timed_out', true) END "
     "FROM c WHERE " BY_ID("c.id") " RETURNING w.key, w.due, w.def, w.lane",
     {INT4OID, INT8OID}},
    // lapsed
    {"SELECT " TASK_HEADER " FROM {work} w WHERE lane = 100001 AND due <= $1 ORDER BY due LIMIT 1000", {INT8OID}},
    // held_by_workers
    {"SELECT " TASK_HEADER " FROM {work} w WHERE lane = 100001 AND worker = ANY ($1)", {TEXTARRAYOID}},
    // requeue
    {"WITH c AS (SELECT w.id FROM unnest($1, $2) u(id, lease), {work} w WHERE " ROW_FILTER
     " AND w.due <= $5 FOR NO KEY UPDATE OF w SKIP LOCKED) "
     "UPDATE {work} w SET state = 1, lane = " READY_LANE ", due = $3, lease = NULL, attempt = w.attempt - $4 "
     "FROM c WHERE " BY_ID("c.id") " RETURNING w.id, w.def, w.lane",
     {INT8ARRAYOID, INT8ARRAYOID, INT8OID, INT4OID, INT8OID}},
    // peek
    {"SELECT " TASK_HEADER " FROM {work} w WHERE id = ANY ($1) ORDER BY id", {INT8ARRAYOID}},
    // lock_heads
    {"SELECT id, coalesce(" IN_READY_LANE ", false) FROM {work} w WHERE id = ANY ($1) AND head IS NULL ORDER BY id "
     "FOR NO KEY UPDATE",
     {INT8ARRAYOID}},
    // lock_heads_skip
    {"SELECT id, coalesce(" IN_READY_LANE ", false) FROM {work} w WHERE id = ANY ($1) ORDER BY id "
     "FOR NO KEY UPDATE SKIP LOCKED",
     {INT8ARRAYOID}},
    // lock_rows
    {"SELECT id, coalesce(" IN_READY_LANE ", false) FROM {work} w WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE",
     {INT8ARRAYOID}},
    // fail_row
    {"UPDATE {work} SET state = 5, lane = NULL, due = NULL, lease = NULL, finished_at = $1, error = $4 "
     "WHERE id = $2 AND lease = $3 AND state = 2 RETURNING id",
     {TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID}},
    // retry_row
    {"UPDATE {work} SET state = 1, lane = 100000, due = $1, run_at = $2, lease = NULL, error = $5 "
     "WHERE id = $3 AND lease = $4 AND state = 2 RETURNING id",
     {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID}},
    // defer_row
    {"UPDATE {work} SET state = 3, lane = 100002, due = $1, run_at = $2, lease = NULL, attempt = attempt - 1, "
     "output = CASE WHEN $5 IS NULL THEN output ELSE insula.append_patch(output, $5) END "
     "WHERE id = $3 AND lease = $4 AND state = 2 RETURNING id, CASE WHEN $5 IS NOT NULL THEN output END",
     {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, JSONBOID}},
    // wait_row
    {"UPDATE {work} SET state = 3, lane = 100002, due = $1, run_at = $2, lease = NULL, attempt = attempt - 1, "
     "event = NULL, waits_for = $6, "
     "output = CASE WHEN $5 IS NULL THEN output ELSE insula.append_patch(output, $5) END "
     "WHERE id = $3 AND lease = $4 AND state = 2 RETURNING id, CASE WHEN $5 IS NOT NULL THEN output END",
     {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, JSONBOID, TEXTOID}},
    // hold_row
    {"SELECT id FROM {work} WHERE id = $1 AND lease = $2 AND state = 2 FOR NO KEY UPDATE", {INT8OID, INT8OID}},
    // park_row
    {"UPDATE {work} SET state = 3, lane = NULL, due = NULL, deadline = NULL, lease = NULL, child = $2 WHERE id = $1",
     {INT8OID, INT8OID}},
    // complete_parked
    {"UPDATE {work} SET state = 4, finished_at = $1, error = NULL, "
     "output = CASE WHEN output IS NULL THEN $4 ELSE insula.append_patch(output, $4) END "
     "WHERE id = $2 AND child = $3 AND state = 3 RETURNING id",
     {TIMESTAMPTZOID, INT8OID, INT8OID, JSONBOID}},
    // fail_parked
    {"UPDATE {work} SET state = 5, finished_at = $1, error = $4 WHERE id = $2 AND child = $3 AND state = 3 RETURNING "
     "id",
     {TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID}},
    // retry_parked
    {"UPDATE {work} SET state = 1, lane = 100000, due = $1, run_at = $2, child = NULL, error = $5 "
     "WHERE id = $3 AND child = $4 AND state = 3 RETURNING id",
     {INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID}},
    // lineage
    {"SELECT parent_head, priority FROM {work} WHERE id = $1 AND head IS NULL", {INT8OID}},
    // deliver_event
    {"WITH c AS (SELECT q.id FROM {work} q WHERE q.id >= $3 AND q.id <= $4 AND q.state = 3 AND q.waits_for = $5 "
     "ORDER BY q.id LIMIT 1 FOR NO KEY UPDATE) "
     "UPDATE {work} w SET state = 1, lane = " READY_LANE ", due = $1, event = $2, waits_for = NULL "
     "FROM c WHERE " BY_ID("c.id") " RETURNING w.key, w.def, w.lane",
     {INT8OID, JSONBOID, INT8OID, INT8OID, TEXTOID}},
    // deliver_to_element
    {"WITH c AS (SELECT e.id FROM {work} g, LATERAL (SELECT q.id FROM {work} q WHERE q.id >= g.first_element "
     "AND q.id < g.first_element + g.span AND q.state = 3 AND q.waits_for = $5 ORDER BY q.id LIMIT 1 "
     "FOR NO KEY UPDATE) e WHERE " OF_EXECUTION(
         "$3", "$4") " ORDER BY e.id LIMIT 1) "
                     "UPDATE {work} w SET state = 1, lane = " READY_LANE ", due = $1, event = $2, waits_for = NULL "
                     "FROM c WHERE " BY_ID("c.id") " RETURNING w.key, w.def, w.lane",
     {INT8OID, JSONBOID, INT8OID, INT8OID, TEXTOID}},
    // count_down
    {"UPDATE {work} w SET remaining = w.remaining - u.n, "
     "state = CASE WHEN w.remaining = u.n THEN 1 ELSE 0 END, "
     "lane = CASE WHEN w.remaining = u.n THEN " READY_LANE " END, due = CASE WHEN w.remaining = u.n THEN $1 END "
     "FROM unnest($2, $3) u(id, n) WHERE " BY_ID("u.id") " AND w.state = 0 "
                                                         "RETURNING w.key, w.state, w.def, w.lane",
     {INT8OID, INT8ARRAYOID, INT4ARRAYOID}},
    // count_down_rules
    {"UPDATE {work} w SET remaining = w.remaining - u.n FROM unnest($1, $2) u(id, n) WHERE " BY_ID(
         "u.id") " AND w.state = 0 RETURNING w.task, w.remaining",
     {INT8ARRAYOID, INT4ARRAYOID}},
    // make_ready
    {"UPDATE {work} w SET state = 1, lane = " READY_LANE
     ", due = $1 FROM unnest($2) u(id) WHERE " BY_ID("u.id") " AND w.state = 0 RETURNING w.key, w.def, w.lane",
     {INT8OID, INT8ARRAYOID}},
    // task_states
    {"SELECT id, state FROM {work} WHERE id = ANY ($1)", {INT8ARRAYOID}},
    // skip_rows
    {"UPDATE {work} w SET state = 6, finished_at = $1 FROM unnest($2) u(id) WHERE " BY_ID("u.id") " AND w.state = 0 "
                                                                                                  "RETURNING w.task",
     {TIMESTAMPTZOID, INT8ARRAYOID}},
    // head_progress
    {"UPDATE {work} w SET remaining = w.remaining - u.n FROM unnest($1, $2) u(id, n) WHERE " BY_ID(
         "u.id") " RETURNING w.id, w.def, w.span, w.remaining, CASE WHEN w.remaining = 0 THEN w.input END, w.parent, "
                 "w.parent_head",
     {INT8ARRAYOID, INT4ARRAYOID}},
    // task_rows
    {"SELECT task, state, output, error, attempt, started_at, finished_at, worker FROM {work} "
     "WHERE id > $1 AND id <= $2 ORDER BY id",
     {INT8OID, INT8OID}},
    // task_details
    {"SELECT task, state, lane, attempt, due, paused_at IS NOT NULL, worker, error, waits_for, child, limit_key FROM "
     "{work} "
     "WHERE id >= $1 AND id <= $2 AND task >= 0",
     {INT8OID, INT8OID}},
    // insert_elements
    {"INSERT INTO {work} (id, head, def, task, key, state, lane, due, priority, remaining, span, attempt, run_at, "
     "time_limit, paused_at, parent, parent_head, limit_key, element, input) "
     "SELECT $2 + u.ord - 1, g.head, g.def, g.task, g.key, 1, CASE WHEN $3 IS NOT NULL THEN $3 WHEN g.paused_at IS "
     "NULL "
     "THEN CASE WHEN g.limit_key IS NULL THEN -g.priority ELSE -200000 - g.priority END ELSE 100004 END, $4 + u.ord, "
     "g.priority, 0, 0, 0, $5, g.time_limit, g.paused_at, g.parent, "
     "g.parent_head, g.limit_key, u.ord - 1, u.item FROM {work} g, unnest($6) WITH ORDINALITY u(item, ord) "
     "WHERE g.id = ANY (ARRAY[$1]) RETURNING def, lane",
     {INT8OID, INT8OID, INT4OID, INT8OID, TIMESTAMPTZOID, JSONBARRAYOID}},
    // open_group
    {"UPDATE {work} SET state = 2, remaining = $2, started_at = $3 WHERE id = $1", {INT8OID, INT4OID, TIMESTAMPTZOID}},
    // link_elements
    {"UPDATE {work} SET first_element = $2, span = $3 WHERE id = $1", {INT8OID, INT8OID, INT4OID}},
    // count_down_groups
    {"UPDATE {work} w SET remaining = w.remaining - u.n FROM unnest($1, $2) u(id, n) WHERE " BY_ID(
         "u.id") " AND w.state = 2 RETURNING w.task, w.remaining",
     {INT8ARRAYOID, INT4ARRAYOID}},
    // group_summary
    {"SELECT count(*) FILTER (WHERE x.state = 5), "
     "coalesce(sum(octet_length(x.output::text)) FILTER (WHERE x.state = 4), 0)::bigint, "
     "(array_agg(format('%s[%s]: %s', $2, x.element, x.error) ORDER BY x.element) FILTER (WHERE x.state = 5))[1] "
     "FROM (" ELEMENTS("e.*", OF_GROUP("$1")) ") x",
     {INT8OID, TEXTOID}},
    // group_outputs
    {"SELECT jsonb_build_object($2, coalesce(jsonb_agg(CASE WHEN x.state = 4 THEN insula.merge_patch('{}'::jsonb, "
     "x.output) "
     "END ORDER BY x.element), '[]')) FROM (" ELEMENTS("e.*", OF_GROUP("$1")) ") x",
     {INT8OID, TEXTOID}},
    // end_group
    {"UPDATE {work} SET state = $2, finished_at = $3, output = $4, error = $5 WHERE id = $1",
     {INT8OID, INT4OID, TIMESTAMPTZOID, JSONBOID, TEXTOID}},
    // element_rows
    {ELEMENTS("e.task, e.state, e.output, e.error, e.attempt, e.started_at, e.finished_at, e.worker, e.element, e.id",
              OF_EXECUTION("$1", "$2")) " ORDER BY e.id",
     {INT8OID, INT8OID}},
    // element_details
    {ELEMENTS("e.task, e.state, e.lane, e.attempt, e.due, e.paused_at IS NOT NULL, e.worker, e.error, e.waits_for, "
              "e.child, e.limit_key, e.element",
              OF_EXECUTION("$1", "$2")) " ORDER BY e.task, e.element",
     {INT8OID, INT8OID}},
    // reopen_elements
    {"UPDATE {work} w SET state = 1, lane = " OPEN_LANE ", due = $1 + w.element, lease = NULL, attempt = 0, "
     "started_at = NULL, finished_at = NULL, worker = NULL, error = NULL, output = NULL, paused_at = NULL, "
     "event = NULL, waits_for = NULL, child = NULL FROM " EACH_ELEMENT(OF_GROUP("$2")) " AND w.state IN (5, 7) "
                                                                                       "RETURNING w.def, w.lane",
     {INT8OID, INT8OID}},
    // open_elements
    {"SELECT count(*) FROM (" ELEMENTS("e.state", OF_GROUP("$1")) ") x WHERE x.state < 4", {INT8OID}},
    // remove_group
    {"DELETE FROM {work} w USING " EACH_ELEMENT(OF_GROUP("$1")), {INT8OID}},
    // end_execution
    {"UPDATE {work} SET state = $2, finished_at = $3, output = $4, error = $5, lane = NULL, due = NULL WHERE id = $1",
     {INT8OID, INT4OID, TIMESTAMPTZOID, JSONBOID, TEXTOID}},
    // pause_rows
    {"UPDATE {work} w SET paused_at = $1, lane = CASE WHEN " IN_READY_LANE " THEN 100004 ELSE w.lane END "
     "WHERE w.id >= $2 AND w.id <= $3 AND w.state < 4 RETURNING w.def, w.lane",
     {TIMESTAMPTZOID, INT8OID, INT8OID}},
    // pause_elements
    {"UPDATE {work} w SET paused_at = $1, lane = CASE WHEN " IN_READY_LANE " THEN 100004 ELSE w.lane END "
     "FROM " EACH_ELEMENT(OF_EXECUTION("$2", "$3")) " AND w.state < 4 RETURNING w.def, w.lane",
     {TIMESTAMPTZOID, INT8OID, INT8OID}},
    // resume_elements
    {"UPDATE {work} w SET paused_at = NULL, lane = CASE WHEN w.lane = 100004 THEN " OPEN_LANE " ELSE w.lane END, "
     "due = CASE WHEN w.lane = 100004 THEN $1 ELSE w.due END "
     "FROM " EACH_ELEMENT(OF_EXECUTION("$2", "$3")) " AND w.paused_at IS NOT NULL RETURNING w.def, w.lane",
     {INT8OID, INT8OID, INT8OID}},
    // resume_rows
    {"UPDATE {work} w SET paused_at = NULL, lane = CASE WHEN w.lane = 100004 THEN " OPEN_LANE " ELSE w.lane END, "
     "due = CASE WHEN w.lane = 100004 THEN $1 ELSE w.due END "
     "WHERE w.id >= $2 AND w.id <= $3 AND w.paused_at IS NOT NULL RETURNING w.def, w.lane",
     {INT8OID, INT8OID, INT8OID}},
    // reopen_rows
    {"UPDATE {work} w SET state = CASE WHEN u.n = 0 THEN 1 ELSE 0 END, remaining = u.n, "
     "lane = CASE WHEN u.n = 0 THEN " OPEN_LANE " END, due = CASE WHEN u.n = 0 THEN $1 END, lease = NULL, attempt = 0, "
     "started_at = NULL, finished_at = NULL, worker = NULL, error = NULL, output = NULL, paused_at = NULL, event = "
     "NULL, "
     "waits_for = NULL, child = NULL FROM unnest($2, $3) u(id, n) WHERE " BY_ID(
         "u.id") " RETURNING w.key, w.state, w.def, w.lane",
     {INT8OID, INT8ARRAYOID, INT4ARRAYOID}},
    // reopen_execution
    {"UPDATE {work} SET state = 1, remaining = $2, lane = $3, due = $4, finished_at = NULL, output = NULL, error = "
     "NULL, "
     "paused_at = NULL WHERE id = $1",
     {INT8OID, INT4OID, INT4OID, INT8OID}},
    // timed_out_executions
    {"SELECT id, def, span, remaining, input, parent, parent_head FROM {work} WHERE lane = 100003 AND due <= $1 ORDER "
     "BY due LIMIT 100 "
     "FOR NO KEY UPDATE SKIP LOCKED",
     {INT8OID}},
    // lock_open_tasks
    {"SELECT id, child FROM {work} WHERE id > $1 AND id <= $2 AND state < 4 ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
     {INT8OID, INT8OID}},
    // lock_open_elements
    {"SELECT w.id, w.child FROM {work} w, " EACH_ELEMENT(OF_EXECUTION("$1", "$2")) " AND w.state < 4 "
                                                                                   "FOR NO KEY UPDATE OF w SKIP LOCKED",
     {INT8OID, INT8OID}},
    // count_open
    {"SELECT (SELECT count(*) FROM {work} WHERE id > $1 AND id <= $2 AND state < 4) + "
     "(SELECT count(*) FROM (" ELEMENTS("e.state", OF_EXECUTION("$1", "$2")) ") x WHERE x.state < 4)",
     {INT8OID, INT8OID}},
    // end_of_stretch
    {"SELECT max(id) FROM (SELECT id FROM {work} WHERE id > $1 AND id <= $3 ORDER BY id LIMIT $2) q",
     {INT8OID, INT8OID, INT8OID}},
    // matching_executions
    {"SELECT w.id FROM {work} w, LATERAL (SELECT CASE w.state WHEN 4 THEN 'completed' WHEN 5 THEN 'failed' "
     "WHEN 7 THEN 'cancelled' ELSE CASE WHEN w.paused_at IS NOT NULL THEN 'paused' WHEN w.started_at IS NOT NULL "
     "OR EXISTS (SELECT FROM {work} t WHERE t.id > w.id AND t.id <= w.id + w.span AND t.started_at IS NOT NULL) "
     "THEN 'running' ELSE 'pending' END END OFFSET 0) s(status) "
     "WHERE w.id > $1 AND w.id <= $2 AND w.head IS NULL AND s.status = ANY ($4) "
     "AND coalesce(w.finished_at, w.created_at) < $5 AND ($3 IS NULL OR (SELECT d.name = $3 FROM {record} d "
     "WHERE d.kind = 'w' AND d.owner = w.def LIMIT 1)) ORDER BY w.id",
     {INT8OID, INT8OID, TEXTOID, TEXTARRAYOID, TIMESTAMPTZOID}},
    // finished_executions
    {"SELECT id, finished_at FROM {work} WHERE id > $1 AND id <= $2 AND head IS NULL AND state >= 4 ORDER BY id",
     {INT8OID, INT8OID}},
    // finished_beyond
    {"SELECT id FROM {work} WHERE head IS NULL AND state >= 4 AND id > $2 AND id <= $3 ORDER BY id DESC OFFSET $1 "
     "LIMIT 1",
     {INT8OID, INT8OID, INT8OID}},
    // finished_up_to
    {"SELECT count(*) FROM {work} WHERE head IS NULL AND state >= 4 AND id <= $1", {INT8OID}},
    // remove_heads
    {"DELETE FROM {work} w WHERE w.id = ANY ($1) AND w.state >= 4 RETURNING w.id, w.span, "
     "(SELECT d.name || ':' || w.idempotency_key FROM {record} d WHERE d.kind = 'w' AND d.owner = w.def LIMIT 1)",
     {INT8ARRAYOID}},
    // remove_tasks
    {"DELETE FROM {work} w USING unnest($1, $2) u(head, last) WHERE w.id > u.head AND w.id <= u.last",
     {INT8ARRAYOID, INT8ARRAYOID}},
    // remove_elements
    {"DELETE FROM {work} w USING (SELECT e.id FROM unnest($1, $2) u(head, last), LATERAL (" ELEMENTS(
         "e.id", OF_EXECUTION("u.head", "u.last")) ") e OFFSET 0) x WHERE " BY_ID("x.id"),
     {INT8ARRAYOID, INT8ARRAYOID}},
    // cancel_tasks
    {"WITH o AS (SELECT id, lane FROM {work} WHERE id > $2 AND id <= $3 AND state < 4 FOR NO KEY UPDATE), "
     "c AS (UPDATE {work} w SET " CANCELLED
     " FROM o WHERE " BY_ID("o.id") " RETURNING w.child, w.def, o.lane, w.limit_key) "
                                    "SELECT child, def, lane, limit_key FROM c ORDER BY child",
     {TIMESTAMPTZOID, INT8OID, INT8OID}},
    // cancel_elements
    {"WITH o AS (SELECT w.id, w.lane FROM {work} w, " EACH_ELEMENT(OF_EXECUTION(
         "$2", "$3")) " AND w.state < 4 "
                      "FOR NO KEY UPDATE OF w), "
                      "c AS (UPDATE {work} w SET " CANCELLED
                      " FROM o WHERE " BY_ID("o.id") " RETURNING w.child, w.def, o.lane, w.limit_key) "
                                                     "SELECT child, def, lane, limit_key FROM c ORDER BY child",
     {TIMESTAMPTZOID, INT8OID, INT8OID}},
    // cancel_single
    {"WITH o AS (SELECT id, lane FROM {work} WHERE id = $2 AND head IS NULL AND state < 4 FOR NO KEY UPDATE) "
     "UPDATE {work} w SET " CANCELLED ", error = $3 FROM o WHERE " BY_ID(
         "o.id") " "
                 "RETURNING w.def, w.span, 0, w.input, w.parent, w.parent_head, w.child, o.lane, w.limit_key",
     {TIMESTAMPTZOID, INT8OID, TEXTOID}},
    // inputs_and_outputs
    {"SELECT id, CASE WHEN head IS NULL THEN input WHEN state = 4 THEN output END FROM {work} WHERE id = ANY ($1)",
     {INT8ARRAYOID}},
    // extend_leases
    {"UPDATE {work} w SET due = least($1, w.deadline) FROM unnest($2, $3) u(id, lease) WHERE " ROW_FILTER
     " AND (w.deadline IS NULL OR w.deadline > $4) RETURNING w.id, w.paused_at IS NOT NULL",
     {INT8OID, INT8ARRAYOID, INT8ARRAYOID, INT8OID}},
    // stopped_leases
    {"SELECT w.id, w.state = 7 AND NOT EXISTS (SELECT FROM {work} h WHERE h.id = ANY (ARRAY[w.head]) AND h.state = 5) "
     "FROM unnest($1, $2) u(id, lease), {work} w WHERE " BY_ID(
         "u.id") " AND w.lease = u.lease AND (w.state = 7 OR w.deadline <= $3) ORDER BY w.id",
     {INT8ARRAYOID, INT8ARRAYOID, INT8OID}},
    // live_executions
    {"SELECT id FROM {work} WHERE id = ANY ($1) AND head IS NULL AND state < 4", {INT8ARRAYOID}},
    // running_count
    {"SELECT count(*) FROM {work} WHERE lane = 100001", {}},
    // running_at_most
    {"SELECT count(*) FROM (SELECT FROM {work} WHERE lane = 100001 LIMIT $1) q", {INT8OID}},
    // queued_at_most
    {"SELECT count(*) FROM ((SELECT FROM {work} WHERE lane < 100003 LIMIT $1) UNION ALL "
     "(SELECT FROM {work} WHERE lane > 100003 LIMIT $1) LIMIT $1) q",
     {INT8OID}},
    // count_queue
    {"SELECT def, count(*) FILTER (WHERE " IN_READY_LANE "), count(*) FILTER (WHERE lane = 100000), "
     "count(*) FILTER (WHERE lane = 100001), count(*) FILTER (WHERE lane = 100002), "
     "count(*) FILTER (WHERE lane = 100004) FROM {work} w WHERE lane IS NOT NULL AND lane <> 100003 GROUP BY def",
     {}},
    // oldest_ready
    {"SELECT due FROM {work} WHERE lane = $1 AND due >= $2 ORDER BY due LIMIT 1", {INT4OID, INT8OID}},
    // execution_row
    {"SELECT def, span, state, input, output, error, created_at, started_at, finished_at, attempt, "
     "paused_at IS NOT NULL, parent_head, worker FROM {work} "
     "WHERE id = $1 AND head IS NULL",
     {INT8OID}},
    // current_definition
    {"SELECT ref FROM {record} WHERE kind = 'c' AND owner = 0 AND name = $1 AND seq = 0", {TEXTOID}},
    // definition
    {"SELECT name, seq, body FROM {record} WHERE kind = 'w' AND owner = $1", {INT8OID}},
    // definition_by_hash
    {"SELECT owner, seq FROM {record} WHERE kind = 'w' AND name = $1 AND hash = $2", {TEXTOID, BYTEAOID}},
    // take_record_numbers
    {"INSERT INTO {record} AS r (kind, owner, name, seq, at, ref) VALUES ('n', 0, $1, 0, $2, $3) "
     "ON CONFLICT (kind, owner, name, seq) DO UPDATE SET ref = r.ref + EXCLUDED.ref, at = EXCLUDED.at RETURNING ref",
     {TEXTOID, TIMESTAMPTZOID, INT8OID}},
    // last_version
    {"SELECT max(seq) FROM {record} WHERE kind = 'w' AND name = $1", {TEXTOID}},
    // last_task_key
    {"SELECT owner FROM {record} WHERE kind = 't' ORDER BY kind DESC, owner DESC LIMIT 1", {}},
    // insert_record
    {"INSERT INTO {record} (kind, owner, name, seq, at, ref, hash, body) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
     {CHAROID, INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID, INT8OID, BYTEAOID, JSONBOID}},
    // set_current
    {"INSERT INTO {record} (kind, owner, name, seq, at, ref) VALUES ('c', 0, $1, 0, $2, $3) "
     "ON CONFLICT (kind, owner, name, seq) DO UPDATE SET ref = EXCLUDED.ref, at = EXCLUDED.at",
     {TEXTOID, TIMESTAMPTZOID, INT8OID}},
    // take_kept_event
    {"WITH c AS (SELECT q.seq FROM {record} q WHERE q.kind = 'e' AND q.owner = $1 AND q.name = $2 "
     "ORDER BY q.seq LIMIT 1) "
     "DELETE FROM {record} r USING c WHERE r.kind = 'e' AND r.owner = $1 AND r.name = $2 AND r.seq = c.seq "
     "RETURNING r.body",
     {INT8OID, TEXTOID}},
    // kept_events
    {"SELECT count(*), coalesce(sum(pg_column_size(q.body)), 0)::bigint "
     "FROM (SELECT body FROM {record} WHERE kind = 'e' AND owner = $1 LIMIT $2) q",
     {INT8OID, INT8OID}},
    // read_sweep
    {"SELECT at, ref FROM {record} WHERE kind = 's' AND owner = 0 AND name = '' AND seq = 0", {}},
    // write_sweep
    {"INSERT INTO {record} (kind, owner, name, seq, at, ref) VALUES ('s', 0, '', 0, $1, $2) "
     "ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at, ref = EXCLUDED.ref",
     {TIMESTAMPTZOID, INT8OID}},
    // remove_records
    {"DELETE FROM {record} WHERE kind IN ('h', 'e') AND owner = ANY ($1)", {INT8ARRAYOID}},
    // remove_keys
    {"DELETE FROM {record} WHERE kind = 'k' AND owner = 0 AND name = ANY ($1) AND seq = 0", {TEXTARRAYOID}},
    // rate_spent
    {"SELECT at FROM {record} WHERE kind = 'r' AND owner = 0 AND name = '' AND seq = 0", {}},
    // spend_rate
    {"INSERT INTO {record} (kind, owner, name, seq, at) VALUES ('r', 0, '', 0, $1) "
     "ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at",
     {TIMESTAMPTZOID}},
    // all_keys
    {"SELECT k.owner, k.name, EXISTS (SELECT FROM {record} c WHERE c.kind = 'c' AND c.owner = 0 "
     "AND c.name = split_part(k.name, '.', 1) AND c.seq = 0 AND c.body IS NOT NULL) FROM {record} k WHERE k.kind = 't'",
     {}},
    // pause_workflow
    {"UPDATE {record} SET body = '{\"paused\": true}' "
     "WHERE kind = 'c' AND owner = 0 AND name = $1 AND seq = 0 AND body IS NULL",
     {TEXTOID}},
    // resume_workflow
    {"UPDATE {record} SET body = NULL WHERE kind = 'c' AND owner = 0 AND name = $1 AND seq = 0 AND body IS NOT NULL",
     {TEXTOID}},
    // take_idempotency_keys
    {"INSERT INTO {record} (kind, owner, name, seq, at, ref) SELECT 'k', 0, u.name, 0, $1, u.ref "
     "FROM unnest($2, $3) u(name, ref) ON CONFLICT DO NOTHING RETURNING name",
     {TIMESTAMPTZOID, TEXTARRAYOID, INT8ARRAYOID}},
    // find_idempotency_keys
    {"SELECT name, ref FROM {record} WHERE kind = 'k' AND owner = 0 AND name = ANY ($1) AND seq = 0", {TEXTARRAYOID}},
    // subscriptions
    {"SELECT name, body FROM {record} WHERE kind = 'g' AND owner = 0 AND name >= $1 AND name < $2 ORDER BY name",
     {TEXTOID, TEXTOID}},
    // put_subscription
    {"INSERT INTO {record} AS r (kind, owner, name, seq, at, body) VALUES ('g', 0, $1, 0, $2, $3) "
     "ON CONFLICT (kind, owner, name, seq) DO UPDATE SET body = EXCLUDED.body RETURNING r.at = $2",
     {TEXTOID, TIMESTAMPTZOID, JSONBOID}},
    // delete_subscriptions
    {"DELETE FROM {record} WHERE kind = 'g' AND owner = 0 AND name >= $1 AND name < $2", {TEXTOID, TEXTOID}},
    // release_key
    {"WITH k AS (DELETE FROM {record} WHERE kind = 'k' AND owner = 0 AND name = $1 AND seq = 0 AND ref = $2) "
     "UPDATE {work} w SET idempotency_key = NULL WHERE w.id = ANY (ARRAY[$2]) AND w.state >= 4",
     {TEXTOID, INT8OID}},
    // all_schedules
    {"SELECT d.name, d.ref, d.at, d.body - 'context', (SELECT f.seq FROM {record} f WHERE f.kind = 'f' "
     "AND f.owner = d.ref AND f.name = '' ORDER BY f.seq DESC LIMIT 1) FROM {record} d WHERE d.kind = 'd' "
     "AND d.owner = 0",
     {}},
    // list_schedules
    {"SELECT d.name, d.ref, d.at, d.body - 'context', (SELECT f.seq FROM {record} f WHERE f.kind = 'f' "
     "AND f.owner = d.ref AND f.name = '' ORDER BY f.seq DESC LIMIT 1), (SELECT f.seq FROM {record} f "
     "WHERE f.kind = 'f' AND f.owner = d.ref AND f.name = '' AND f.ref IS NOT NULL ORDER BY f.seq DESC LIMIT 1) "
     "FROM {record} d WHERE d.kind = 'd' AND d.owner = 0 ORDER BY d.name",
     {}},
    // count_schedules
    {"SELECT count(*) FROM {record} WHERE kind = 'd' AND owner = 0", {}},
    // find_schedule
    {"SELECT ref, at, body FROM {record} WHERE kind = 'd' AND owner = 0 AND name = $1 AND seq = 0", {TEXTOID}},
    // schedule_by_number
    {"SELECT FROM {record} WHERE (kind = 'd' AND owner = 0 AND ref = $1) OR (kind = 'f' AND owner = $1) LIMIT 1",
     {INT8OID}},
    // put_schedule
    {"INSERT INTO {record} (kind, owner, name, seq, ref, at, body) VALUES ('d', 0, $1, 0, $2, $3, $4) "
     "ON CONFLICT (kind, owner, name, seq) DO UPDATE SET at = EXCLUDED.at, body = EXCLUDED.body RETURNING ref",
     {TEXTOID, INT8OID, TIMESTAMPTZOID, JSONBOID}},
    // delete_schedule
    {"DELETE FROM {record} WHERE kind = 'd' AND owner = 0 AND name = $1 AND seq = 0", {TEXTOID}},
    // insert_fire
    {"INSERT INTO {record} (kind, owner, name, seq, at, ref) VALUES ('f', $1, '', $2, $3, $4) ON CONFLICT DO NOTHING "
     "RETURNING seq",
     {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID}},
    // newest_fired
    {"SELECT ref FROM {record} WHERE kind = 'f' AND owner = $1 AND name = '' ORDER BY seq DESC LIMIT $2",
     {INT8OID, INT8OID}},
    // prune_fires
    {"DELETE FROM {record} WHERE kind = 'f' AND owner = $1 AND name = '' AND seq <= (SELECT f.seq FROM {record} f "
     "WHERE f.kind = 'f' AND f.owner = $1 AND f.name = '' ORDER BY f.seq DESC OFFSET $2 LIMIT 1)",
     {INT8OID, INT8OID}},
};

const StatementText &statement_text(Statement statement) { return texts[static_cast<int>(statement)]; }

}  // namespace insula
