// Tenant numbers.  A new number is random among those that no tenant of this database has had, so
// that tenants of several databases seldom share one.  When none is left, the number of the tenant
// that was dropped longest ago is given again: its rows and its role are gone, return_tenant_number
// removes it from shared memory, and the new tenant's ids go on where the old one's ended, so that
// an id which a client has kept names nothing.
#include "core/ids.hpp"
#include "provision/provision.hpp"
#include "shared/shared.hpp"
#include "spi/owner.hpp"
#include "spi/session.hpp"
#include "storage/random.hpp"

extern "C" {
#include "utils/acl.h"
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

constexpr int draws = 100;  // random draws before all numbers are searched

std::uint64_t run_on_numbers(SharedStatement statement, Datum first, Datum second) {
  Datum values[] = {first, second};
  if (SPI_execute_plan(shared_plan(statement), values, nullptr, false, 0) < 0)
    elog(ERROR, "insula: statement on tenant numbers failed");
  return SPI_processed;
}

// The sequence of another role may be unreadable, or hold any value.
bool is_readable_and_ours(Oid sequence) {
  HeapTuple row = SearchSysCache1(RELOID, ObjectIdGetDatum(sequence));
  if (!HeapTupleIsValid(row)) return false;
  const auto *form = reinterpret_cast<Form_pg_class>(GETSTRUCT(row));
  const bool ours = form->relkind == RELKIND_SEQUENCE && form->relowner == owner_role();
  ReleaseSysCache(row);
  return ours && pg_class_aclcheck(sequence, GetUserId(), ACL_SELECT | ACL_USAGE) == ACLCHECK_OK;
}

}  // namespace

TenantNumber take_tenant_number() {
  for (int i = 0; i < draws; ++i) {
    const auto number = static_cast<std::int32_t>(1 + random_bits() % core::max_tenant_number);
    if (run_on_numbers(SharedStatement::take_number, Int32GetDatum(number), Datum{0}) == 1) return {number, 0};
  }
  const auto most = static_cast<std::int32_t>(core::max_tenant_number);
  if (run_on_numbers(SharedStatement::take_rare_number, Int32GetDatum(most), Datum{0}) == 1)
    return {get_int32(0, 1), 0};
  if (run_on_numbers(SharedStatement::take_dropped_number, Datum{0}, Datum{0}) == 1) {
    const TenantNumber number = {get_int32(0, 1), get_int64(0, 2)};
    forget_tenant_number(number.number);
    announce_rescheduled(number.number);
    return number;
  }
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("this database has run out of tenant numbers"),
                  errdetail("It can have %d tenants.", most),
                  errhint("Drop tenants that are not needed any more, or make new ones in another database.")));
}

void return_tenant_number(std::int32_t number, const char *schema) {
  const Oid space = get_namespace_oid(schema, true);
  const Oid sequence = OidIsValid(space) ? get_relname_relid("id", space) : InvalidOid;
  // Without its sequence the end of the tenant's ids is unknown, so its number is not given again.
  if (!OidIsValid(sequence) || !is_readable_and_ours(sequence)) return;
  LOCAL_FCINFO(call, 1);
  InitFunctionCallInfoData(*call, nullptr, 1, InvalidOid, nullptr, nullptr);
  call->args[0] = {ObjectIdGetDatum(sequence), false};
  const Datum value = pg_sequence_last_value(call);
  const Datum last = call->isnull ? Int64GetDatum(0) : value;
  (void)run_on_numbers(SharedStatement::return_number, Int32GetDatum(number), last);
}

}  // namespace insula
