// insula trigger ...
#include "program.hpp"

namespace insula::cli {

namespace {

struct NewTrigger {
  std::string name, workflow, context = "{}";
  bool allow_concurrent = false;
};

void add_trigger_add(CLI::App& group, Program& program) {
  auto wanted = std::make_shared<NewTrigger>();
  CLI::App* command = add_command(group, program, "add", "Let a trigger start a workflow", [=, &program] {
    program.confirm("Let trigger " + wanted->name + " start workflow " + wanted->workflow + "?");
    const Table is_new = program.query(
        "SELECT insula.create_trigger($1, $2, $3::jsonb, $4::boolean, $5)",
        {wanted->name, wanted->workflow, wanted->context, wanted->allow_concurrent ? "true" : "false", program.tenant});
    program.done(is_new.value() == "t" ? "added" : "set anew",
                 {{"trigger", wanted->name}, {"workflow", wanted->workflow}, truth("added", is_new.value() == "t")});
    return 0;
  });
  command->add_option("name", wanted->name, "Its name")->required();
  command->add_option("workflow", wanted->workflow, "What it starts")->required();
  command->add_option("--input", wanted->context, "JSON, over which a fire lays its payload");
  command->add_flag("--allow-concurrent", wanted->allow_concurrent,
                    "A fire starts an execution though that of the same fire still runs");
}

void add_remove(CLI::App& group, Program& program) {
  auto name = std::make_shared<std::string>();
  auto workflow = std::make_shared<Cell>();
  CLI::App* command = add_command(
      group, program, "remove", "It starts a workflow no more, or none; what it has started goes on", [=, &program] {
        program.confirm("Remove trigger " + *name + "?");
        const Table done = program.query("SELECT insula.drop_trigger($1, $2, $3)", {*name, *workflow, program.tenant});
        if (done.value() != "t")
          throw Failure(Exit::not_found, "trigger \"" + *name + "\" " +
                                             (*workflow ? "does not start workflow \"" + **workflow + "\""
                                                        : std::string("does not exist")));
        program.done("done", {{"trigger", *name}, {"workflow", *workflow}});
        return 0;
      });
  command->add_option("name", *name, "The trigger")->required();
  command->add_option("-w,--workflow", *workflow, "Only this workflow");
}

void add_fire(CLI::App& group, Program& program) {
  auto name = std::make_shared<std::string>();
  auto payload = std::make_shared<std::string>("{}");
  auto key = std::make_shared<Cell>();
  CLI::App* command = add_command(group, program, "fire", "Start its workflows", [=, &program] {
    program.confirm("Fire trigger " + *name + "?");
    program.show("SELECT workflow, execution_id, fresh FROM insula.fire_trigger($1, $2::jsonb, $3, $4)",
                 {*name, *payload, *key, program.tenant});
    return 0;
  });
  command->add_option("name", *name, "The trigger")->required();
  command->add_option("payload", *payload, "JSON; {}");
  command->add_option("--key", *key, "Fires with the same one are the same; else those with an equal payload");
}

}  // namespace

void add_trigger_commands(CLI::App& app, Program& program) {
  CLI::App* group = app.add_subcommand("trigger", "What the application starts by a name");
  group->require_subcommand(1);
  add_command(*group, program, "list", "Each with the workflows that it starts", [&program] {
    program.show(
        "SELECT name, workflow, context AS input, allow_concurrent FROM insula.triggers($1) ORDER BY name, workflow",
        {program.tenant});
    return 0;
  });
  add_trigger_add(*group, program);
  add_remove(*group, program);
  add_fire(*group, program);
}

}  // namespace insula::cli
