// Parses a task's options, and the workflow's limit.
#include "definition/reader.hpp"

namespace insula {

namespace {

constexpr int max_patterns = 100;
constexpr int most_lapses = 100;

void read_count(Reader &reader, const char *path, const JsonbValue &value, int least, int most, std::int32_t *count) {
  std::int64_t number;
  if (read_integer(reader, path, value, least, most, &number)) *count = static_cast<std::int32_t>(number);
}

void read_backoff(Reader &reader, const char *path, const JsonbValue &value, TaskOptions &options) {
  const char *name = value.type == jbvString ? string_of(value) : "";
  if (strcmp(name, "fixed") == 0)
    options.retry.backoff = core::Backoff::fixed;
  else if (strcmp(name, "linear") == 0)
    options.retry.backoff = core::Backoff::linear;
  else if (strcmp(name, "exponential") == 0)
    options.retry.backoff = core::Backoff::exponential;
  else
    problem(reader, "%s: must be \"fixed\", \"linear\" or \"exponential\"", path);
}

void read_patterns(Reader &reader, const char *path, const JsonbValue &value, TaskOptions &options) {
  const int count = static_cast<int>(JsonContainerSize(value.val.binary.data));
  if (count == 0 || count > max_patterns) {
    problem(reader, "%s: must have 1 to %d texts", path, max_patterns);
    return;
  }
  auto *patterns = palloc_array_of<std::string_view>(static_cast<std::size_t>(count));
  for_each_element(value, [&](int place, const JsonbValue &element) {
    if (element.type == jbvString && element.val.string.len > 0)
      patterns[place] = {string_of(element), static_cast<std::size_t>(element.val.string.len)};
    else
      problem(reader, "%s[%d]: must be a text", path, place);
  });
  options.retry.condition = core::RetryCondition::matching;
  options.patterns = {patterns, static_cast<std::size_t>(count)};
}

void read_condition(Reader &reader, const char *path, const JsonbValue &value, TaskOptions &options) {
  if (is_array(value)) return read_patterns(reader, path, value, options);
  const char *name = value.type == jbvString ? string_of(value) : "";
  if (strcmp(name, "all") == 0)
    options.retry.condition = core::RetryCondition::all;
  else if (strcmp(name, "never") == 0)
    options.retry.condition = core::RetryCondition::never;
  else if (strcmp(name, "transient") == 0)
    options.retry.condition = core::RetryCondition::transient;
  else
    problem(reader, "%s: must be \"all\", \"never\", \"transient\" or an array of texts", path);
}

void read_retry(Reader &reader, std::int32_t task, const JsonbValue &value, TaskOptions &options) {
  if (!is_object(value)) return problem(reader, "$.tasks[%d].retry: must be an object", task);
  for_each_member(value, [&](const JsonbValue &key, const JsonbValue &member) {
    const char *path = psprintf("$.tasks[%d].retry.%s", task, string_of(key));
    if (key_is(key, "max_attempts"))
      read_count(reader, path, member, 1, 1000000, &options.retry.max_attempts);
    else if (key_is(key, "max_lapses"))
      read_count(reader, path, member, 0, most_lapses, &options.retry.max_lapses);
    else if (key_is(key, "backoff"))
      read_backoff(reader, path, member, options);
    else if (key_is(key, "initial_delay"))
      (void)read_duration(reader, path, member, &options.retry.initial_delay_us);
    else if (key_is(key, "max_delay"))
      (void)read_duration(reader, path, member, &options.retry.max_delay_us);
    else if (key_is(key, "jitter") && member.type == jbvBool)
      options.retry.jitter = member.val.boolean;
    else if (key_is(key, "jitter"))
      problem(reader, "%s: must be true or false", path);
    else if (key_is(key, "condition"))
      read_condition(reader, path, member, options);
    else
      problem(reader, "%s: unknown key", path);
  });
}

void read_for_each(Reader &reader, std::int32_t task, const JsonbValue &value, TaskOptions &options) {
  const char *path = psprintf("$.tasks[%d].for_each", task);
  if (!is_object(value)) return problem(reader, "%s: must be an object", path);
  auto *for_each = static_cast<ForEach *>(palloc0(sizeof(ForEach)));
  for_each->as = "item";
  bool has_items = false;
  for_each_member(value, [&](const JsonbValue &key, const JsonbValue &member) {
    if (key_is(key, "items")) {
      has_items = true;
      if (member.type != jbvString || !parse_path(string_of(member), &for_each->items))
        problem(reader, "%s.items: must be a key of the context, or a path like $.a.b[0]", path);
    } else if (key_is(key, "as")) {
      for_each->as = member.type == jbvString ? string_of(member) : "";
      if (for_each->as[0] == '\0') problem(reader, "%s.as: must be a key for the context", path);
    } else if (key_is(key, "allow_failures")) {
      if (member.type != jbvBool) problem(reader, "%s.allow_failures: must be true or false", path);
      for_each->allow_failures = member.type == jbvBool && member.val.boolean;
    } else {
      problem(reader, "%s.%s: unknown key", path, string_of(key));
    }
  });
  if (!has_items) problem(reader, "%s.items: is missing", path);
  options.for_each = for_each;
  reader.parsed.has_groups = true;
}

}  // namespace

void read_limit(Reader &reader, const JsonbValue &value) {
  Limit &limit = reader.parsed.limit;
  if (!is_object(value)) return problem(reader, "$.limit: must be an object");
  bool has_max = false;
  for_each_member(value, [&](const JsonbValue &key, const JsonbValue &member) {
    if (key_is(key, "max")) {
      std::int64_t max;
      has_max = true;
      if (read_integer(reader, "$.limit.max", member, 1, 1000000, &max)) limit.max = static_cast<std::int32_t>(max);
    } else if (key_is(key, "key")) {
      limit.has_key = member.type == jbvString && parse_path(string_of(member), &limit.key);
      if (!limit.has_key) problem(reader, "$.limit.key: must be a key of the input, or a path like $.a.b[0]");
    } else {
      problem(reader, "$.limit.%s: unknown key", string_of(key));
    }
  });
  if (!has_max) problem(reader, "$.limit.max: is missing");
}

bool read_task_option(Reader &reader, std::int32_t task, const JsonbValue &key, const JsonbValue &value) {
  TaskOptions &options = reader.parsed.options[task];
  if (key_is(key, "retry")) {
    read_retry(reader, task, value, options);
  } else if (key_is(key, "priority")) {
    std::int64_t priority;
    if (read_integer(reader, psprintf("$.tasks[%d].priority", task), value, -max_priority, max_priority, &priority))
      options.priority = static_cast<std::int32_t>(priority);
  } else if (key_is(key, "timeout")) {
    const char *path = psprintf("$.tasks[%d].timeout", task);
    if (read_duration(reader, path, value, &options.timeout_us) && options.timeout_us < USECS_PER_SEC / 1000)
      problem(reader, "%s: must be a millisecond or more", path);
  } else if (key_is(key, "trigger_rule")) {
    read_trigger_rule(reader, task, value);
  } else if (key_is(key, "for_each")) {
    read_for_each(reader, task, value, options);
  } else if (key_is(key, "on_failure")) {
    if (value.type != jbvBool) problem(reader, "$.tasks[%d].on_failure: must be true or false", task);
    options.on_failure = value.type == jbvBool && value.val.boolean;
  } else {
    return false;
  }
  return true;
}

}  // namespace insula
