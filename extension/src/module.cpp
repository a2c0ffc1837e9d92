// The library's entry: settings, hooks, callbacks.  Loaded by shared_preload_libraries it
// also asks for shared memory; loaded by a session it works without.
#include "entry/arguments.hpp"
#include "operation/operations.hpp"
#include "postgres.hpp"
#include "provision/provision.hpp"
#include "schedule/fire.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/shared.hpp"
#include "spi/plans.hpp"
#include "storage/codes.hpp"
#include "tenant/caller.hpp"
#include "tenant/group.hpp"
#include "tenant/home.hpp"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

void _PG_init() {
  insula::define_caller_settings();
  insula::define_provision_settings();
  insula::define_argument_settings();
  insula::define_scheduler_settings();
  insula::define_fire_settings();
  if (process_shared_preload_libraries_in_progress && !IsBinaryUpgrade) {
    insula::request_shared_memory(insula::note_recovery);
    insula::register_launcher();
    insula::guard_databases();
  }
  MarkGUCPrefixReserved("insula");
  insula::define_words(insula::storage_words());
  insula::initialize_tenant_cache();
  insula::initialize_announcements();
  // Callbacks run in the reverse order: a process that announcements wake finds the numbers published.
  insula::initialize_activity();
  insula::initialize_join();
  insula::initialize_async_commit();
  insula::refuse_prepare_to_tenants();
  insula::keep_tenants_group_bare();
}
