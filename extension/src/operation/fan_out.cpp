// Fan-out: a task with for_each is a group.  Once its dependencies have ended it is opened: each
// item of its array becomes an element, a row that is claimed and ends like a task's.  The last
// element that ends closes the group in the same transaction.  The caller has locked the
// execution's row, so that one transaction at a time counts down.
#include "context/merge_patch.hpp"
#include "operation/operations.hpp"
#include "operation/task_context.hpp"
#include "spi/budget.hpp"

namespace insula {

namespace {

constexpr std::uint32_t max_elements = 10000;
// The outputs of a group's elements may take more as jsonb than as text.
constexpr std::size_t most_stored = 4 * max_merged_size;

struct Items {
  Jsonb **values;
  int count;
};

// Returns the fault of the value at the path; nullptr: none.
const char *read_items(const ForEach &for_each, Jsonb *context, Items *items) {
  Jsonb *array = value_at(for_each.items, context);
  if (!array) return "for_each: the context has no such array";
  if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array)) return "for_each: the value is not an array";
  const std::uint32_t count = JB_ROOT_COUNT(array);
  if (count > max_elements) return psprintf("for_each: the array has %u elements, more than %u", count, max_elements);
  items->values = palloc_array_of<Jsonb *>(count);
  JsonbIterator *elements = JsonbIteratorInit(&array->root);
  JsonbValue element;
  charge(VARSIZE(array));
  (void)JsonbIteratorNext(&elements, &element, true);
  while (JsonbIteratorNext(&elements, &element, true) == WJB_ELEM)
    items->values[items->count++] = JsonbValueToJsonb(&element);
  return nullptr;
}

const char *queue_problem(const Tenant &tenant, int count) {
  if (find_queue_room(tenant, count)) return nullptr;
  return psprintf("for_each: its %d elements would be more than the tenant's max_queued allows", count);
}

Opened close_at_once(const FanOut &group, TimestampTz now, const char *error) {
  if (!error) return {close_group(group, now), 0};
  end_group_row(group.tenant, group.id(), State::failed, now, nullptr, error);
  return {State::failed, 0};
}

Opened open_in_memory(const FanOut &group, TimestampTz now, TimestampTz run_at, SeenContext *seen) {
  const ForEach &for_each = *group.definition.options[group.task].for_each;
  Items items = {};
  Jsonb *context = context_of_task(group.tenant, group.definition, group.head, group.task, seen);
  const char *error = context ? read_items(for_each, context, &items) : "the context of the task would be too large";
  if (!error) error = queue_problem(group.tenant, items.count);
  if (error || items.count == 0) return close_at_once(group, now, error);
  const std::int64_t first = take_numbers(group.tenant, items.count);
  insert_elements(group.tenant, {group.id(), first, items.values, items.count, now, run_at});
  open_group_row(group.tenant, group.id(), items.count, now);
  return {State::running, items.count};
}

}  // namespace

Opened open_group(const FanOut &group, TimestampTz now, TimestampTz run_at, SeenContext *seen) {
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula fan-out", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  const Opened opened = open_in_memory(group, now, run_at, seen);
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
  return opened;
}

State close_group(const FanOut &group, TimestampTz now) {
  const char *id = group.definition.ids[group.task];
  const GroupSummary summary = summarize_group(group.tenant, group.id(), id, most_stored);
  const char *error = nullptr;
  if (summary.failed > 0 && !group.definition.options[group.task].for_each->allow_failures)
    error = summary.error;
  else if (summary.bytes > static_cast<std::int64_t>(max_merged_size))
    error = "the outputs of its elements would be too large together";
  if (!error) charge(static_cast<std::size_t>(summary.bytes));
  Jsonb *outputs = error ? nullptr : group_outputs(group.tenant, group.id(), id);
  const State state = error ? State::failed : State::completed;
  end_group_row(group.tenant, group.id(), state, now, outputs, error);
  return state;
}

TaskRow ended_group(const FanOut &group, State state) {
  TaskRow row = {};
  row.id = group.id();
  row.head = group.head;
  row.definition = group.definition.number;
  row.task = group.task;
  row.state = state;
  row.element = -1;
  return row;
}

}  // namespace insula
