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

// False: another tenant has it, or had it.
bool take_number(std::int32_t number) {
  static constexpr Statement take_number = {
      "take_number",
      "INSERT INTO insula.tenant_number (tenant_no) VALUES ($1) ON CONFLICT DO NOTHING",
      {INT4OID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(number));
  return run(take_number, arguments) == 1;
}

// One of those up to `most` that no tenant has or had; 0: there is none.
std::int32_t take_rare_number(std::int32_t most) {
  static constexpr Statement take_rare_number = {
      "take_rare_number",
      R"(
        INSERT INTO insula.tenant_number (tenant_no)
        SELECT n
        FROM pg_catalog.generate_series(1, $1) n
        WHERE NOT EXISTS (SELECT FROM insula.tenant_number t WHERE t.tenant_no = n)
        ORDER BY pg_catalog.random()
        LIMIT 1
        ON CONFLICT DO NOTHING
        RETURNING tenant_no)",
      {INT4OID},
  };
  Arguments arguments;
  arguments.add(Int32GetDatum(most));
  return run(take_rare_number, arguments) == 1 ? get_int32(0, 1) : 0;
}

bool take_dropped_number(TenantNumber *number) {
  static constexpr Statement take_dropped_number = {
      "take_dropped_number",
      R"(
        UPDATE insula.tenant_number n
        SET dropped_at = NULL
        WHERE n.tenant_no = (
          SELECT d.tenant_no
          FROM insula.tenant_number d
          WHERE d.dropped_at IS NOT NULL
          ORDER BY d.dropped_at, d.tenant_no
          LIMIT 1
          FOR UPDATE SKIP LOCKED)
        RETURNING n.tenant_no, n.last_value)",
      {},
  };
  if (run(take_dropped_number) != 1) return false;
  *number = {get_int32(0, 1), get_int64(0, 2)};
  return true;
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
    if (take_number(number)) return {number, 0};
  }
  const auto most = static_cast<std::int32_t>(core::max_tenant_number);
  if (const std::int32_t number = take_rare_number(most)) return {number, 0};
  TenantNumber number;
  if (take_dropped_number(&number)) {
    forget_tenant_number(number.number);
    announce_rescheduled(number.number);
    return number;
  }
  ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("this database has run out of tenant numbers"),
                  errdetail("It can have %d tenants.", most),
                  errhint("Drop tenants that are not needed any more, or make new ones in another database.")));
}

void return_tenant_number(std::int32_t number, const char *schema) {
  static constexpr Statement return_number = {
      "return_number",
      R"(
        INSERT INTO insula.tenant_number (tenant_no, dropped_at, last_value)
        VALUES ($1, pg_catalog.clock_timestamp(), $2)
        ON CONFLICT (tenant_no) DO UPDATE SET
          dropped_at = EXCLUDED.dropped_at,
          last_value = greatest(tenant_number.last_value, EXCLUDED.last_value))",
      {INT4OID, INT8OID},
  };
  const Oid space = get_namespace_oid(schema, true);
  const Oid sequence = OidIsValid(space) ? get_relname_relid("id", space) : InvalidOid;
  // Without its sequence the end of the tenant's ids is unknown, so its number is not given again.
  if (!OidIsValid(sequence) || !is_readable_and_ours(sequence)) return;
  LOCAL_FCINFO(call, 1);
  InitFunctionCallInfoData(*call, nullptr, 1, InvalidOid, nullptr, nullptr);
  call->args[0] = {ObjectIdGetDatum(sequence), false};
  const Datum value = pg_sequence_last_value(call);
  Arguments arguments;
  arguments.add(Int32GetDatum(number)).add(call->isnull ? Int64GetDatum(0) : value);
  (void)run(return_number, arguments);
}

}  // namespace insula
