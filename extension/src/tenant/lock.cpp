// The tenant's own locks; see lock.hpp.  The tag is of the lock class of user locks, with a method
// that no SQL function takes.
#include "tenant/lock.hpp"

#include "errors.hpp"
#include "tenant/home.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

static LOCKTAG tag_of(std::int32_t tenant, TenantLock kind) {
  LOCKTAG tag;
  tag.locktag_field1 = MyDatabaseId;
  tag.locktag_field2 = static_cast<std::uint32_t>(tenant);
  tag.locktag_field3 = static_cast<std::uint32_t>(kind);
  tag.locktag_field4 = 0;
  tag.locktag_type = LOCKTAG_USERLOCK;
  tag.locktag_lockmethodid = DEFAULT_LOCKMETHOD;
  return tag;
}

bool try_share_life(std::int32_t tenant) {
  const LOCKTAG tag = tag_of(tenant, TenantLock::life);
  return LockAcquire(&tag, RowExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool try_own_life(std::int32_t tenant) {
  const LOCKTAG tag = tag_of(tenant, TenantLock::life);
  return LockAcquire(&tag, AccessExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool try_lock_tenant(std::int32_t tenant, TenantLock kind) {
  const LOCKTAG tag = tag_of(tenant, kind);
  return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

bool is_tenant_locked(std::int32_t tenant, TenantLock kind) {
  const LOCKTAG tag = tag_of(tenant, kind);
  int holders;
  (void)GetLockConflicts(&tag, ExclusiveLock, &holders);
  return holders > 0;
}

void lock_scheduling() {
  LOCKTAG tag = tag_of(0, TenantLock::scheduling);
  // A session lock of the default method would be released when a transaction fails, and would not
  // be when the process ends.
  tag.locktag_lockmethodid = USER_LOCKMETHOD;
  (void)LockAcquire(&tag, ExclusiveLock, true, false);
}

void lock_name(const char *name, NameOf kind) {
  LOCKTAG tag = tag_of(0, TenantLock::life);
  if (kind == NameOf::role) tag.locktag_field1 = InvalidOid;
  tag.locktag_field2 = hash_bytes(reinterpret_cast<const unsigned char *>(name), static_cast<int>(strlen(name)));
  tag.locktag_field3 = static_cast<std::uint32_t>(kind);
  (void)LockAcquire(&tag, ExclusiveLock, false, false);
}

void lock_tenant(std::int32_t tenant, TenantLock kind) {
  const LOCKTAG tag = tag_of(tenant, kind);
  (void)LockAcquire(&tag, ExclusiveLock, false, false);
}

void unlock_tenant(std::int32_t tenant, TenantLock kind) {
  const LOCKTAG tag = tag_of(tenant, kind);
  (void)LockRelease(&tag, ExclusiveLock, false);
}

Tenant *enter_tenant(std::int32_t number) {
  require_home();
  Tenant *tenant = try_share_life(number) ? open_tenant(number) : nullptr;
  if (!tenant) ereport(ERROR, (errcode(INSULA_NO_TENANT), errmsg("the tenant is being dropped or has been dropped")));
  if (tenant->suspended)
    ereport(ERROR, (errcode(INSULA_SUSPENDED), errmsg("tenant \"%s\" is suspended", tenant->name)));
  return tenant;
}

}  // namespace insula
