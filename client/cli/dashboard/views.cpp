#include "dashboard/views.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

#include "dashboard/json.hpp"

namespace insula::cli::dashboard {

namespace {

using std::chrono::milliseconds;

struct Part {
  const char* name;
  std::string sql;
  std::array<const char*, 5> parameters = {};  // names of the request's, in the order of $1, $2 ...
  bool may_fail = false;                       // then its error is shown in its place
  milliseconds timeout{0};                     // zero: the usual one
  bool is_one_row = false;                     // without which the view is of no use
};

struct View {
  const char* name;
  bool is_for_admins;
  std::vector<Part> parts;
};

// ---- now ----

constexpr const char* oldest_sql =
    "SELECT tenant, status, ready, running, oldest_ready_at FROM insula.tenant_activity "
    "WHERE ready > 0 AND ($1::text IS NULL OR tenant = $1) ORDER BY oldest_ready_at NULLS LAST LIMIT 6";

// A session that holds the oldest snapshot keeps dead rows from being removed.
constexpr const char* holder_sql =
    "SELECT pid, usename::text AS role, application_name AS application, state, xact_start, "
    "pg_catalog.age(backend_xmin)::bigint AS transactions FROM pg_catalog.pg_stat_activity WHERE backend_xmin IS NOT "
    "NULL AND pid <> pg_catalog.pg_backend_pid() AND backend_type <> 'walsender' AND xact_start < pg_catalog.now() - "
    "interval '1 s' ORDER BY pg_catalog.age(backend_xmin) DESC, xact_start LIMIT 1";

constexpr const char* failures_sql =
    "SELECT tenant_name AS tenant, workflow, task, pg_catalog.left(error, 400) AS error, failed, retrying, first_at, "
    "last_at, example FROM insula.failures($1::interval, $2) LIMIT 50";

// ---- tenants ----

// A page after the key and the name of the last row before it. What limits leave to do is told from the numbers at
// hand; explain_tenant() measures it, for one tenant. Parts of claims and of weights are those of all tenants that have
// any.
constexpr const char* tenants_sql = R"(
WITH counted AS (
  SELECT tenant, submitted, completed, failed, started, retried, lapsed,
    (extract(epoch FROM wait_p99) * 1000)::float8 AS wait_p99_ms
  FROM insula.tenant_counters),
every AS (
  SELECT t.tenant, t.status, a.ready, a.running, a.delayed, a.waiting, a.paused, a.oldest_ready_at, t.weight,
    t.max_running, t.max_queued, t.max_connections, t.rate_per_second, t.retain::text AS retain, t.retain_count,
    pg_catalog.left(t.error, 400) AS error, t.error_at, t.created_at,
    c.submitted, c.completed, c.failed, c.started, c.retried, c.lapsed, c.wait_p99_ms,
    (c.started / nullif(sum(c.started) OVER (), 0))::float8 AS share,
    CASE WHEN c.started > 0 THEN t.weight::float8 / sum(t.weight) FILTER (WHERE c.started > 0) OVER () END AS weight_share,
    CASE WHEN t.status <> 'active' THEN t.status
      WHEN t.tenant IN (SELECT l.tenant FROM insula.tenant_error e JOIN insula.tenant l USING (tenant_no) WHERE e.until > pg_catalog.now()) THEN 'set aside'
      WHEN a.running >= t.max_running AND a.ready > 0 THEN 'max_running'
      WHEN a.ready + a.running + a.delayed + a.waiting + a.paused >= t.max_queued THEN 'max_queued'
      WHEN t.error IS NOT NULL THEN 'error of the scheduler'
      WHEN a.oldest_ready_at > pg_catalog.now() - interval '5 s' OR a.ready = 0 OR a.ready IS NULL THEN NULL
      WHEN t.rate_per_second IS NOT NULL THEN 'rate or no worker' ELSE 'no free worker' END AS held_by
  FROM insula.tenants t JOIN insula.tenant_activity a USING (tenant) LEFT JOIN counted c USING (tenant)),
keyed AS (
  SELECT every.*, count(*) OVER () AS matching, coalesce(CASE WHEN $3 = 'up' THEN 1 ELSE -1 END * CASE $2
    WHEN 'ready' THEN ready WHEN 'running' THEN running WHEN 'delayed' THEN delayed WHEN 'waiting' THEN waiting
    WHEN 'weight' THEN weight WHEN 'completed' THEN coalesce(completed, 0) WHEN 'failed' THEN coalesce(failed, 0)
    WHEN 'started' THEN coalesce(started, 0) WHEN 'wait' THEN wait_p99_ms WHEN 'share' THEN share / nullif(weight_share, 0)
    WHEN 'status' THEN CASE status WHEN 'active' THEN 0 ELSE 1 END WHEN 'held' THEN CASE WHEN held_by IS NULL THEN 0 ELSE 1 END
    WHEN 'oldest' THEN -extract(epoch FROM oldest_ready_at) WHEN 'tenant' THEN 0 END::float8, 1e300) AS sort_key
  FROM every
  WHERE $1::text IS NULL OR pg_catalog.strpos(tenant, $1) > 0)
SELECT * FROM keyed
WHERE $5::text IS NULL OR CASE WHEN $2 = 'tenant' AND $3 IS DISTINCT FROM 'up' THEN tenant < $5
  ELSE (sort_key, tenant) > ($4::float8, $5) END
ORDER BY sort_key, CASE WHEN $2 = 'tenant' AND $3 IS DISTINCT FROM 'up' THEN tenant END DESC, tenant
LIMIT 101)";

// The newest failed one among the hundred newest executions of each: a look at more would grow with what is kept.
constexpr const char* last_failures_sql = R"(
SELECT t.tenant, f.execution_id, f.finished_at, pg_catalog.left(f.execution_error, 200) AS error
FROM (SELECT tenant FROM insula.tenants WHERE tenant = ANY (pg_catalog.string_to_array($1, ',')) LIMIT 100) t
CROSS JOIN LATERAL (
  SELECT * FROM insula.executions(max_executions => 100, tenant => t.tenant) e
  WHERE e.execution_status = 'failed' ORDER BY e.finished_at DESC LIMIT 1) f)";

