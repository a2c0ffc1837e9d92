// Groups and their elements in `work`, over SPI.  Elements are found by their execution,
// task and place; no number of theirs is known from elsewhere.
#include <algorithm>

#include "storage/work.hpp"

namespace insula {

void insert_elements(const Tenant &tenant, const NewElements &elements) {
  const bool later = elements.run_at > elements.now;
  Arguments arguments;
  arguments.add(Int64GetDatum(elements.group)).add(Int64GetDatum(elements.first));
  arguments.add_nullable(Int32GetDatum(lane_later), !later);
  arguments.add(Int64GetDatum(std::max(elements.run_at, elements.now)));
  arguments.add_nullable(TimestampTzGetDatum(elements.run_at), !later);
  arguments.add(jsonb_array(elements.items, elements.count));
  (void)run(tenant, Statement::insert_elements, arguments);
}

void open_group_row(const Tenant &tenant, std::int64_t group, int elements, TimestampTz now) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add(Int32GetDatum(elements)).add(TimestampTzGetDatum(now));
  (void)run(tenant, Statement::open_group, arguments);
}

void end_group_row(const Tenant &tenant, std::int64_t group, State state, TimestampTz now, Jsonb *output,
                   const char *error) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add(Int32GetDatum(static_cast<std::int32_t>(state)));
  arguments.add(TimestampTzGetDatum(now)).add_nullable(PointerGetDatum(output), output == nullptr).add_text(error);
  (void)run(tenant, Statement::end_group, arguments);
}

std::int32_t *count_down_groups(const Tenant &tenant, const std::int64_t *groups, const std::int32_t *counts, int count,
                                int *closed) {
  Arguments arguments;
  arguments.add(int64_array(groups, count)).add(int32_array(counts, count));
  const auto rows = run(tenant, Statement::count_down_groups, arguments);
  auto *tasks = palloc_array_of<std::int32_t>(rows);
  *closed = 0;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (get_int32(i, 2) == 0) tasks[(*closed)++] = get_int32(i, 1);
  return tasks;
}

static void add_group(Arguments &arguments, std::int64_t execution, std::int32_t task) {
  arguments.add(Int64GetDatum(execution)).add(Int32GetDatum(task));
}

GroupSummary summarize_group(const Tenant &tenant, std::int64_t execution, std::int32_t task, const char *id) {
  Arguments arguments;
  add_group(arguments, execution, task);
  arguments.add_text(id);
  (void)run(tenant, Statement::group_summary, arguments);
  return {get_int64(0, 1), get_int64(0, 2), get_text(0, 3)};
}

Jsonb *group_outputs(const Tenant &tenant, std::int64_t execution, std::int32_t task, const char *id) {
  Arguments arguments;
  add_group(arguments, execution, task);
  arguments.add_text(id);
  (void)run(tenant, Statement::group_outputs, arguments);
  return get_jsonb(0, 1);
}

ElementResult *element_results(const Tenant &tenant, std::int64_t execution, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  const auto rows = run(tenant, Statement::element_rows, arguments);
  auto *results = palloc_array_of<ElementResult>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) results[i] = {read_result(i), get_int32(i, 8), get_int64(i, 9)};
  *count = static_cast<int>(rows);
  return results;
}

ElementDetail *element_details(const Tenant &tenant, std::int64_t execution, int *count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution));
  const auto rows = run(tenant, Statement::element_details, arguments);
  auto *details = palloc_array_of<ElementDetail>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) details[i] = {read_detail(i), get_int32(i, 1), get_int32(i, 11)};
  *count = static_cast<int>(rows);
  return details;
}

int reopen_elements(const Tenant &tenant, TimestampTz now, std::int64_t execution, std::int32_t task) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now));
  add_group(arguments, execution, task);
  return static_cast<int>(run(tenant, Statement::reopen_elements, arguments));
}

int open_elements(const Tenant &tenant, std::int64_t execution, std::int32_t task) {
  Arguments arguments;
  add_group(arguments, execution, task);
  (void)run(tenant, Statement::open_elements, arguments);
  return static_cast<int>(get_int64(0, 1));
}

void remove_group(const Tenant &tenant, std::int64_t execution, std::int32_t task) {
  Arguments arguments;
  add_group(arguments, execution, task);
  (void)run(tenant, Statement::remove_group, arguments);
}

}  // namespace insula
