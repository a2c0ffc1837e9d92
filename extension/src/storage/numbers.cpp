// Numbers of rows of `work` and of records.  A tenant's sequence only ever grows, and has 63 bits.  Records take its
// values as they are, so that their order is the order in which they came, for ever.  Rows of `work` take the low bits
// of its values, which begin again after 2^36 of them: from then on numbers that rows still have are passed over.  One
// look into the primary key finds the next of those, and the step past them doubles, so that millions of rows in the
// way cost a few looks.
#include <algorithm>

#include "core/ids.hpp"
#include "storage/rows.hpp"
#include "storage/work.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "commands/sequence.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

constexpr std::int64_t longest_step = 1 << 20;

// The first number from `from` on that a row has; what is being inserted, or was removed a moment ago, counts.  0:
// none.
std::int64_t next_used(const Tenant &tenant, std::int64_t from) {
  Relation heap = table_open(tenant.work, NoLock);
  Relation key = index_open(tenant.work_key, AccessShareLock);
  ScanKeyData scan_key;
  ScanKeyInit(&scan_key, 1, BTGreaterEqualStrategyNumber, F_INT8GE, Int64GetDatum(from));
  IndexScanDesc scan = begin_index_scan(heap, key, SnapshotAny, 1);
  scan->xs_want_itup = true;
  index_rescan(scan, &scan_key, 1, nullptr, 0);
  std::int64_t used = 0;
  bool null;
  if (index_getnext_tid(scan, ForwardScanDirection))
    used = DatumGetInt64(index_getattr(scan->xs_itup, 1, scan->xs_itupdesc, &null));
  index_endscan(scan);
  index_close(key, NoLock);
  table_close(heap, NoLock);
  return used;
}

// A stretch of free numbers.
struct Stretch {
  std::int64_t first;
  std::int64_t length;
};

pg_noinline void raise_no_numbers(const Tenant &tenant, std::int64_t least) {
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                  errmsg("tenant \"%s\" has no %lld free execution numbers in a row", tenant.name,
                         static_cast<long long>(least)),
                  errdetail("Rows that are kept have its numbers."),
                  errhint("Remove finished executions with insula.delete_executions(), or bound them with retain or "
                          "retain_count of insula.set_tenant_limits().")));
}

// The next stretch of `least` to `most` numbers from *value of the sequence on, which moves behind it.
Stretch take_stretch(const Tenant &tenant, std::int64_t *value, std::int64_t least, std::int64_t most) {
  const std::int64_t end = *value + core::max_local_number;
  for (std::int64_t step = 1; *value <= end; step = std::min(2 * step, longest_step)) {
    CHECK_FOR_INTERRUPTS();
    const std::int64_t local = std::max<std::int64_t>(1, core::local_of(*value));
    *value += local - core::local_of(*value);
    std::int64_t free = core::max_local_number - local + 1;
    std::int64_t used = 0;
    // Until the numbers begin again, no row has one that is yet to come.
    if (*value > core::max_local_number) used = next_used(tenant, local);
    if (used) free = used - local;
    if (free >= least) {
      const Stretch stretch = {local, std::min(free, most)};
      *value += stretch.length;
      return stretch;
    }
    *value += used ? free + step : free;
  }
  raise_no_numbers(tenant, least);
  return {};
}

}  // namespace

void take_execution_numbers(const Tenant &tenant, std::int64_t stride, int count, std::int64_t *ids) {
  // The lock is held for that instant, so that numbers taken between two values of the sequence have no gap.
  lock_tenant(tenant.number, TenantLock::numbering);
  const std::int64_t first = nextval_internal(tenant.sequence, false);
  std::int64_t value = first;
  for (int i = 0; i < count;) {
    const Stretch stretch = take_stretch(tenant, &value, stride, stride * (count - i));
    for (std::int64_t at = 0; at + stride <= stretch.length; at += stride) ids[i++] = stretch.first + at;
  }
  if (value - 1 > first)
    (void)DirectFunctionCall2(setval_oid, ObjectIdGetDatum(tenant.sequence), Int64GetDatum(value - 1));
  unlock_tenant(tenant.number, TenantLock::numbering);
}

std::int64_t take_numbers(const Tenant &tenant, std::int64_t count) {
  std::int64_t first;
  take_execution_numbers(tenant, count, 1, &first);
  return first;
}

std::int64_t take_serial(const Tenant &tenant) {
  lock_tenant(tenant.number, TenantLock::numbering);
  const std::int64_t value = nextval_internal(tenant.sequence, false);
  unlock_tenant(tenant.number, TenantLock::numbering);
  return value;
}

std::int64_t newest_number(const Tenant &tenant) {
  LOCAL_FCINFO(call, 1);
  InitFunctionCallInfoData(*call, nullptr, 1, InvalidOid, nullptr, nullptr);
  call->args[0] = {ObjectIdGetDatum(tenant.sequence), false};
  const std::int64_t value = DatumGetInt64(pg_sequence_last_value(call));
  return call->isnull || value <= core::max_local_number ? core::max_local_number : core::local_of(value);
}

}  // namespace insula