// Reads all executions that the tenant keeps: it is asked for by a person, not every few seconds.
constexpr const char* usage_sql = R"(
SELECT workflow, sum(executions_started)::bigint AS started, sum(executions_completed)::bigint AS completed,
  sum(executions_failed)::bigint AS failed, sum(tasks_run)::bigint AS tasks_run,
  (sum(seconds_run) * 1000)::float8 AS run_ms, sum(context_bytes)::bigint AS context_bytes
FROM insula.usage($1)
GROUP BY workflow ORDER BY sum(seconds_run) DESC, workflow LIMIT 200)";

constexpr const char* names_sql =
    "SELECT tenant, status FROM insula.tenants WHERE $1::text IS NULL OR pg_catalog.strpos(tenant, $1) > 0 ORDER BY "
    "tenant LIMIT 50";

constexpr const char* tenant_sql = "SELECT question, item, value, says FROM insula.explain_tenant($1)";

// ---- one execution ----

constexpr const char* result_sql = R"(
SELECT execution_id, workflow, version, status, pg_catalog.left(error, 20000) AS error, created_at, started_at, finished_at,
  (extract(epoch FROM greatest(coalesce(finished_at, pg_catalog.clock_timestamp()) - created_at, '0')) * 1000)::float8 AS age_ms,
  CASE WHEN finished_at IS NOT NULL THEN (extract(epoch FROM greatest(finished_at - started_at, '0')) * 1000)::float8 END AS took_ms,
  pg_catalog.left(final_context::text, 1000000) AS final_context, pg_catalog.octet_length(final_context::text) AS final_bytes,
  CASE WHEN pg_catalog.jsonb_array_length(tasks) <= 2000 THEN (
    SELECT pg_catalog.jsonb_agg(CASE WHEN pg_catalog.octet_length(t::text) <= 1500 THEN t
      ELSE t || pg_catalog.jsonb_build_object('error', pg_catalog.left(t ->> 'error', 500), 'note', pg_catalog.left(t ->> 'note', 500)) END ORDER BY i)::text
    FROM pg_catalog.jsonb_array_elements(tasks) WITH ORDINALITY one(t, i)) END AS tasks, pg_catalog.jsonb_array_length(tasks) AS task_count
