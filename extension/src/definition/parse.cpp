// Parses a workflow definition.  Every problem is collected, so that one IS004 names them all.
#include <algorithm>

#include "context/merge_patch.hpp"
#include "core/names.hpp"
#include "definition/reader.hpp"
#include "errors.hpp"

extern "C" {
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
}

namespace insula {

namespace {

constexpr int max_problems = 100;

struct IdEntry {
  char id[NAMEDATALEN];
  std::int32_t position;
};

// The name, or nullptr after noting a problem.
const char *read_name(Reader &reader, const char *path, const JsonbValue &value) {
  if (value.type != jbvString) {
    problem(reader, "%s: must be a string", path);
    return nullptr;
  }
  const char *name = string_of(value);
  if (core::is_valid_name(name)) return name;
  problem(reader, "%s: \"%s\" is not a valid name, of up to 63 letters, digits, _ and -, with a letter or _ first",
          path, name);
  return nullptr;
}

void add_dependency(Reader &reader, std::int32_t task, int place, const char *id) {
  if (reader.dependency_count == reader.dependency_room) {
    reader.dependency_room *= 2;
    reader.dependencies = static_cast<Dependency *>(
        repalloc_huge(reader.dependencies, sizeof(Dependency) * static_cast<std::size_t>(reader.dependency_room)));
  }
  reader.dependencies[reader.dependency_count++] = {task, place, id};
}

void read_depends_on(Reader &reader, std::int32_t task, const JsonbValue &list) {
  if (!is_array(list)) {
    problem(reader, "$.tasks[%d].depends_on: must be an array of task ids", task);
    return;
  }
  JsonbIterator *elements = JsonbIteratorInit(list.val.binary.data);
  JsonbValue element;
  (void)JsonbIteratorNext(&elements, &element, true);
  for (int place = 0; JsonbIteratorNext(&elements, &element, true) == WJB_ELEM; ++place) {
    if (element.type == jbvString)
      add_dependency(reader, task, place, string_of(element));
    else
      problem(reader, "$.tasks[%d].depends_on[%d]: must be a string", task, place);
  }
}

void declare_task(Reader &reader, std::int32_t task, const char *id) {
  reader.parsed.ids[task] = id;
  char key[NAMEDATALEN] = {};
  strlcpy(key, id, NAMEDATALEN);
  bool found;
  auto *entry = static_cast<IdEntry *>(hash_search(reader.positions, key, HASH_ENTER, &found));
  if (found)
    problem(reader, "$.tasks[%d].id: \"%s\" is the id of $.tasks[%d] already", task, id, entry->position);
  else
    entry->position = task;
}

void read_task(Reader &reader, std::int32_t task, const JsonbValue &value) {
  if (!is_object(value)) {
    problem(reader, "$.tasks[%d]: must be an object", task);
    return;
  }
  bool has_id = false;
  JsonbIterator *members = JsonbIteratorInit(value.val.binary.data);
  JsonbValue key;
  JsonbValue member;
  (void)JsonbIteratorNext(&members, &key, true);
  while (JsonbIteratorNext(&members, &key, true) == WJB_KEY) {
    (void)JsonbIteratorNext(&members, &member, true);
    if (key_is(key, "id")) {
      has_id = true;
      const char *id = read_name(reader, psprintf("$.tasks[%d].id", task), member);
      if (id) declare_task(reader, task, id);
    } else if (key_is(key, "depends_on")) {
      read_depends_on(reader, task, member);
    } else if (!read_task_option(reader, task, key, member)) {
      problem(reader, "$.tasks[%d].%s: unknown key", task, string_of(key));
    }
  }
  if (!has_id) problem(reader, "$.tasks[%d].id: is missing", task);
}

void read_tasks(Reader &reader, const JsonbValue &value) {
  if (!is_array(value)) {
    problem(reader, "$.tasks: must be an array of tasks");
    return;
  }
  const int count = static_cast<int>(JsonContainerSize(value.val.binary.data));
  if (count == 0 || count > max_tasks) {
    problem(reader, "$.tasks: must have 1 to %d elements, has %d", max_tasks, count);
    return;
  }
  reader.parsed.tasks = count;
  reader.parsed.ids = static_cast<const char **>(palloc0(sizeof(char *) * static_cast<std::size_t>(count)));
  reader.parsed.options = palloc_array_of<TaskOptions>(static_cast<std::size_t>(count));
  std::fill(reader.parsed.options, reader.parsed.options + count, TaskOptions{});
  JsonbIterator *elements = JsonbIteratorInit(value.val.binary.data);
  JsonbValue element;
  (void)JsonbIteratorNext(&elements, &element, true);
  for (std::int32_t task = 0; JsonbIteratorNext(&elements, &element, true) == WJB_ELEM; ++task)
    read_task(reader, task, element);
}

void read_members(Reader &reader, Jsonb *definition) {
  bool has_name = false;
  bool has_tasks = false;
  JsonbIterator *members = JsonbIteratorInit(&definition->root);
  JsonbValue key;
  JsonbValue member;
  (void)JsonbIteratorNext(&members, &key, true);
  while (JsonbIteratorNext(&members, &key, true) == WJB_KEY) {
    (void)JsonbIteratorNext(&members, &member, true);
    if (key_is(key, "name")) {
      has_name = true;
      reader.parsed.name = read_name(reader, "$.name", member);
    } else if (key_is(key, "tasks")) {
      has_tasks = true;
      read_tasks(reader, member);
    } else if (key_is(key, "description")) {
      if (member.type != jbvString) problem(reader, "$.description: must be a string");
    } else if (key_is(key, "params")) {
      read_params(reader, member);
    } else if (key_is(key, "timeout")) {
      if (read_duration(reader, "$.timeout", member, &reader.parsed.timeout_us) &&
          reader.parsed.timeout_us < USECS_PER_SEC / 1000)
        problem(reader, "$.timeout: must be a millisecond or more");
    } else if (key_is(key, "limit")) {
      read_limit(reader, member);
    } else {
      problem(reader, "$.%s: unknown key", string_of(key));
    }
  }
  if (!has_name) problem(reader, "$.name: is missing");
  if (!has_tasks) problem(reader, "$.tasks: is missing");
}

// Dependencies were noted task by task in declared order, so they fill the rows from the front.
void link_dependencies(Reader &reader) {
  const auto tasks = static_cast<std::size_t>(reader.parsed.tasks);
  auto *offsets = static_cast<std::int32_t *>(palloc0(sizeof(std::int32_t) * (tasks + 1)));
  auto *targets = palloc_array_of<std::int32_t>(static_cast<std::size_t>(reader.dependency_count));
  auto *last_user = static_cast<std::int32_t *>(palloc0(sizeof(std::int32_t) * tasks));
  std::int32_t used = 0;
  for (int i = 0; i < reader.dependency_count; ++i) {
    const Dependency &dependency = reader.dependencies[i];
    const std::int32_t target = position_of(reader, dependency.id);
    if (target < 0) {
      problem(reader, "$.tasks[%d].depends_on[%d]: there is no task \"%s\"", dependency.task, dependency.place,
              dependency.id);
      continue;
    }
    if (last_user[target] == dependency.task + 1) {
      problem(reader, "$.tasks[%d].depends_on[%d]: \"%s\" is named twice", dependency.task, dependency.place,
              dependency.id);
      continue;
    }
    last_user[target] = dependency.task + 1;
    targets[used++] = target;
    offsets[dependency.task + 1] = used;
  }
  for (std::size_t task = 1; task <= tasks; ++task)
    if (offsets[task] < offsets[task - 1]) offsets[task] = offsets[task - 1];
  reader.parsed.dependencies = {{offsets, tasks + 1}, {targets, static_cast<std::size_t>(used)}};
}

// Notes what a task that runs on failure may not have; -1: there is none, or it is not sound.
std::int32_t find_on_failure(Reader &reader) {
  const core::Graph &graph = reader.parsed.dependencies;
  std::int32_t found = -1;
  bool sound = true;
  const auto refuse = [&](std::int32_t task, const char *why) {
    problem(reader, "$.tasks[%d].on_failure: %s", task, why);
    sound = false;
  };
  for (std::int32_t task = 0; task < reader.parsed.tasks; ++task) {
    const TaskOptions &options = reader.parsed.options[task];
    if (!options.on_failure) continue;
    if (found >= 0) refuse(task, "another task has it");
    found = task;
    if (!graph.of(task).empty() || options.has_rule() || options.for_each)
      refuse(task, "goes with no depends_on, trigger_rule or for_each");
    if (reader.parsed.tasks == 1) refuse(task, "there is no other task");
  }
  if (std::find(graph.targets.begin(), graph.targets.end(), found) != graph.targets.end())
    refuse(found, "other tasks depend on it");
  return sound ? found : -1;
}

// The task that runs on failure waits for each other task: one that is skipped may end before what it depends on.
void link_on_failure(Reader &reader) {
  const std::int32_t last = find_on_failure(reader);
  if (last < 0) return;
  const core::Graph before = reader.parsed.dependencies;
  const auto tasks = static_cast<std::size_t>(reader.parsed.tasks);
  auto *offsets = palloc_array_of<std::int32_t>(tasks + 1);
  auto *targets = palloc_array_of<std::int32_t>(before.targets.size() + tasks);
  std::int32_t used = 0;
  for (std::int32_t task = 0; task < reader.parsed.tasks; ++task) {
    offsets[task] = used;
    for (std::int32_t target : before.of(task)) targets[used++] = target;
    for (std::int32_t other = 0; task == last && other < reader.parsed.tasks; ++other)
      if (other != last) targets[used++] = other;
  }
  offsets[tasks] = used;
  reader.parsed.dependencies = {{offsets, tasks + 1}, {targets, static_cast<std::size_t>(used)}};
  TaskOptions &options = reader.parsed.options[last];
  options.rule = palloc_array_of<core::RuleNode>(1);
  options.rule[0] = {core::RuleKind::always, 1, 0};
  options.rule_size = 1;
  reader.parsed.has_rules = true;
}

// A rule may name only dependencies of its own task: when the rule is decided, only these are sure
// to have ended.
void link_rules(Reader &reader) {
  // Subjects come task by task, so one pass marks a task's dependencies for its whole rule.
  auto *last_user = static_cast<std::int32_t *>(palloc0(sizeof(std::int32_t) * static_cast<Size>(reader.parsed.tasks)));
  std::int32_t marked = -1;
  for (int i = 0; i < reader.subject_count; ++i) {
    const RuleSubject &subject = reader.subjects[i];
    if (subject.task != marked)
      for (std::int32_t dependency : reader.parsed.dependencies.of(subject.task))
        last_user[dependency] = subject.task + 1;
    marked = subject.task;
    const std::int32_t target = position_of(reader, subject.id);
    if (target < 0 || last_user[target] != subject.task + 1)
      problem(reader, "%s: \"%s\" is not in depends_on", subject.path, subject.id);
    else
      reader.parsed.options[subject.task].rule[subject.node].subject = target;
  }
  pfree(last_user);
  for (std::int32_t task = 0; task < reader.parsed.tasks; ++task)
    if (reader.parsed.options[task].has_rule() && reader.parsed.dependencies.of(task).empty())
      problem(reader, "$.tasks[%d].trigger_rule: the task waits for nothing", task);
}

void check_cycles(Reader &reader) {
  const auto tasks = static_cast<std::size_t>(reader.parsed.tasks);
  auto *path = palloc_array_of<std::int32_t>(tasks);
  auto *scratch = palloc_array_of<std::int32_t>(tasks);
  const auto length = core::find_cycle(reader.parsed.dependencies, {path, tasks}, {scratch, tasks});
  if (length == 0) return;
  StringInfoData text;
  initStringInfo(&text);
  for (std::size_t i = 0; i <= length; ++i) {
    if (i == 20 && length > 20) {
      appendStringInfoString(&text, " ->  ...");
      break;
    }
    const char *id = reader.parsed.ids[path[i % length]];
    appendStringInfo(&text, "%s%s", i ? " -> " : "", id ? id : "?");
  }
  problem(reader, "$.tasks: dependencies form a cycle: %s", text.data);
}

void report(const Reader &reader) {
  const Problems &problems = reader.problems;
  if (problems.count > 0) {
    if (problems.count > max_problems)
      appendStringInfo(const_cast<StringInfo>(&problems.lines), "\nand %d more", problems.count - max_problems);
    ereport(ERROR, (errcode(INSULA_BAD_DEFINITION), errmsg("invalid workflow definition"),
                    errdetail_internal("%s", problems.lines.data)));
  }
}

}  // namespace

void problem(Reader &reader, const char *format, ...) {
  Problems &problems = reader.problems;
  if (++problems.count > max_problems) return;
  if (problems.count > 1) appendStringInfoChar(&problems.lines, '\n');
  for (;;) {
    va_list arguments;
    va_start(arguments, format);
    const int needed = appendStringInfoVA(&problems.lines, format, arguments);
    va_end(arguments);
    if (needed == 0) return;
    enlargeStringInfo(&problems.lines, needed);
  }
}

bool key_is(const JsonbValue &key, const char *name) {
  return static_cast<std::size_t>(key.val.string.len) == strlen(name) &&
         memcmp(key.val.string.val, name, static_cast<std::size_t>(key.val.string.len)) == 0;
}

char *string_of(const JsonbValue &value) {
  return pnstrdup(value.val.string.val, static_cast<Size>(value.val.string.len));
}

bool is_array(const JsonbValue &value) {
  return value.type == jbvBinary && JsonContainerIsArray(value.val.binary.data) &&
         !JsonContainerIsScalar(value.val.binary.data);
}

bool is_object(const JsonbValue &value) {
  return value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data);
}

