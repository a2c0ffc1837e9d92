// Parses a trigger rule: a tree of all, any and none over conditions.  Task ids are looked up once
// all tasks are known.  The cache keeps all memory that is allocated here for as long as the
// definition, so paths, which only problems need, are freed at once.
#include "core/names.hpp"
#include "definition/reader.hpp"

namespace insula {

namespace {

constexpr int max_nodes = 10000;

struct RuleReader {
  Reader *reader;
  std::int32_t task;
  core::RuleNode *nodes;
  int count;
  int room;
  ContextCondition *conditions;
  int condition_count;
};

void read_node(RuleReader &rule, const char *path, const JsonbValue &value, int depth);

int add_node(RuleReader &rule, core::RuleKind kind) {
  if (rule.count == rule.room) {
    rule.room *= 2;
    rule.nodes = static_cast<core::RuleNode *>(
        repalloc(rule.nodes, sizeof(core::RuleNode) * static_cast<std::size_t>(rule.room)));
    rule.conditions = static_cast<ContextCondition *>(
        repalloc(rule.conditions, sizeof(ContextCondition) * static_cast<std::size_t>(rule.room)));
  }
  rule.nodes[rule.count] = {kind, rule.count + 1, -1};
  return rule.count++;
}

void read_children(RuleReader &rule, const char *path, core::RuleKind kind, const JsonbValue &list, int depth) {
  if (!is_array(list) || JsonContainerSize(list.val.binary.data) == 0)
    return problem(*rule.reader, "%s: must be an array of one condition or more", path);
  if (depth >= core::max_rule_depth) return problem(*rule.reader, "%s: is nested too deeply", path);
  const int node = add_node(rule, kind);
  for_each_element(list, [&](int place, const JsonbValue &element) {
    if (rule.count >= max_nodes) return;
    char *child = psprintf("%s[%d]", path, place);
    read_node(rule, child, element, depth + 1);
    pfree(child);
  });
  if (rule.count >= max_nodes) problem(*rule.reader, "%s: has more than %d conditions", path, max_nodes);
  rule.nodes[node].end = rule.count;
}

void read_task_condition(RuleReader &rule, const char *path, core::RuleKind kind, const JsonbValue &value) {
  if (value.type != jbvString) return problem(*rule.reader, "%s: must be a task's id", path);
  const int node = add_node(rule, kind);
  note_rule_subject(*rule.reader, rule.task, node, path, string_of(value));
}

void read_context_condition(RuleReader &rule, const char *path, const JsonbValue &value) {
  if (!is_object(value)) return problem(*rule.reader, "%s: must be an object with key, op and value", path);
  ContextCondition condition = {};
  bool has_key = false;
  bool has_op = false;
  bool has_value = false;
  for_each_member(value, [&](const JsonbValue &key, const JsonbValue &member) {
    char *place = psprintf("%s.%s", path, string_of(key));
    if (key_is(key, "key")) {
      has_key = member.type == jbvString && parse_path(string_of(member), &condition);
      if (!has_key) problem(*rule.reader, "%s: must be a key or a path like $.a.b[0]", place);
      has_key = true;
    } else if (key_is(key, "op")) {
      if (member.type != jbvString || !parse_comparison(string_of(member), &condition.comparison))
        problem(*rule.reader, "%s: there is no such comparison", place);
      has_op = true;
    } else if (key_is(key, "value")) {
      condition.value = copy_of(member);
      has_value = true;
    } else {
      problem(*rule.reader, "%s: unknown key", place);
    }
    pfree(place);
  });
  const bool wants_value = condition.comparison != Comparison::exists && condition.comparison != Comparison::not_exists;
  if (!has_key) problem(*rule.reader, "%s.key: is missing", path);
  if (!has_op) problem(*rule.reader, "%s.op: is missing", path);
  if (has_op && has_value != wants_value)
    problem(*rule.reader, wants_value ? "%s.value: is missing" : "%s.value: has no meaning with this op", path);
  const int node = add_node(rule, core::RuleKind::context_value);
  rule.nodes[node].subject = rule.condition_count;
  rule.conditions[rule.condition_count++] = condition;
}

void read_condition(RuleReader &rule, const char *path, const JsonbValue &key, const JsonbValue &value, int depth) {
  if (key_is(key, "all")) return read_children(rule, path, core::RuleKind::all, value, depth);
  if (key_is(key, "any")) return read_children(rule, path, core::RuleKind::any, value, depth);
  if (key_is(key, "none")) return read_children(rule, path, core::RuleKind::none, value, depth);
  if (key_is(key, "task_success")) return read_task_condition(rule, path, core::RuleKind::task_success, value);
  if (key_is(key, "task_failed")) return read_task_condition(rule, path, core::RuleKind::task_failed, value);
  if (key_is(key, "task_skipped")) return read_task_condition(rule, path, core::RuleKind::task_skipped, value);
  if (key_is(key, "context_value")) return read_context_condition(rule, path, value);
  problem(*rule.reader, "%s: there is no such condition", path);
}

void read_node(RuleReader &rule, const char *path, const JsonbValue &value, int depth) {
  if (value.type == jbvString && strcmp(string_of(value), "always") == 0) {
    add_node(rule, core::RuleKind::always);
    return;
  }
  if (!is_object(value) || JsonContainerSize(value.val.binary.data) != 1)
    return problem(*rule.reader, "%s: must be \"always\", or an object with one condition", path);
  for_each_member(value, [&](const JsonbValue &key, const JsonbValue &member) {
    char *place = psprintf("%s.%s", path, string_of(key));
    read_condition(rule, place, key, member, depth);
    pfree(place);
  });
}

}  // namespace

void read_trigger_rule(Reader &reader, std::int32_t task, const JsonbValue &value) {
  constexpr int first_room = 8;
  RuleReader rule = {&reader, task,       palloc_array_of<core::RuleNode>(first_room),
                     0,       first_room, palloc_array_of<ContextCondition>(first_room),
                     0};
  read_node(rule, psprintf("$.tasks[%d].trigger_rule", task), value, 0);
  TaskOptions &options = reader.parsed.options[task];
  options.rule = rule.nodes;
  options.rule_size = rule.count;
  options.conditions = rule.conditions;
  reader.parsed.has_rules = true;
}

}  // namespace insula