FROM insula.result($1::bigint))";

constexpr const char* source_sql = R"(
SELECT tenant, CASE WHEN definition_bytes <= 4000000 THEN definition END AS definition, definition_bytes,
  pg_catalog.left(input, 1000000) AS input, pg_catalog.octet_length(input) AS input_bytes, parent
FROM (SELECT *, pg_catalog.octet_length(definition) AS definition_bytes
  FROM (SELECT tenant_name AS tenant, definition::text AS definition, input::text AS input, parent
    FROM insula.execution_source($1::bigint) OFFSET 0) texts OFFSET 0) sized)";

constexpr const char* explain_sql =
    "SELECT task, status, pg_catalog.left(why, 1000) AS why FROM insula.explain_execution($1::bigint) LIMIT 2000";

// As much as fits into some megabytes, from the start on: each event may hold a large detail, and a task's patch.
constexpr const char* timeline_sql = R"(
SELECT at, task, event, attempt, worker, CASE WHEN detail_sum <= 4000000 THEN detail END AS detail,
  CASE WHEN changed_sum <= 4000000 THEN changed END AS changed, changed_bytes,
  (extract(epoch FROM greatest(at - first_at, '0')) * 1000)::float8 AS after_ms
FROM (
  SELECT *, sum(pg_catalog.octet_length(detail)) OVER so_far AS detail_sum, sum(pg_catalog.octet_length(changed)) OVER so_far AS changed_sum
  FROM (
    SELECT pg_catalog.row_number() OVER (ORDER BY at, ordinality) AS place, at, min(at) OVER () AS first_at, task, event, attempt, worker,
      pg_catalog.left(detail::text, 20000) AS detail, pg_catalog.octet_length(changed::text) AS changed_bytes,
      CASE WHEN pg_catalog.octet_length(changed::text) <= 200000 THEN changed::text END AS changed
    FROM insula.timeline($1::bigint) WITH ORDINALITY) listed
  WHERE place <= 3000
  WINDOW so_far AS (ORDER BY place ROWS UNBOUNDED PRECEDING)) summed
ORDER BY place)";

// ---- workflows and schedules ----

// Lists ask for one row more than the page shows, which says so then. The first rows of each tenant go before the rest
// of any: no tenant's many hide those of all others.
constexpr const char* workflows_sql = R"(
SELECT tenant_name AS tenant, workflow, version, status, registered_at, pg_catalog.jsonb_array_length(definition -> 'tasks') AS tasks,
  pg_catalog.left(definition ->> 'description', 300) AS description,
  CASE WHEN pg_catalog.octet_length((definition -> 'params')::text) < 10000 THEN (definition -> 'params')::text END AS params
FROM (
  SELECT * FROM (
    SELECT *, pg_catalog.row_number() OVER (PARTITION BY tenant_name ORDER BY ordinality) AS place FROM insula.workflows($1) WITH ORDINALITY) one
  ORDER BY place > 20, ordinality LIMIT 501) few
ORDER BY ordinality)";

// missed: times of the cron since the last fire that made an execution, at which none was made, of twenty: they were
// late beyond the grace, fell into an overlap or a pause, or lay before the schedule's start or its present cron.
std::string schedules_sql(const std::string& tenant, const std::string& schedules) {
  return "SELECT " + tenant + R"( AS tenant,
  CASE WHEN s.last_execution IS NOT NULL THEN (
    SELECT e.execution_status FROM insula.executions(execution_ids => ARRAY[s.last_execution], tenant => )" +
         tenant + R"() e) END AS last_status,
  s.name, s.workflow, s.cron, s.timezone, s.status, s.next_fire_at,
  s.last_fire_at, s.last_execution,
  CASE WHEN s.status = 'active' AND s.last_fire_at IS NOT NULL THEN (
    SELECT count(*)::integer FROM insula.next_fires(s.cron, s.timezone, 20, s.last_fire_at) f
    WHERE f < least(s.next_fire_at, pg_catalog.now())) END AS missed,
  CASE WHEN s.status = 'active' AND s.next_fire_at < pg_catalog.now() - interval '10 s' THEN s.next_fire_at END AS late_since,
  CASE WHEN s.status = 'active' THEN (SELECT pg_catalog.to_json(pg_catalog.array_agg(f))::text FROM insula.next_fires(s.cron, s.timezone, 4) f) END AS fires
FROM )" + schedules;
}

