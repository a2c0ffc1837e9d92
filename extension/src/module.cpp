// The library's entry: settings, hooks, and the steps of a transaction's end.  With
// shared_preload_libraries it also requests shared memory; a session that loads it works without.
#include "entry/arguments.hpp"
#include "operation/operations.hpp"
#include "postgres.hpp"
#include "provision/provision.hpp"
#include "schedule/fire.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/counters.hpp"
#include "shared/overhead.hpp"
#include "shared/permits.hpp"
#include "shared/ready_tenants.hpp"
#include "shared/shared.hpp"
#include "shared/transaction_end.hpp"
#include "spi/budget.hpp"
#include "spi/plans.hpp"
#include "storage/codes.hpp"
#include "tenant/caller.hpp"
#include "tenant/group.hpp"
#include "tenant/home.hpp"
#include "tenant/kept_catalogs.hpp"
#include "tenant/transaction_limit.hpp"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

namespace {

// Announcements wake other processes, which must find the numbers published: they come last.
const insula::TransactionStep *const steps[] = {&insula::tenants_prepare_step, &insula::transaction_limit_step,
                                                &insula::role_sessions_step,   &insula::database_guard_step,
                                                &insula::scheduler_nudge_step, &insula::async_commit_step,
                                                &insula::joined_tasks_step,    &insula::counters_step,
                                                &insula::permits_step,         &insula::announcements_step};

}  // namespace

void _PG_init() {
  insula::define_caller_settings();
  insula::define_provision_settings();
  insula::define_argument_settings();
  insula::define_scheduler_settings();
  insula::define_fire_settings();
  insula::define_budget_settings();
  insula::define_catalogs_setting();
  insula::define_fairness_settings();
  insula::define_overhead_settings();
  insula::define_transaction_limit();
  if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade) {
    insula::request_shared_memory(insula::note_recovery);
    insula::register_launcher();
    insula::guard_databases();
    insula::limit_tenant_transactions();
  }
  MarkGUCPrefixReserved("insula");
  insula::define_words(insula::storage_words());
  insula::initialize_tenant_cache();
  insula::run_at_transaction_end(steps, lengthof(steps));
  insula::keep_tenants_group_bare();
}