std::int32_t position_of(const Reader &reader, const char *id) {
  if (strlen(id) >= NAMEDATALEN) return -1;
  char key[NAMEDATALEN] = {};
  strlcpy(key, id, NAMEDATALEN);
  auto *entry = static_cast<IdEntry *>(hash_search(reader.positions, key, HASH_FIND, nullptr));
  return entry ? entry->position : -1;
}

JsonbValue copy_of(const JsonbValue &value) {
  JsonbValue copy = value;
  if (value.type == jbvString) copy.val.string.val = string_of(value);
  if (value.type == jbvNumeric) copy.val.numeric = DatumGetNumericCopy(NumericGetDatum(value.val.numeric));
  if (value.type == jbvBinary) {
    Jsonb *whole = JsonbValueToJsonb(&copy);
    copy.val.binary.data = &whole->root;
    copy.val.binary.len = static_cast<int>(VARSIZE(whole) - VARHDRSZ);
  }
  return copy;
}

bool read_integer(Reader &reader, const char *path, const JsonbValue &value, std::int64_t least, std::int64_t most,
                  std::int64_t *result) {
  if (value.type == jbvNumeric) {
    const Datum number = NumericGetDatum(value.val.numeric);
    const Datum whole = DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0));
    const auto at_least = DirectFunctionCall1(int8_numeric, Int64GetDatum(least));
    const auto at_most = DirectFunctionCall1(int8_numeric, Int64GetDatum(most));
    if (DatumGetBool(DirectFunctionCall2(numeric_eq, number, whole)) &&
        DatumGetBool(DirectFunctionCall2(numeric_ge, number, at_least)) &&
        DatumGetBool(DirectFunctionCall2(numeric_le, number, at_most))) {
      *result = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
      return true;
    }
  }
  problem(reader, "%s: must be a whole number between %lld and %lld", path, static_cast<long long>(least),
          static_cast<long long>(most));
  return false;
}

