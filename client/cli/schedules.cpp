// insula schedule ...
#include "program.hpp"

namespace insula::cli {

namespace {

struct NewSchedule {
  std::string name, workflow, cron, timezone = "UTC", context = "{}", catch_up = "skip", overlap = "allow";
  Cell jitter, starts_at, ends_at, max_catch_up;
};

void add_add(CLI::App& group, Program& program) {
  auto wanted = std::make_shared<NewSchedule>();
  CLI::App* command = add_command(group, program, "add", "Make a schedule, or give it a new meaning", [=, &program] {
    program.confirm("Set schedule " + wanted->name + "?");
    program.query(
        "SELECT insula.schedule($1, $2, $3, $4, $5::jsonb, $6, overlap => $7, jitter => $8::interval, tenant => $9, "
        "starts_at => $10::timestamptz, ends_at => $11::timestamptz, max_catch_up => coalesce($12::integer, 100))",
        {wanted->name, wanted->workflow, wanted->cron, wanted->timezone, wanted->context, wanted->catch_up,
         wanted->overlap, wanted->jitter, program.tenant, wanted->starts_at, wanted->ends_at, wanted->max_catch_up});
    program.show(
        "SELECT fire FROM insula.next_fires($1, $2, 3, greatest(now(), $3::timestamptz - interval '1 us')) AS fire "
        "WHERE fire <= $4::timestamptz IS NOT FALSE",
        {wanted->cron, wanted->timezone, wanted->starts_at, wanted->ends_at});
    return 0;
  });
  command->add_option("name", wanted->name, "Its name")->required();
  command->add_option("workflow", wanted->workflow, "What it submits")->required();
  command->add_option("cron", wanted->cron, "As '0 3 * * *', or @daily")->required();
  command->add_option("--timezone", wanted->timezone, "As Europe/Berlin; UTC");
  command->add_option("--input", wanted->context, "JSON");
  command->add_option("--catch-up", wanted->catch_up, "Of missed fires: skip, run_once or run_all");
  command->add_option("--overlap", wanted->overlap, "With a run that goes on: allow, skip, queue or cancel");
  command->add_option("--max-catch-up", wanted->max_catch_up, "Missed or queued fires that are made at most; 100");
  command->add_option("--starts-at", wanted->starts_at, "No fire before this time");
  command->add_option("--ends-at", wanted->ends_at, "No fire after this time");
  command->add_option("--jitter", wanted->jitter, "Each fire is up to this much later");
}

// A verb that changes no schedule finds it so already, or finds none.
enum class Unchanged { already, missing };

void add_verb(CLI::App& group, Program& program, const char* name, const char* function, const char* help,
              Unchanged unchanged) {
  auto schedule = std::make_shared<std::string>();
  CLI::App* command = add_command(group, program, name, help, [=, &program] {
    program.confirm(std::string(name) + " schedule " + *schedule + "?");
    const Table done =
        program.query(std::string("SELECT insula.") + function + "($1, $2)", {*schedule, program.tenant});
    const bool changed = done.value() == "t";
    const std::vector<Field> fields{{"schedule", *schedule}, truth("changed", changed)};
    const std::string which = "schedule \"" + *schedule + "\"";
    if (!changed && unchanged == Unchanged::missing) throw Failure(Exit::not_found, which + " does not exist");
    if (changed)
      program.done("done", fields);
    else
      program.done_already(which + " was so already", fields);
    return 0;
  });
  command->add_option("name", *schedule, "The schedule")->required();
}

// Late by a second is no sign of trouble yet.
const std::string columns_of_schedule =
    "s.name, s.workflow, s.cron, s.timezone, s.status, s.next_fire_at, CASE WHEN s.next_fire_at >= now() THEN "
    "(s.next_fire_at - now())::text WHEN s.next_fire_at >= now() - interval '1 s' THEN 'now' ELSE 'overdue since ' || "
    "s.next_fire_at END AS \"in\", s.last_fire_at ";

// Lists those of the tenant to act for; where there is none, those of all.
int list(Program& program) {
  const bool all = !program.tenant && program.query(
                                                 "SELECT insula.current_tenant() IS NULL AND "
                                                 "has_table_privilege('insula.tenants', 'SELECT')")
                                              .value() == "t";
  if (all)
    program.show("SELECT t.tenant, " + columns_of_schedule +
                 "FROM insula.tenants t, insula.schedules(t.tenant, with_context => false) s ORDER BY t.tenant, s.name");
  else
    program.show("SELECT " + columns_of_schedule + "FROM insula.schedules($1, with_context => false) s", {program.tenant});
  return 0;
}

}  // namespace

void add_schedule_commands(CLI::App& app, Program& program) {
  CLI::App* group = app.add_subcommand("schedule", "What the clock submits");
  group->require_subcommand(1);
  add_command(*group, program, "list", "With the next and the last fire of each", [&program] { return list(program); });
  add_add(*group, program);
  add_verb(*group, program, "remove", "unschedule", "Remove it; what it has submitted stays", Unchanged::missing);
  add_verb(*group, program, "pause", "pause_schedule", "It fires no more", Unchanged::already);
  add_verb(*group, program, "resume", "resume_schedule", "Undo pause", Unchanged::already);
  auto cron = std::make_shared<std::string>();
  auto timezone = std::make_shared<std::string>("UTC");
  auto count = std::make_shared<std::string>("5");
  CLI::App* next = add_command(*group, program, "next", "When an expression fires", [=, &program] {
    program.show("SELECT fire, fire - now() AS \"in\" FROM insula.next_fires($1, $2, $3::integer) AS fire",
                 {*cron, *timezone, *count});
    return 0;
  });
  next->add_option("cron", *cron, "As '0 3 * * *'")->required();
  next->add_option("--timezone", *timezone, "As Europe/Berlin; UTC");
  next->add_option("-n", *count, "How many; 5");
}

}  // namespace insula::cli
