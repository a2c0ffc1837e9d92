// insula tenant ...
#include <insula/insula.hpp>

#include <iostream>
#include <nlohmann/json.hpp>

#include "program.hpp"

namespace insula::cli {

namespace {

// The password is shown once, here.
void show_credentials(Program& program, const TenantCredentials& credentials) {
  Table table;
  for (const char* name : {"tenant", "schema_name", "username", "password", "connection_string"})
    table.columns.push_back({name, 25});
  const auto cell = [](const std::string& text) { return text.empty() ? Cell{} : Cell{text}; };
  table.rows = {{cell(credentials.tenant), cell(credentials.schema_name), cell(credentials.username),
                 cell(credentials.password), cell(credentials.connection_string)}};
  program.show_record(table);
}

struct NewTenant {
  std::string name, schema, user;
  bool no_login = false, if_missing = false;
};

int create(Program& program, const NewTenant& wanted) {
  program.confirm("Make tenant " + wanted.name + "?");
  if (wanted.no_login || wanted.if_missing) {
    const auto null_if_empty = [](const std::string& text) { return text.empty() ? Cell{} : Cell{text}; };
    program.show_record(
        program.query("SELECT tenant, schema_name, username, password, connection_string FROM insula.create_tenant($1, "
                      "$2, $3, login => "
                      "$4::boolean, if_not_exists => $5::boolean)",
                      {wanted.name, null_if_empty(wanted.schema), null_if_empty(wanted.user),
                       wanted.no_login ? "false" : "true", wanted.if_missing ? "true" : "false"}));
    return 0;
  }
  // The client sends a verifier: the password reaches no log of the server.
  DatabaseAdmin admin{program.conninfo()};
  TenantConfig config;
  config.tenant = wanted.name;
  config.schema_name = wanted.schema.empty() ? "tenant_" + wanted.name : wanted.schema;
  config.username = wanted.user;
  show_credentials(program, admin.create_tenant(config));
  return 0;
}

void add_create(CLI::App& group, Program& program) {
  auto wanted = std::make_shared<NewTenant>();
  CLI::App* command = add_command(group, program, "create", "Make a tenant; shows its password once",
                                  [&program, wanted] { return create(program, *wanted); });
  command->add_option("name", wanted->name, "3 to 30 characters of [a-z0-9_]")->required();
  command->add_option("--schema", wanted->schema, "Its schema; else tenant_NAME");
  command->add_option("--user", wanted->user, "Its login; else NAME_user");
  command->add_flag("--no-login", wanted->no_login, "Without a login of its own");
  command->add_flag("--if-not-exists", wanted->if_missing, "All is well if it is there; the password is the server's");
}

void add_drop(CLI::App& group, Program& program) {
  auto name = std::make_shared<std::string>();
  auto drain = std::make_shared<std::string>("30 s");
  auto force = std::make_shared<bool>(false);
  CLI::App* command = add_command(group, program, "drop", "Remove a tenant with all its data", [=, &program] {
    program.confirm("Drop tenant " + *name + " with all its data?", true);
    program.query("SELECT insula.drop_tenant($1, $2::interval, $3::boolean)",
                  {*name, *drain, *force ? "true" : "false"});
    program.done("dropped", {{"tenant", *name}, truth("dropped", true)});
    return 0;
  });
  command->add_option("name", *name, "The tenant")->required();
  command->add_option("--drain", *drain, "How long to wait for tasks that run; 30 s");
  command->add_flag("--force", *force, "With what others have made in its schema, or of it");
}

// Brings a tenant to a status.
void add_verb(CLI::App& group, Program& program, const char* verb, const char* help, const char* sql,
              const char* status, const char* done) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = add_command(group, program, verb, help, [=, &program] {
    program.confirm(std::string(verb) + " tenant " + *name + "?");
    const Table before = program.query("SELECT status FROM insula.tenants WHERE tenant = $1", {*name});
    program.query(sql, {*name});
    const bool changed = before.value() != status;
    const std::vector<Field> fields{{"tenant", *name}, {"status", status}, truth("changed", changed)};
    if (changed)
      program.done(done, fields);
    else
      program.done_already("tenant \"" + *name + "\" is " + status + " already", fields);
    return 0;
  });
  command->add_option("name", *name, "The tenant")->required();
}

void add_limits(CLI::App& group, Program& program) {
  struct Limit {
    const char *option, *parameter, *help;
    Cell value = {};
  };
  auto name = std::make_shared<std::string>();
  auto limits = std::make_shared<std::vector<Limit>>(
      std::vector<Limit>{{"--max-running", "max_running", "Tasks that run at the same time"},
                         {"--max-queued", "max_queued", "Tasks that wait or run"},
                         {"--max-connections", "max_connections", "Sessions of its login"},
                         {"--weight", "weight", "Its share of the workers of all tenants, 1 to 1000"},
                         {"--rate", "rate_per_second", "Task starts a second"},
                         {"--retain", "retain", "How long finished executions are kept, as '30 days', or forever"},
                         {"--retain-count", "retain_count", "How many finished executions are kept"}});
  CLI::App* command =
      add_command(group, program, "limits", "Show the limits, or set some; -1 lifts one", [=, &program] {
        std::string sql = "SELECT insula.set_tenant_limits($1";
        std::vector<Cell> parameters{*name};
        for (const Limit& limit : *limits) {
          if (!limit.value) continue;
          const bool for_ever = limit.value == "-1" || limit.value == "forever";
          parameters.push_back(for_ever && std::string_view(limit.parameter) == "retain" ? "-1 s" : limit.value);
          sql += std::string(", ") + limit.parameter + " => $" + std::to_string(parameters.size());
        }
        if (parameters.size() > 1) {
          program.confirm("Set limits of tenant " + *name + "?");
          program.query(sql + ")", parameters);
        }
        const Table table = program.query(
            "SELECT max_running, max_queued, max_connections, weight, rate_per_second, retain, retain_count FROM "
            "insula.tenants WHERE tenant = $1",
            {*name});
        if (table.rows.empty()) throw Failure(Exit::not_found, "tenant \"" + *name + "\" does not exist");
        program.show_record(table);
        return 0;
      });
  command->add_option("name", *name, "The tenant")->required();
  for (Limit& limit : *limits) command->add_option(limit.option, limit.value, limit.help);
}

void add_retention(CLI::App& group, Program& program) {
  auto name = std::make_shared<std::string>();
  auto workflow = std::make_shared<Cell>();
  auto status = std::make_shared<Cell>();
  auto keep = std::make_shared<Cell>();
  auto forget = std::make_shared<bool>(false);
  CLI::App* command = add_command(
      group, program, "retention", "Show for how long executions are kept, or set it for some", [=, &program] {
        if (*keep || *forget) {
          program.confirm("Change the retention of tenant " + *name + "?");
          const Cell retain = *forget ? Cell{} : *keep == "forever" ? Cell{"-1 s"} : *keep;
          program.query("SELECT insula.set_retention($1, $2::interval, $3, $4)", {*name, retain, *workflow, *status});
        }
        const Table table = program.query(
            "SELECT coalesce(r.workflow, 'any') AS workflow, coalesce(r.status, 'any') AS status, CASE WHEN r.own AND "
            "r.retain IS NULL THEN 'for ever' ELSE r.retain::text END AS retain, r.retain_count AS most FROM (SELECT "
            "workflow, status, retain, NULL::bigint AS retain_count, true AS own, tenant FROM insula.retention UNION "
            "ALL SELECT NULL, NULL, retain, retain_count, false, tenant FROM insula.tenants) r WHERE r.tenant = $1 "
            "ORDER BY r.workflow NULLS LAST, r.status NULLS LAST",
            {*name});
        if (table.rows.empty()) throw Failure(Exit::not_found, "tenant \"" + *name + "\" does not exist");
        program.show(table);
        return 0;
      });
  command->add_option("name", *name, "The tenant")->required();
  command->add_option("-w,--workflow", *workflow, "Of this workflow");
  command->add_option("-s,--status", *status, "completed, failed or cancelled");
  CLI::Option* kept = command->add_option("--keep", *keep, "For how long, as '90 days', or forever");
  command->add_flag("--forget", *forget, "Take the rule away")->excludes(kept);
}

// What several calls have erased.
struct Erased {
  std::vector<std::int64_t> sums = std::vector<std::int64_t>(5);
  Cell example;
  std::string receipts;
};

Table table_of(const Erased& erased) {
  Table table;
  for (const char* name : {"executions", "tasks", "open", "parents", "schedules"}) table.columns.push_back({name, 20});
  table.columns.push_back({"open_example", 20});
  table.columns.push_back({"receipts", 25});
  auto& row = table.rows.emplace_back();
  for (const std::int64_t sum : erased.sums) row.push_back(std::to_string(sum));
  row.push_back(erased.example);
  row.push_back(erased.receipts);
  return table;
}

// Call after call, until nothing is left; each commits, and has a receipt of its own.  A dry run has none.
void erase_all(Program& program, const std::vector<Cell>& what, bool dry_run, Erased* erased) {
  Cell after;
  do {
    std::vector<Cell> parameters = what;
    parameters.push_back(after);
    parameters.push_back(dry_run ? "true" : "false");
    const Table said = program.query(
        "SELECT executions, tasks, open, parents, schedules, open_example, receipt, next FROM insula.erase($1, "
        "$2::jsonpath, $3::jsonb, $4::bigint, dry_run => $5::boolean)",
        parameters);
    const auto& row = said.rows.front();
    for (std::size_t i = 0; i < erased->sums.size(); ++i) erased->sums[i] += std::stoll(row[i].value_or("0"));
    if (row[5]) erased->example = row[5];
    if (row[6]) erased->receipts += (erased->receipts.empty() ? "" : ", ") + *row[6];
    after = row[7];
  } while (after);
}

void add_erase(CLI::App& group, Program& program) {
  auto name = std::make_shared<std::string>();
  auto path = std::make_shared<std::string>();
  auto value = std::make_shared<std::string>();
  auto dry_run = std::make_shared<bool>(false);
  CLI::App* command =
      add_command(group, program, "erase", "Empty all ended executions whose contexts hold a value", [=, &program] {
        if (!*dry_run)
          program.confirm("Empty the executions of tenant " + *name + " with this value? It cannot be undone.", true);
        std::string given = *value;
        if (given == "-") std::getline(std::cin, given);
        if (!nlohmann::json::accept(given))
          throw Failure(Exit::usage, "the value is not JSON",
                        "HINT:  A text is in quotes of its own, as '\"Acme\"'; a number is not.\n");
        Erased erased;
        try {
          erase_all(program, {*name, *path, given}, *dry_run, &erased);
        } catch (const Failure&) {
          if (!erased.receipts.empty()) program.show_record(table_of(erased));
          throw;
        }
        program.show_record(table_of(erased));
        return erased.sums[2] == 0 ? 0 : 1;
      });
  command->add_option("name", *name, "The tenant")->required();
  command->add_option("path", *path, "SQL/JSON, as '$.customer.email' or '$.**.email'")->required();
  command->add_option("value", *value, "JSON: a text in quotes, a number; - reads it from standard input")->required();
  command->add_flag("--dry-run", *dry_run, "Only count what would be emptied");
  command->footer("Exit code 1: some match and have not ended; cancel these, and erase again.");
}

void add_usage(CLI::App& group, Program& program) {
  auto name = std::make_shared<Cell>();
  auto since = std::make_shared<Cell>();
  auto until = std::make_shared<Cell>();
  CLI::App* command = add_command(group, program, "usage", "What each workflow has done, for bills", [=, &program] {
    program.show(
        std::string("SELECT ") + (*name ? "" : "tenant_name AS tenant, ") +
            "workflow, sum(executions_started)::bigint AS started, sum(executions_completed)::bigint AS completed, "
            "sum(executions_failed)::bigint AS failed, sum(executions_cancelled)::bigint AS cancelled, "
            "sum(tasks_run)::bigint AS runs, sum(seconds_run) AS seconds, sum(context_bytes)::bigint AS bytes FROM "
            "insula.usage($1, coalesce($2::timestamptz, date_trunc('month', now(), 'UTC')), coalesce($3::timestamptz, "
            "now())) GROUP BY tenant_name, workflow ORDER BY tenant_name, workflow",
        {*name ? *name : program.tenant, *since, *until});
    return 0;
  });
  command->add_option("name", *name, "The tenant; else that to act for, or all");
  command->add_option("--since", *since, "From the hour of this time on; else the month that is, in UTC");
  command->add_option("--until", *until, "Hours that begin before this time; else now");
}

void add_explain(CLI::App& group, Program& program) {
  auto name = std::make_shared<std::string>();
  CLI::App* command = add_command(group, program, "explain", "How it fares, and what holds it back", [=, &program] {
    program.show("SELECT question, item, value, says FROM insula.explain_tenant($1)", {*name});
    return 0;
  });
  command->add_option("name", *name, "The tenant")->required();
}

}  // namespace

