// Saved plans.  A tenant's statements are templates over his two tables; their plans are
// kept in a bounded cache keyed by relation Oid, so that a backend which serves ten
// thousand tenants does not hold ten thousand times each plan.
#pragma once

#include <initializer_list>

#include "tenant/tenant.hpp"

namespace insula {

// Statements on the extension's own tables.
enum class SharedStatement {
  tenant_by_number,
  tenant_by_name,
  tenant_by_username,
  all_tenants,
  take_number,
  insert_tenant,
  set_tenant_status,
  set_tenant_limits,
  old_layouts,
  delete_tenant,
  insert_leftover,
  prepared_by_role,
  home,
  record_home,
  record_home_of_none,
  leftovers,
  delete_leftover,
  set_tenant_role,
  rename_tenant_role,
  log_act,
  count,
};

// Statements on a tenant's tables; texts in statements.cpp.
enum class Statement {
  insert_single,
  insert_heads,
  insert_tasks,
  claim_any,
  claim_keys,
  claim_limited,
  probe_limited,
  next_waiting_limit,
  running_by_limit,
  probe_any,
  probe_keys,
  probe_any_unlocked,
  probe_keys_unlocked,
  next_due,
  release_due,
  lapsed,
  held_by_workers,
  requeue,
  peek,
  lock_heads,
  lock_heads_skip,
  complete_rows,
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
  end_of_stretch,
  matching_executions,
  finished_executions,
  finished_beyond,
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
  count,
};

struct StatementText {
  const char *sql;  // {work} and {record} stand for the tenant's tables
  std::initializer_list<Oid> arguments;
};

const StatementText &statement_text(Statement statement);

SPIPlanPtr shared_plan(SharedStatement statement);
SPIPlanPtr tenant_plan(const Tenant &tenant, Statement statement);

}  // namespace insula
