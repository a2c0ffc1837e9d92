// insula execution ..., and insula failures
#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "program.hpp"

namespace insula::cli {

namespace {

struct Filter {
  std::optional<std::string> workflow, status, after, before_time, error, context, before;
  std::string most = "50";
};

void add_list(CLI::App& group, Program& program) {
  auto filter = std::make_shared<Filter>();
  CLI::App* command = add_command(group, program, "list", "Executions, the newest first", [=, &program] {
    const Table page = program.query(
        "SELECT execution_id, tenant_name AS tenant, workflow_name AS workflow, execution_status AS status, "
        "created_at, "
        "coalesce(finished_at, now()) - started_at AS took, execution_error AS error FROM insula.executions($1, $2, "
        "$3::timestamptz, $4::timestamptz, $5, $6::jsonb, $7::bigint, $8::integer, $9)",
        {filter->workflow, filter->status, filter->after, filter->before_time, filter->error, filter->context,
         filter->before, filter->most, program.tenant});
    program.show(page);
    if (program.format == Format::table && std::to_string(page.rows.size()) == filter->most)
      std::cerr << "There may be more: --older-than-id " << page.rows.back().front().value_or("") << '\n';
    return 0;
  });
  command->add_option("-w,--workflow", filter->workflow, "Of this workflow");
  command->add_option("-s,--status", filter->status, "pending, running, paused, completed, failed or cancelled");
  command->add_option("--after", filter->after, "Submitted at this time or later");
  command->add_option("--before", filter->before_time, "Submitted earlier");
  command->add_option("-e,--error", filter->error, "Whose error holds this text");
  command->add_option("--with", filter->context, "Whose input holds this JSON, as '{\"customer\": 7}'");
  command->add_option("--older-than-id", filter->before, "The next page: the last id of this one");
  command->add_option("-n,--max", filter->most, "How many; 50");
}

void leave_out_if_empty(Table* table, std::string_view name) {
  const auto column = std::find_if(table->columns.begin(), table->columns.end(),
                                   [&](const Column& candidate) { return candidate.name == name; }) -
                      table->columns.begin();
  const auto has_value = [&](const std::vector<Cell>& row) {
    return row[static_cast<std::size_t>(column)].has_value();
  };
  if (std::any_of(table->rows.begin(), table->rows.end(), has_value)) return;
  table->columns.erase(table->columns.begin() + column);
  for (auto& row : table->rows) row.erase(row.begin() + column);
}

// Each task with the worker that has it, or had it last.
constexpr char tasks_of_execution[] =
    "SELECT t ->> 'task' AS task, t ->> 'status' AS status, t ->> 'attempt' AS attempt, w.worker, (t ->> "
    "'started_at')::timestamptz AS started_at, (t ->> 'finished_at')::timestamptz - (t ->> "
    "'started_at')::timestamptz AS took, round((t ->> 'progress')::numeric * 100) || '%' AS progress, t ->> 'note' "
    "AS note, t ->> 'error' AS error FROM insula.result($1::bigint) r, jsonb_array_elements(r.tasks) WITH ORDINALITY "
    "e(t, n) LEFT JOIN (SELECT DISTINCT ON (task) task, worker FROM insula.timeline($1::bigint) WHERE worker IS NOT "
    "NULL ORDER BY task, at DESC) w ON w.task = t ->> 'task' ORDER BY n";

int show(Program& program, const std::string& id) {
  program.require_own(id);
  if (program.format == Format::json) {
    std::cout << plain_json(program
                                .query("SELECT to_jsonb(r) || jsonb_build_object('tenant', s.tenant_name, 'input', "
                                       "s.input) FROM insula.result($1::bigint) r, insula.execution_source($1::bigint) "
                                       "s",
                                       {id})
                                .value())
              << '\n';
    return 0;
  }
  program.show_record(program.query(
      "SELECT r.execution_id, s.tenant_name AS tenant, r.workflow, r.version, r.status, r.error, r.created_at, "
      "r.started_at, r.finished_at, r.finished_at - r.started_at AS took, s.input, r.final_context FROM "
      "insula.result($1::bigint) r, insula.execution_source($1::bigint) s",
      {id}));
  if (program.format != Format::table) return 0;
  std::cout << '\n';
  Table tasks = program.query(tasks_of_execution, {id});
  for (const char* said : {"note", "progress", "worker"}) leave_out_if_empty(&tasks, said);
  program.show(tasks);
  return 0;
}

// Commands that show rows of one execution.
void add_look(CLI::App& group, Program& program, const char* name, const char* help, const char* sql) {
  auto id = std::make_shared<std::string>();
  CLI::App* command = add_command(group, program, name, help, [=, &program] {
    program.require_own(*id);
    program.show(sql, {*id});
    return 0;
  });
  command->add_option("id", *id, "The execution")->required();
}

struct Verb {
  const char *name, *help, *question;
  const char* bulk;        // the function for many
  const char* such_state;  // in which an execution is as the verb would make it; "": in any but an ended one
  bool has_reason = true;
  bool takes_id = true;
};

struct VerbArguments {
  std::optional<std::string> id, workflow, status, older_than, reason;
  bool dry_run = false;
};

int tell_count(const Program& program, const std::string& count) {
  program.done(count + (count == "1" ? " execution" : " executions"), {number("executions", count)});
  return 0;
}

int apply_to_many(Program& program, const Verb& verb, const VerbArguments& arguments) {
  if (arguments.workflow) require_workflow(program, *arguments.workflow);
  const std::string call = std::string("SELECT count(*) FROM insula.") + verb.bulk +
                           "($1, $2, older_than => $3::interval, tenant => $4, dry_run => ";
  const std::vector<Cell> parameters{arguments.workflow, arguments.status, arguments.older_than, program.tenant};
  const std::string count = program.query(call + "true)", parameters).value();
  if (arguments.dry_run || count == "0") return tell_count(program, count);
  program.confirm(verb.question + (" " + count) + (count == "1" ? " execution?" : " executions?"), true);
  auto with_reason = parameters;
  if (verb.has_reason) with_reason.push_back(arguments.reason);
  return tell_count(program,
                    program.query(call + (verb.has_reason ? "false, reason => $5)" : "false)"), with_reason).value());
}

// Tells why the server has changed nothing: the execution was so already, or the verb is not for its state.
int tell_unchanged(Program& program, const Verb& verb, const std::string& id) {
  const Table now = program.query(
      "SELECT status, status IN ('completed', 'failed', 'cancelled'), EXISTS (SELECT FROM insula.timeline($1::bigint) "
      "WHERE event = 'execution_scrubbed') FROM insula.result($1::bigint)",
      {id});
  const std::string status = now.value(), name = "execution " + id;
  const bool has_ended = now.value(1) == "t", is_retry = std::string_view(verb.name) == "retry";
  if (*verb.such_state ? status == verb.such_state : !has_ended) {
    program.done_already(name + " is " + status + " already", {number("execution_id", id), truth("changed", false)});
    return 0;
  }
  const std::string why = !is_retry               ? "it is " + status
                          : now.value(2) == "t"   ? "it was scrubbed"
                          : status == "completed" ? "it is completed"
                                                  : "no task of it failed, but its final context would be too large";
  throw Failure(Exit::failed, "cannot " + std::string(verb.name) + " " + name + ": " + why);
}

int apply(Program& program, const Verb& verb, const VerbArguments& arguments) {
  if (!arguments.id) return apply_to_many(program, verb, arguments);
  program.require_own(*arguments.id);
  program.confirm(verb.question + (" execution " + *arguments.id) + "?");
  const Table done =
      program.query(std::string("SELECT insula.") + verb.name + "($1::bigint, $2)", {arguments.id, arguments.reason});
  if (done.value() != "t") return tell_unchanged(program, verb, *arguments.id);
  program.done("done", {number("execution_id", *arguments.id), truth("changed", true)});
  return 0;
}

void add_verb(CLI::App& group, Program& program, const Verb& verb) {
  auto arguments = std::make_shared<VerbArguments>();
  CLI::App* command =
      add_command(group, program, verb.name, verb.help, [=, &program] { return apply(program, verb, *arguments); });
  if (verb.has_reason) command->add_option("--reason", arguments->reason, "For its history");
  CLI::Option* workflow = command->add_option("-w,--workflow", arguments->workflow, "All of this workflow");
  CLI::Option* status = command->add_option("-s,--status", arguments->status, "All with this status");
  CLI::Option* age = command->add_option("--older-than", arguments->older_than, "All that are older, as '1 hour'");
  CLI::Option* dry_run = command->add_flag("--dry-run", arguments->dry_run, "Only count them");
  if (verb.takes_id) {
    CLI::Option* id = command->add_option("id", arguments->id, "The execution");
    for (CLI::Option* option : {workflow, status, age, dry_run}) option->excludes(id);
  }
  const char* missing = verb.takes_id ? "an id, or a filter for many" : "a filter";
  command->preparse_callback([=](std::size_t count) {
    if (count == 0) throw CLI::RequiredError(missing);
  });
}

void add_scrub(CLI::App& group, Program& program) {
  auto id = std::make_shared<std::string>();
  CLI::App* command = add_command(group, program, "scrub", "Empty one that has ended; its row stays", [=, &program] {
    program.require_own(*id);
    program.confirm("Empty execution " + *id + "? It cannot be undone.", true);
    program.show_record(program.query("SELECT * FROM insula.scrub($1::bigint)", {*id}));
    return 0;
  });
  command->add_option("id", *id, "The execution")->required();
}

void add_send_event(CLI::App& group, Program& program) {
  struct Event {
    std::string id, name;
    Cell payload, key;
  };
  auto event = std::make_shared<Event>();
  CLI::App* command =
      add_command(group, program, "send-event", "Send it an event, for which a task waits or will", [=, &program] {
        program.require_own(event->id);
        program.confirm("Send event " + event->name + " to execution " + event->id + "?");
        const Table sent = program.query("SELECT insula.send_event($1::bigint, $2, $3::jsonb, $4)",
                                         {event->id, event->name, event->payload, event->key});
        if (sent.value() != "t") throw Failure(Exit::failed, "execution " + event->id + " has ended");
        program.done("sent", {number("execution_id", event->id), {"event", event->name}});
        return 0;
      });
  command->add_option("id", event->id, "The execution")->required();
  command->add_option("event", event->name, "The name of the event")->required();
  command->add_option("payload", event->payload, "JSON");
  command->add_option("--key", event->key, "Idempotency key: the first event with it counts");
}

}  // namespace

void add_execution_commands(CLI::App& app, Program& program) {
  CLI::App* group = app.add_subcommand("execution", "List, look at, explain, cancel, retry, pause, delete executions");
  group->require_subcommand(1);
  add_list(*group, program);
  auto id = std::make_shared<std::string>();
  CLI::App* shown =
      add_command(*group, program, "show", "One, with its tasks", [=, &program] { return show(program, *id); });
  shown->add_option("id", *id, "The execution")->required();
  add_look(*group, program, "events", "What happened, and what each task has changed",
           "SELECT at, task, event, attempt, worker, detail, changed FROM insula.timeline($1::bigint)");
  add_look(*group, program, "explain", "Why each task is where it is",
           "SELECT task, status, why FROM insula.explain_execution($1::bigint)");
  add_verb(*group, program,
           {"cancel", "Cancel one, or all that a filter fits", "Cancel", "cancel_executions", "cancelled"});
  add_verb(*group, program,
           {"retry", "Open one that failed or was cancelled again, or all", "Retry", "retry_executions", ""});
  add_verb(*group, program, {"pause", "No further task of it starts", "Pause", "pause_executions", "paused"});
  add_verb(*group, program, {"resume", "Undo pause", "Resume", "resume_executions", ""});
  add_verb(*group, program,
           {"delete", "Remove all that have ended and a filter fits", "Delete", "delete_executions", "", false, false});
  add_scrub(*group, program);
  add_send_event(*group, program);
  auto since = std::make_shared<std::string>("1 day");
  CLI::App* failures = add_command(app, program, "failures", "What fails, grouped by its error", [=, &program] {
    program.show(
        "SELECT tenant_name AS tenant, workflow, task, failed, retrying, last_at, example, error FROM "
        "insula.failures($1::interval, $2)",
        {*since, program.tenant});
    return 0;
  });
  failures->add_option("--since", *since, "How far back; 1 day");
}

}  // namespace insula::cli