std::string one_schedules_sql() {
  return schedules_sql("coalesce($1, insula.current_tenant())", "insula.schedules($1, with_context => false) s ORDER BY s.name LIMIT 301");
}

std::string all_schedules_sql() {
  return schedules_sql("t.tenant",
                       "(SELECT tenant FROM insula.tenants ORDER BY tenant LIMIT 200) t CROSS JOIN LATERAL (SELECT * "
                       "FROM insula.schedules(t.tenant, with_context => false) ORDER BY name LIMIT 20) s ORDER BY t.tenant, s.name LIMIT 301");
}

// ---- workers, and the server ----

constexpr const char* workers_sql = R"(
SELECT worker, tenant_name AS tenant, role_name AS role, pid, status, since, tasks, next_lease_expires
FROM (
  SELECT * FROM (
    SELECT *, pg_catalog.row_number() OVER (PARTITION BY tenant_name ORDER BY ordinality) AS place FROM insula.workers() WITH ORDINALITY) one
  ORDER BY place > 20, ordinality LIMIT 501) few
ORDER BY ordinality)";

constexpr const char* leases_sql = R"(
SELECT tenant_name AS tenant, task_id, execution_id, workflow, task, worker, attempt, started_at, lease_expires, deadline
FROM (
  SELECT * FROM (
    SELECT *, pg_catalog.row_number() OVER (PARTITION BY tenant_name ORDER BY ordinality) AS place FROM insula.leases($1) WITH ORDINALITY) one
  ORDER BY place > 20, ordinality LIMIT 501) few
ORDER BY ordinality)";

constexpr const char* capacity_sql = "SELECT item, used, available, advice, setting FROM insula.capacity()";

// A slot is dropped once the WAL that it needs is gone. One that nothing reads may be that of a standby which restarts.
constexpr const char* health_sql = R"(
SELECT level, tenant, object, finding,
  CASE WHEN object LIKE 'session %' THEN 'SELECT pg_terminate_backend(' || substr(object, 9) || ')'
    WHEN object LIKE 'prepared transaction %' THEN 'ROLLBACK PREPARED ' || substr(object, 22)
    WHEN s.slot_name IS NOT NULL THEN 'SELECT pg_drop_replication_slot(' || quote_literal(s.slot_name) || ')' END AS mend
FROM insula.health() WITH ORDINALITY h(level, tenant, object, finding, place)
LEFT JOIN pg_catalog.pg_replication_slots s ON object = 'replication slot ' || pg_catalog.quote_ident(s.slot_name)
  AND NOT s.active AND s.wal_status = 'lost'
ORDER BY place
LIMIT 200)";

constexpr const char* status_sql = R"(
SELECT item, value, CASE
    WHEN item = 'adopted' AND value <> 'yes' THEN 'SELECT insula.adopt()'
    WHEN item = 'scheduler' AND value LIKE 'off%' THEN 'ALTER SYSTEM SET insula.scheduler = on; SELECT pg_reload_conf()'
    WHEN item = 'scheduler' AND value ~ '^(not running|stopped)' THEN 'SELECT insula.start_scheduler()'
    WHEN item = 'shared memory' AND value <> 'on' THEN 'shared_preload_libraries = ''insula'', and restart the server' END AS mend
FROM insula.status())";

constexpr const char* audit_sql = R"(
SELECT level, tenant, object, finding,
  CASE WHEN level IN ('error', 'warning') THEN 'SELECT * FROM insula.reconcile()'
    WHEN finding LIKE 'every role %' THEN 'SELECT * FROM insula.harden()'
    WHEN finding LIKE '%insula.set_tenant_limits()%' THEN 'SELECT insula.set_tenant_limits(''...'', max_connections => 20)'
    WHEN object LIKE 'setting %' THEN 'ALTER SYSTEM SET ' || substr(object, 9) || ' = ...' END AS mend