// interval_in without its error; interval_in reads nothing but its argument.
static pg_noinline const Interval *interval_of(const char *text) {
  MemoryContext memory = CurrentMemoryContext;
  const Interval *volatile interval = nullptr;
  PG_TRY();
  {
    interval = DatumGetIntervalP(
        DirectFunctionCall3(interval_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(memory);
    if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION) PG_RE_THROW();
    FlushErrorState();
  }
  PG_END_TRY();
  return interval;
}

bool read_duration(Reader &reader, const char *path, const JsonbValue &value, std::int64_t *result) {
  constexpr std::int64_t most_days = 36500;
  const Interval *interval = value.type == jbvString ? interval_of(string_of(value)) : nullptr;
  if (interval) {
    const std::int64_t days = std::int64_t{interval->month} * DAYS_PER_MONTH + interval->day;
    if (days >= 0 && days <= most_days && interval->time >= 0 && interval->time <= most_days * USECS_PER_DAY) {
      *result = days * USECS_PER_DAY + interval->time;
      return true;
    }
  }
  problem(reader, "%s: must be the text of an interval between 0 and 100 years", path);
  return false;
}

void note_rule_subject(Reader &reader, std::int32_t task, int node, const char *path, const char *id) {
  if (reader.subject_count == reader.subject_room) {
    reader.subject_room *= 2;
    reader.subjects = static_cast<RuleSubject *>(
        repalloc_huge(reader.subjects, sizeof(RuleSubject) * static_cast<std::size_t>(reader.subject_room)));
  }
  reader.subjects[reader.subject_count++] = {task, node, pstrdup(path), id};
}

ParsedDefinition parse_definition(Jsonb *definition) {
  Reader reader = {};
  initStringInfo(&reader.problems.lines);
  if (!JB_ROOT_IS_OBJECT(definition)) {
    problem(reader, "$: must be an object");
    report(reader);
  }
  HASHCTL control = {};
  control.keysize = NAMEDATALEN;
  control.entrysize = sizeof(IdEntry);
  control.hcxt = CurrentMemoryContext;
  reader.positions = hash_create("insula task ids", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
  reader.dependency_room = 64;
  reader.dependencies = palloc_array_of<Dependency>(64);
  reader.subject_room = 16;
  reader.subjects = palloc_array_of<RuleSubject>(16);
  read_members(reader, definition);
  if (reader.parsed.tasks > 0) {
    link_dependencies(reader);
    link_on_failure(reader);
    if (reader.parsed.has_rules) link_rules(reader);
    check_cycles(reader);
  }
  report(reader);
  hash_destroy(reader.positions);
  for (int i = 0; i < reader.subject_count; ++i) {
    pfree(const_cast<char *>(reader.subjects[i].path));
    pfree(const_cast<char *>(reader.subjects[i].id));
  }
  pfree(reader.subjects);
  return reader.parsed;
}

}  // namespace insula
