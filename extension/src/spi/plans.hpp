// Statements and their saved plans.  A statement is a constant beside the one function that runs it.  The texts of
// statements on a tenant's tables are templates; the plans of all statements are kept in one bounded cache, so that a
// backend which serves ten thousand tenants does not hold ten thousand times each plan.
//
// Rules for the texts: every value is a parameter; an UPDATE calls no volatile function; arrays come sorted by id,
// and the nested loop over them locks rows in that order, which is the one global order.
#pragma once

#include "postgres.hpp"
#include "spi/words.hpp"

namespace insula {

struct Statement {
  const char *name;   // as errors show it
  const char *sql;    // {work} and {record} stand for the tenant's tables, other words for what define_words says
  Oid arguments[16];  // the types of $1, $2, ...; the rest is InvalidOid
};

// What a statement needs to know of the tenant whose tables it reads and writes.
struct TenantTables {
  std::int32_t number;
  Oid work;
  char schema[NAMEDATALEN];
};

// Statements on a tenant's tables; texts in statements.cpp.
enum class TenantStatement {
  insert_heads,
  insert_tasks,
  put_back,
  running_by_limit,
  probe_any,
  probe_keys,
  probe_any_unlocked,
  probe_keys_unlocked,
  probe_many_keys,
  probe_many_keys_unlocked,
  next_due,
  release_due,
  lapsed,
  held_by_workers,
  requeue,
  peek,
  lock_heads,
  lock_heads_skip,
  lock_rows,
  fail_row,
  retry_row,
  defer_row,
  wait_row,
  hold_row,
  park_row,
  complete_parked,
  fail_parked,
  retry_parked,
  lineage,
  deliver_event,
  deliver_to_element,
  count_down,
  count_down_rules,
  make_ready,
  task_states,
  skip_rows,
  head_progress,
  task_rows,
  task_details,
  insert_elements,
  open_group,
  link_elements,
  count_down_groups,
  group_summary,
  group_outputs,
  end_group,
  element_rows,
  element_details,
  reopen_elements,
  open_elements,
  remove_group,
  end_execution,
  pause_rows,
  pause_elements,
  resume_elements,
  resume_rows,
  reopen_rows,
  reopen_execution,
  timed_out_executions,
  lock_open_tasks,
  lock_open_elements,
  count_open,
  end_of_stretch,
  matching_executions,
  finished_executions,
  finished_beyond,
  finished_up_to,
  remove_heads,
  remove_tasks,
  remove_elements,
  cancel_tasks,
  cancel_elements,
  cancel_single,
  inputs_and_outputs,
  extend_leases,
  stopped_leases,
  live_executions,
  running_count,
  running_at_most,
  queued_at_most,
  count_queue,
  oldest_ready,
  execution_row,
  current_definition,
  definition,
  definition_by_hash,
  take_record_numbers,
  last_version,
  last_task_key,
  insert_record,
  set_current,
  take_kept_event,
  kept_events,
  read_sweep,
  write_sweep,
  remove_records,
  remove_keys,
  rate_spent,
  spend_rate,
  all_keys,
  pause_workflow,
  resume_workflow,
  take_idempotency_keys,
  find_idempotency_keys,
  subscriptions,
  put_subscription,
  delete_subscriptions,
  release_key,
  all_schedules,
  list_schedules,
  count_schedules,
  find_schedule,
  schedule_by_number,
  put_schedule,
  delete_schedule,
  insert_fire,
  newest_fired,
  prune_fires,
  count,
};

const Statement &statement_of(TenantStatement number);

// The words of all statements, beside {work} and {record}; from _PG_init.
void define_words(const Words &words);

// To be run at once: it sets the planner up for it.  `tables` nullptr: it is on the extension's own tables.
SPIPlanPtr plan_of(const TenantTables *tables, const Statement &statement);

}  // namespace insula