FROM insula.audit()
ORDER BY CASE level WHEN 'error' THEN 0 WHEN 'warning' THEN 1 ELSE 2 END, tenant, object LIMIT 500)";

constexpr const char* log_sql =
    "SELECT log_id, at, username AS role, act, tenant, pg_catalog.left(detail, 500) AS detail FROM insula.admin_log "
    "ORDER BY log_id DESC LIMIT 30";

constexpr milliseconds usual_timeout{0}, audit_timeout{30000}, usage_timeout{30000};

const std::vector<View>& views() {
  static const std::vector<View> all = {
      {"now", true, {{"oldest", oldest_sql, {"tenant"}, true}, {"holder", holder_sql, {}, true}}},
      {"failures", false, {{"failures", failures_sql, {"since", "tenant"}}}},
      {"tenants", true, {{"tenants", tenants_sql, {"search", "sort", "direction", "after_key", "after"}}}},
      {"last_failures", true, {{"failures", last_failures_sql, {"tenants"}}}},
      {"usage", false, {{"usage", usage_sql, {"tenant"}, false, usage_timeout}}},
      {"names", true, {{"names", names_sql, {"search"}}}},
      {"tenant", false, {{"lines", tenant_sql, {"tenant"}}}},
      {"execution",
       false,
       {{"result", result_sql, {"id"}, false, usual_timeout, true},
        {"source", source_sql, {"id"}, false, usual_timeout, true},
        {"explain", explain_sql, {"id"}},
        {"timeline", timeline_sql, {"id"}}}},
      {"workflows", false, {{"workflows", workflows_sql, {"tenant"}}}},
      {"schedules", false, {{"schedules", one_schedules_sql(), {"tenant"}}}},
      {"all_schedules", true, {{"schedules", all_schedules_sql()}}},
      {"workers", true, {{"workers", workers_sql}}},
      {"leases", false, {{"leases", leases_sql, {"tenant"}}}},
      {"server",
       true,
       {{"status", status_sql, {}, true},
        {"health", health_sql, {}, true},
        {"capacity", capacity_sql, {}, true},
        {"log", log_sql, {}, true}}},
      {"audit", true, {{"audit", audit_sql, {}, false, audit_timeout}}}};
  return all;
}

std::string show_part(Connection& connection, const Part& part, const Ask& ask) {
  std::vector<Cell> parameters;
  for (const char* name : part.parameters)
    if (name) parameters.push_back(cell_of(ask(name)));
  try {
    const BoundedTable table = connection.query(part.sql, parameters, part.timeout);
    if (part.is_one_row && table.is_cut)
      throw Refusal(422, "refused", "it is larger than this page may show", "",
                    "insula dashboard --megabytes allows more.");
    return json_text(part.name) + ":" + json_rows(table) +
           (table.is_cut ? "," + json_text(std::string(part.name) + "_cut") + ":true" : "");
  } catch (const Refusal& refusal) {
    if (!part.may_fail || refusal.kind == "away") throw;
    return json_text(part.name) + ":[]," + json_text(std::string(part.name) + "_error") + ":" +
           json_text(refusal.what());
  }
}

// ---- the list of executions ----

// Rows that do not fit are left out, but the last one, from which the next look goes on. The terms that the function
// itself searches for are $1, $2 and $5; those that are looked at here are $10 to $15.  $16: of these ids alone.
constexpr const char* list_sql = R"(
SELECT * FROM (
  SELECT execution_id, tenant_name AS tenant, workflow_name AS workflow, version, execution_status AS status,
    pg_catalog.left(execution_error, 500) AS error, priority, created_at, started_at, finished_at,
    CASE WHEN finished_at IS NOT NULL THEN (extract(epoch FROM greatest(finished_at - started_at, '0')) * 1000)::float8 END AS took_ms,
    count(*) OVER () AS rows_read, pg_catalog.row_number() OVER () AS place,
    ($10::text IS NULL OR workflow_name <> $10) AND ($11::text IS NULL OR execution_status <> $11)
      AND ($12::text IS NULL OR execution_error IS NULL OR pg_catalog.strpos(execution_error, $12) = 0)
      AND ($13::text IS NULL OR workflow_name = $13) AND ($14::text IS NULL OR execution_status = $14)
      AND ($15::text IS NULL OR pg_catalog.strpos(execution_error, $15) > 0) IS TRUE AS fits
  FROM insula.executions($1, $2, $3::timestamptz, $4::timestamptz, $5, $6::jsonb, $7::bigint, $8::integer, $9, $16::bigint[])) listed
