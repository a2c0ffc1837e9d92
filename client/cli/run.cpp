// insula run: submits an execution and follows it to its end.
#include <iostream>

#include "program.hpp"

namespace insula::cli {

namespace {

struct Run {
  std::string workflow, context = "{}", priority = "0";
  std::optional<std::string> key, at;
  bool no_follow = false;
};

// One line that is written over, on a terminal alone.
void draw(Program& program, const std::string& id) {
  const Table now = program.query(
      "SELECT r.status, count(*) FILTER (WHERE t ->> 'status' IN ('completed', 'failed', 'skipped', 'cancelled')), "
      "count(*), string_agg(concat_ws(' ', t ->> 'task', round((t ->> 'progress')::numeric * 100) || '%', t ->> "
      "'note'), ', ') FILTER (WHERE t ->> 'status' = 'running') FROM "
      "insula.result($1::bigint) r, "
      "jsonb_array_elements(r.tasks) t GROUP BY r.status",
      {id});
  if (now.rows.empty()) return;
  const auto& row = now.rows.front();
  std::string line = row[0].value_or("") + "  " + row[1].value_or("") + "/" + row[2].value_or("");
  if (row[3]) line += "  " + *row[3];
  const Terminal& screen = program.screen();
  std::cerr << "\r\033[K" << cut(plain(line), static_cast<std::size_t>(screen.width > 1 ? screen.width - 1 : 79))
            << std::flush;
}

int follow(Program& program, const std::string& id) {
  const bool draws = program.screen().is_terminal && program.format == Format::table;
  Table ended;
  try {
    do {
      if (draws) draw(program, id);
      ended = program.query("CALL insula.await($1::bigint, $2::interval)", {id, draws ? "1 s" : "1 h"});
    } while (ended.value().empty());
  } catch (const Failure& failure) {
    if (draws) std::cerr << "\r\033[K";
    const std::string hint = "HINT:  insula execution show " + id + "\n";
    if (failure.exit == Exit::interrupted) throw Failure(Exit::interrupted, "execution " + id + " goes on", hint);
    throw Failure(failure.exit, "execution " + id + " was submitted: " + failure.what(), failure.details + hint);
  }
  if (draws) std::cerr << "\r\033[K";
  const Table result = program.query(
      "SELECT execution_id, workflow, status, error, finished_at - started_at AS took, final_context FROM "
      "insula.result($1::bigint)",
      {id});
  program.show_record(result);
  return result.value(2) == "completed" ? 0 : 1;
}

std::string submit(Program& program, const Run& wanted) {
  try {
    return program
        .query("SELECT insula.submit($1, $2::jsonb, $3::integer, coalesce($4::timestamptz, now()), $5, $6)",
               {wanted.workflow, wanted.context, wanted.priority, wanted.at, wanted.key, program.tenant})
        .value();
  } catch (const Failure& failure) {
    if (failure.exit != Exit::no_connection || !program.has_session()) throw;
    throw Failure(failure.exit, failure.what() + std::string(", and the execution may have been submitted"),
                  "HINT:  --key makes it safe to run again.\n");
  }
}

}  // namespace

void add_run_command(CLI::App& app, Program& program) {
  auto wanted = std::make_shared<Run>();
  CLI::App* command = add_command(app, program, "run", "Submit an execution and follow it to its end", [=, &program] {
    program.confirm("Run workflow " + wanted->workflow + "?");
    const std::string id = submit(program, *wanted);
    if (!wanted->no_follow) {
      // At once, since the client may be killed.
      std::cerr << "execution " << id << std::endl;
      return follow(program, id);
    }
    std::cout << id << '\n';
    return 0;
  });
  command->add_option("workflow", wanted->workflow, "The workflow")->required();
  command->add_option("input", wanted->context, "JSON; {}");
  command->add_option("--priority", wanted->priority, "Higher first; 0");
  command->add_option("--at", wanted->at, "Not before this time");
  command->add_option("--key", wanted->key, "Idempotency key: the first submission with it counts");
  command->add_flag("--no-follow", wanted->no_follow, "Only print the id");
}

}  // namespace insula::cli
