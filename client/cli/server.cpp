// insula init, doctor, worker, lease, metrics: the server, and what works on it.
#include <iostream>

#include "program.hpp"

namespace insula::cli {

namespace {

int init(Program& program) {
  program.confirm("Install the extension in this database?");
  const Table before = program.query("SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'insula'");
  if (before.rows.empty()) program.query("CREATE EXTENSION insula");
  program.say(before.rows.empty() ? "installed" : "it was there already, version " + before.value());
  program.show("SELECT item, value FROM insula.status()");
  return 0;
}

// One thing that the doctor has looked at.
struct Finding {
  const char* level;  // ok, advice, warning, error
  std::string what;
  std::string mend;
};

using Findings = std::vector<Finding>;

// What a query finds; each row is a level, a text and the command that mends it.
void look(Program& program, Findings* findings, const char* what, const char* sql) {
  try {
    for (const auto& row : program.query(sql).rows)
      findings->push_back({row[0] == "error"     ? "error"
                           : row[0] == "warning" ? "warning"
                           : row[0] == "ok"      ? "ok"
                                                 : "advice",
                           row[1].value_or(""), row[2].value_or("")});
  } catch (const Failure& failure) {
    if (failure.exit == Exit::no_connection || failure.exit == Exit::interrupted) throw;
    findings->push_back({"warning", std::string(what) + " could not be looked at: " + failure.what(), ""});
  }
}

constexpr struct {
  const char *what, *sql;
} questions[] = {
    {"the server", R"(
SELECT CASE WHEN current_setting('server_version_num')::int BETWEEN 150000 AND 199999 THEN 'ok' ELSE 'error' END,
  'PostgreSQL ' || current_setting('server_version'), 'use PostgreSQL 15 to 19')"},
    {"the extension", R"(
SELECT CASE WHEN e.extversion IS NULL THEN 'error' WHEN e.extversion <> a.default_version THEN 'warning' ELSE 'ok' END,
  'extension ' || coalesce(e.extversion, 'is not installed in this database'),
  CASE WHEN e.extversion IS NULL THEN 'insula init' ELSE 'ALTER EXTENSION insula UPDATE' END
FROM (SELECT default_version FROM pg_available_extensions WHERE name = 'insula') a
LEFT JOIN (SELECT extversion FROM pg_extension WHERE extname = 'insula') e ON true)"},
    {"the status", R"(
SELECT CASE WHEN item = 'adopted' AND value <> 'yes' THEN 'error'
    WHEN item = 'scheduler' AND value ~ '^(not running|off|stopped)' AND NOT pg_is_in_recovery() THEN 'warning'
    WHEN item = 'shared memory' AND value <> 'on' THEN 'warning' ELSE 'ok' END,
  item || ': ' || value,
  CASE WHEN item = 'adopted' THEN 'SELECT insula.adopt()'
    WHEN item = 'scheduler' AND value LIKE 'off%' THEN 'ALTER SYSTEM SET insula.scheduler = on; SELECT pg_reload_conf()'
    WHEN item = 'scheduler' AND value LIKE 'not running: raise %' THEN substr(value, 14)
    WHEN item = 'scheduler' THEN 'SELECT insula.start_scheduler()'
    ELSE 'shared_preload_libraries = ''insula'', and restart the server' END
FROM insula.status() WHERE item IN ('adopted', 'scheduler', 'shared memory'))"},
    {"the connection", R"(
SELECT CASE WHEN s.ssl OR a.client_addr IS NULL THEN 'ok' ELSE 'advice' END,
  CASE WHEN a.client_addr IS NULL THEN 'connected by a unix socket' WHEN s.ssl THEN 'connected with ' || s.version
    ELSE 'connected without TLS' END, 'sslmode=verify-full in the connection string'
FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE pid = pg_backend_pid())"},
    {"health", R"(
SELECT level, coalesce(tenant || ': ', '') || object || ': ' || finding,
  CASE WHEN object LIKE 'session %' THEN 'SELECT pg_terminate_backend(' || substr(object, 9) || ')'
    WHEN object LIKE 'prepared transaction %' THEN 'ROLLBACK PREPARED ' || substr(object, 22)
    WHEN object LIKE 'replication slot %' AND finding LIKE '%is not used%' THEN 'SELECT pg_drop_replication_slot(...)'
    WHEN object LIKE 'execution %' THEN 'SELECT * FROM insula.explain_execution(' || substr(object, 11) || ')' END
FROM insula.health() WHERE object <> 'scheduler')"},
    {"capacity",
     "SELECT 'warning', item || ': ' || used || ' of ' || available, advice FROM insula.capacity() WHERE "
     "advice IS NOT NULL"},
    {"rights",
     "SELECT level, coalesce(tenant || ': ', '') || object || ': ' || finding, 'SELECT * FROM "
     "insula.reconcile()' FROM insula.audit() WHERE level IN ('error', 'warning')"},
    {"what is open to every role",
     "SELECT 'advice', count(*) || ' rights that PostgreSQL leaves open to every role', "
     "'SELECT * FROM insula.harden()' FROM insula.harden() HAVING count(*) > 0"},
};

int doctor(Program& program) {
  Findings findings;
  (void)program.session();  // a server that cannot be reached is an error, not a finding
  for (const auto& question : questions) {
    look(program, &findings, question.what, question.sql);
    if (findings.size() == 2 && std::string_view(findings[1].level) == "error") break;  // no extension
  }
  Table table;
  for (const char* name : {"level", "finding", "mend"}) table.columns.push_back({name, 25});
  bool failed = false;
  for (const Finding& finding : findings) {
    failed = failed || std::string_view(finding.level) == "error";
    const bool is_ok = std::string_view(finding.level) == "ok";
    table.rows.push_back({finding.level, finding.what, is_ok || finding.mend.empty() ? Cell{} : Cell{finding.mend}});
  }
  program.show(table);
  return failed ? 1 : 0;
}

}  // namespace

void add_server_commands(CLI::App& app, Program& program) {
  add_command(app, program, "init", "Install the extension in the database", [&program] { return init(program); });
  add_command(app, program, "doctor", "Look for what is wrong, each with the command that mends it",
              [&program] { return doctor(program); });
  CLI::App* workers = app.add_subcommand("worker", "The workers of all tenants");
  workers->require_subcommand(1);
  add_command(*workers, program, "list", "What each holds and does", [&program] {
    program.show(
        "SELECT worker, CASE WHEN status = 'unknown' THEN tenant_name ELSE coalesce(tenant_name, '(all)') END AS "
        "tenant, role_name AS role, pid, status, now() - since AS "
        "\"for\", "
        "tasks, next_lease_expires - now() AS next_lease_ends_in FROM insula.workers()");
    return 0;
  });
  CLI::App* leases = app.add_subcommand("lease", "The tasks that run");
  leases->require_subcommand(1);
  add_command(*leases, program, "list", "Which worker has each, and until when", [&program] {
    program.show(
        "SELECT tenant_name AS tenant, execution_id, task_id, workflow, task, worker, attempt, now() - started_at AS "
        "running_for, lease_expires - now() AS lease_ends_in FROM insula.leases($1)",
        {program.tenant});
    return 0;
  });
  add_command(app, program, "metrics", "Counters for Prometheus", [&program] {
    std::cout << program.query("SELECT insula.metrics()").value();
    return 0;
  });
}

}  // namespace insula::cli