WHERE fits OR place = rows_read)";
constexpr std::size_t rows_read_column = 11;

constexpr std::size_t page_rows = 50;
constexpr std::size_t most_strides = 40;
constexpr std::size_t stride = 5000;          // rows read at once where not all fit
constexpr milliseconds search_timeout{1500};  // of the function's own search; after that it goes by strides
constexpr milliseconds walk_budget{2500};
constexpr milliseconds bulk_timeout{15000};  // of one look, and after which no further one begins
constexpr std::size_t ids_of_a_look = 1000;

// A "!" before the value means all others, "\!" one that begins with it.
struct Term {
  Cell is, is_not;
};
Term term_of(const Cell& value) {
  if (!value) return {};
  if (value->starts_with('!')) return {{}, value->size() > 1 ? Cell{value->substr(1)} : Cell{}};
  return {value->starts_with("\\!") ? value->substr(1) : *value, {}};
}

bool has_negation(const Filter& filter) {
  return term_of(filter.workflow).is_not || term_of(filter.status).is_not || term_of(filter.error).is_not;
}

// How the rows that fit are found: the function searches until it has enough of them, however long that takes, or it
// hands over all of them, and they are looked at here.
enum class Way { search, walk };

struct Look {
  std::size_t rows;
  Way way;
  milliseconds timeout;
  Cell ids{};
};

struct Stride {
  BoundedTable table;  // the last column tells whether a row fits
  bool is_last;
};

// Reads on from `*from` and moves it.
Stride read_stride(Connection& connection, const Filter& filter, const Look& look, Cell* from) {
  const Term workflow = term_of(filter.workflow), status = term_of(filter.status), error = term_of(filter.error);
  const bool searches = look.way == Way::search;
  const auto inside = [&](const Term& term) { return searches ? term.is : Cell{}; };
  const auto outside = [&](const Term& term) { return searches ? Cell{} : term.is; };
  Stride stride{
      connection.query(list_sql,
                       {inside(workflow), inside(status), filter.after, filter.before, inside(error), filter.context,
                        *from, std::to_string(look.rows), filter.tenant, workflow.is_not, status.is_not, error.is_not,
                        outside(workflow), outside(status), outside(error), look.ids},
                       look.timeout),
      true};
  const auto& rows = stride.table.rows;
  if (rows.empty()) return stride;
  *from = rows.back().front();
  stride.is_last = !stride.table.is_cut && std::stoul(*rows.back()[rows_read_column]) < look.rows;
  return stride;
}

// Fills a page.
struct Page {
  Table table;
  Cell last;  // the next page goes on after it
  bool is_full = false, has_ended = false;

  void add(Stride read) {
    if (table.columns.empty()) table.columns = read.table.columns;
    for (auto& row : read.table.rows) {
      if (row.back() == "t" && table.rows.size() == page_rows) {
        is_full = true;
        return;
      }
      last = row.front();
      if (row.back() == "t") table.rows.push_back(std::move(row));
    }
    has_ended = read.is_last;
  }
};

Page walk(Connection& connection, const Filter& filter, Cell from, Way way) {
  Page page;
  page.last = from;
  const auto until = std::chrono::steady_clock::now() + walk_budget;
  for (std::size_t i = 0; i < most_strides && !page.has_ended && !page.is_full; ++i) {
    page.add(read_stride(connection, filter, {stride, way, milliseconds{0}}, &from));
    if (std::chrono::steady_clock::now() > until) break;
  }
  return page;
}

}  // namespace

Filter filter_of(const Ask& ask) {
  const auto cell = [&](const char* name) { return cell_of(ask(name)); };
  Filter filter{cell("workflow"), cell("status"), cell("after"), cell("before"),
                cell("error"),    cell("with"),   cell("tenant")};
  for (const Cell& value : {filter.workflow, filter.status, filter.error})
    if (value == "!") throw Refusal(422, "usage", "\"!\" stands before what is not wanted");
  if (filter.context && filter.context->starts_with('!'))
    throw Refusal(422, "usage", "the input can be asked for, not against");
  return filter;
}

