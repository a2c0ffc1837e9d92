// Groups and their elements in `work`, over SPI.  A group's elements have numbers without a
// gap, from the group's first_element on, as many as its span says.
#include <algorithm>

#include "storage/work.hpp"

namespace insula {

void open_group_row(const Tenant &tenant, std::int64_t group, int elements, TimestampTz now) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add(Int32GetDatum(elements)).add(TimestampTzGetDatum(now));
  (void)run(tenant, statement_of(TenantStatement::open_group), arguments);
}

void end_group_row(const Tenant &tenant, std::int64_t group, State state, TimestampTz now, Jsonb *output,
                   const char *error) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add(Int32GetDatum(static_cast<std::int32_t>(state)));
  arguments.add(TimestampTzGetDatum(now)).add_nullable(PointerGetDatum(output), output == nullptr).add_text(error);
  (void)run(tenant, statement_of(TenantStatement::end_group), arguments);
}

std::int32_t *count_down_groups(const Tenant &tenant, const std::int64_t *groups, const std::int32_t *counts, int count,
                                int *closed) {
  Arguments arguments;
  arguments.add(int64_array(groups, count)).add(int32_array(counts, count));
  const auto rows = run(tenant, statement_of(TenantStatement::count_down_groups), arguments);
  auto *tasks = palloc_array_of<std::int32_t>(rows);
  *closed = 0;
  for (std::uint64_t i = 0; i < rows; ++i)
    if (get_int32(i, 2) == 0) tasks[(*closed)++] = get_int32(i, 1);
  return tasks;
}

GroupSummary summarize_group(const Tenant &tenant, std::int64_t group, const char *id) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add_text(id);
  (void)run(tenant, statement_of(TenantStatement::group_summary), arguments);
  return {get_int64(0, 1), get_int64(0, 2), get_text(0, 3)};
}

Jsonb *group_outputs(const Tenant &tenant, std::int64_t group, const char *id) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add_text(id);
  (void)run(tenant, statement_of(TenantStatement::group_outputs), arguments);
  return get_jsonb(0, 1);
}

static std::uint64_t run_on_execution(const Tenant &tenant, const Statement &statement, std::int64_t execution,
                                      std::int32_t span) {
  Arguments arguments;
  arguments.add(Int64GetDatum(execution)).add(Int64GetDatum(execution + span));
  return run(tenant, statement, arguments);
}

ElementResult *element_results(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count) {
  const auto rows = run_on_execution(tenant, statement_of(TenantStatement::element_rows), execution, span);
  auto *results = palloc_array_of<ElementResult>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) results[i] = {read_result(i), get_int32(i, 9), get_int64(i, 10)};
  *count = static_cast<int>(rows);
  std::sort(results, results + rows, [](const ElementResult &a, const ElementResult &b) {
    return a.result.task < b.result.task || (a.result.task == b.result.task && a.element < b.element);
  });
  return results;
}

ElementDetail *element_details(const Tenant &tenant, std::int64_t execution, std::int32_t span, int *count) {
  const auto rows = run_on_execution(tenant, statement_of(TenantStatement::element_details), execution, span);
  auto *details = palloc_array_of<ElementDetail>(rows);
  for (std::uint64_t i = 0; i < rows; ++i) details[i] = {read_detail(i), get_int32(i, 1), get_int32(i, 12)};
  *count = static_cast<int>(rows);
  return details;
}

int reopen_elements(const Tenant &tenant, TimestampTz now, std::int64_t group) {
  Arguments arguments;
  arguments.add(Int64GetDatum(now)).add(Int64GetDatum(group));
  const auto rows = run(tenant, statement_of(TenantStatement::reopen_elements), arguments);
  count_arrivals(tenant, rows, 1);
  return static_cast<int>(rows);
}

int open_elements(const Tenant &tenant, std::int64_t group) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group));
  (void)run(tenant, statement_of(TenantStatement::open_elements), arguments);
  return static_cast<int>(get_int64(0, 1));
}

static void link_elements(const Tenant &tenant, std::int64_t group, std::int64_t first, int count) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group)).add_nullable(Int64GetDatum(first), first == 0).add(Int32GetDatum(count));
  (void)run(tenant, statement_of(TenantStatement::link_elements), arguments);
}

void empty_group(const Tenant &tenant, std::int64_t group) {
  Arguments arguments;
  arguments.add(Int64GetDatum(group));
  (void)run(tenant, statement_of(TenantStatement::remove_group), arguments);
  link_elements(tenant, group, 0, 0);
}

void insert_elements(const Tenant &tenant, const NewElements &elements) {
  const bool later = elements.run_at > elements.now;
  Arguments arguments;
  arguments.add(Int64GetDatum(elements.group)).add(Int64GetDatum(elements.first));
  arguments.add_nullable(Int32GetDatum(lane_later), !later);
  arguments.add(Int64GetDatum(std::max(elements.run_at, elements.now)));
  arguments.add_nullable(TimestampTzGetDatum(elements.run_at), !later);
  arguments.add(jsonb_array(elements.items, elements.count));
  count_arrivals(tenant, run(tenant, statement_of(TenantStatement::insert_elements), arguments), 1);
  link_elements(tenant, elements.group, elements.first, elements.count);
}

}  // namespace insula
