// Rules of retention, by workflow and status.
#include "provision/tenants.hpp"
#include "shared/shared.hpp"
#include "spi/session.hpp"

namespace insula {

namespace {

constexpr Statement delete_rule = {
    "delete_retention_rule",
    R"(
      DELETE FROM insula.retention_rule
      WHERE tenant_no = $1 AND workflow = $2 AND status = $3)",
    {INT4OID, TEXTOID, TEXTOID},
};

constexpr Statement put_rule = {
    "put_retention_rule",
    R"(
      INSERT INTO insula.retention_rule (tenant_no, workflow, status, retain)
      VALUES ($1, $2, $3, $4)
      ON CONFLICT (tenant_no, workflow, status) DO UPDATE SET retain = EXCLUDED.retain)",
    {INT4OID, TEXTOID, TEXTOID, INTERVALOID},
};

}  // namespace

void set_retention(const Tenant &cached, const NewRetention &rule) {
  const Tenant tenant = cached;
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant.number)).add_text(rule.workflow ? rule.workflow : "");
  arguments.add_text(rule.status ? rule.status : "");
  const char *retain = rule.forget ? "no rule" : rule.forever ? "-1" : period_text(rule.retain);
  const Session session = open_session();
  if (rule.forget) {
    (void)run(delete_rule, arguments);
  } else {
    arguments.add_nullable(rule.retain, rule.forever);
    (void)run(put_rule, arguments);
  }
  (void)log_act("set_retention", tenant.name,
                psprintf("%s, %s: %s", rule.workflow ? rule.workflow : "any workflow",
                         rule.status ? rule.status : "any status", retain));
  close_session(session);
  // A sweep may be due at once.
  announce_changed(tenant.number);
  announce_rescheduled(tenant.number);
  invalidate_tenants();
  CommandCounterIncrement();
}

}  // namespace insula