std::string list_executions(Database& database, const Filter& filter, Cell from) {
  auto connection = database.take();
  Page page;
  page.last = from;
  if (has_negation(filter)) {
    page = walk(*connection, filter, from, Way::search);
  } else {
    try {
      Cell after = from;
      page.add(read_stride(*connection, filter, {page_rows + 1, Way::search, search_timeout}, &after));
    } catch (const Refusal& refusal) {
      if (refusal.kind != "timeout" || filter.context || !connection->is_usable()) throw;
      page = walk(*connection, filter, from, Way::walk);
    }
  }
  const bool goes_on = page.is_full || !page.has_ended;
  return "{\"executions\":" + json_rows(page.table) +
         ",\"next\":" + (goes_on && page.last ? json_text(*page.last) : "null") +
         ",\"searched\":" + (goes_on && !page.is_full ? "true" : "false") + "}";
}

std::vector<FoundExecution> find_executions(Database& database, const Filter& filter, std::size_t most, bool* all) {
  auto connection = database.take();
  std::vector<FoundExecution> found;
  Cell from;
  *all = false;
  const auto until = std::chrono::steady_clock::now() + bulk_timeout;
  while (found.size() < most && std::chrono::steady_clock::now() < until) {
    const Stride read = read_stride(*connection, filter, {stride, Way::search, bulk_timeout}, &from);
    for (const auto& row : read.table.rows)
      if (row.back() == "t" && found.size() < most) found.push_back({*row[0], row[1].value_or("")});
    if (read.is_last) {
      *all = found.size() < most;
      break;
    }
  }
  std::reverse(found.begin(), found.end());
  return found;
}

std::vector<FoundExecution> find_among(Database& database, const Filter& filter, const std::set<std::uint64_t>& ids,
                                       bool* all) {
  auto connection = database.take();
  std::vector<FoundExecution> found;
  auto next = ids.rbegin();  // the highest first, as they come
  const auto until = std::chrono::steady_clock::now() + bulk_timeout;
  while (next != ids.rend() && std::chrono::steady_clock::now() < until) {
    std::string some;
    for (std::size_t i = 0; i < ids_of_a_look && next != ids.rend(); ++i, ++next)
      some += (some.empty() ? "{" : ",") + std::to_string(*next);
    Cell last;
    const Stride read = read_stride(*connection, filter, {ids_of_a_look, Way::search, bulk_timeout, some + "}"}, &last);
    if (read.table.is_cut && !last)
      throw Refusal(422, "refused", "an execution is larger than this page may show", "",
                    "insula dashboard --megabytes allows more.");
    // What did not fit into the answer comes with the next look.
    if (read.table.is_cut) next = std::make_reverse_iterator(ids.find(std::stoull(*last)));
    for (const auto& row : read.table.rows)
      if (row.back() == "t") found.push_back({*row[0], row[1].value_or("")});
  }
  *all = next == ids.rend();
  std::reverse(found.begin(), found.end());
  return found;
}

std::string show_view(Database& database, const std::string& name, const Ask& ask) {
  if (name == "executions") {
    const std::string from = ask("from");
    return list_executions(database, filter_of(ask), cell_of(from));
  }
  const auto& all = views();
  const auto view = std::find_if(all.begin(), all.end(), [&](const View& one) { return one.name == name; });
  if (view == all.end()) throw Refusal(404, "missing", "there is no such view");
  if (view->is_for_admins && !database.identity().is_admin)
    throw Refusal(403, "refused", "this is for administrators of all tenants");
  if (name == "usage" && database.identity().is_admin && ask("tenant").empty())
    throw Refusal(422, "usage", "what was used is counted for one tenant");
  auto connection = database.take();
  std::string out = "{";
  for (const Part& part : view->parts) out += (out.size() > 1 ? "," : "") + show_part(*connection, part, ask);
  return out + "}";
}

}  // namespace insula::cli::dashboard