void add_tenant_commands(CLI::App& app, Program& program) {
  CLI::App* group = app.add_subcommand("tenant", "Make, look at, limit, suspend and drop tenants");
  group->require_subcommand(1);
  add_create(*group, program);
  add_command(*group, program, "list", "All tenants and their queues", [&program] {
    program.show(
        "SELECT t.tenant, t.status, a.ready, a.running, a.delayed, a.waiting, a.paused, now() - a.oldest_ready_at AS "
        "oldest, t.weight, t.max_running, t.max_queued, t.error FROM insula.tenants t LEFT JOIN insula.tenant_activity "
        "a "
        "USING (tenant) ORDER BY t.tenant");
    return 0;
  });
  auto name = std::make_shared<std::string>();
  CLI::App* show = add_command(*group, program, "show", "One tenant", [=, &program] {
    const Table table = program.query(
        "SELECT t.*, a.ready, a.delayed, a.running, a.waiting, a.paused, a.oldest_ready_at, a.sessions FROM "
        "insula.tenants t LEFT JOIN insula.tenant_activity a USING (tenant) WHERE t.tenant = $1",
        {*name});
    if (table.rows.empty()) throw Failure(Exit::not_found, "tenant \"" + *name + "\" does not exist");
    program.show_record(table);
    return 0;
  });
  show->add_option("name", *name, "The tenant")->required();
  add_limits(*group, program);
  add_retention(*group, program);
  add_erase(*group, program);
  add_usage(*group, program);
  add_explain(*group, program);
  add_verb(*group, program, "suspend", "No log-ins, submissions and claims", "SELECT insula.suspend_tenant($1)",
           "suspended", "suspended");
  add_verb(*group, program, "resume", "Undo suspend", "SELECT insula.resume_tenant($1)", "active", "resumed");
  auto whose = std::make_shared<std::string>();
  CLI::App* rotate = add_command(*group, program, "rotate", "Give it a new password, shown once", [=, &program] {
    program.confirm("Give tenant " + *whose + " a new password?");
    show_credentials(program, DatabaseAdmin{program.conninfo()}.rotate_password(*whose));
    return 0;
  });
  rotate->add_option("name", *whose, "The tenant")->required();
  add_transfer_commands(*group, program);
  add_drop(*group, program);
}

}  // namespace insula::cli
