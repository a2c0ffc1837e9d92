// Compiled, never run: where the compiler must warn that a result is ignored, which is each line that says so at its
// end, and no other; and with INSULA_WARN_DEPRECATED that a call is deprecated, likewise.
#include <insula/insula.hpp>
#include <insula/testing.hpp>

namespace {

using namespace insula;
using std::chrono::seconds;

Suspend handler(TaskContext& ctx) {
  ctx.get<int>("n");                         // warns
  ctx.contains("n");                         // warns
  ctx.last_checkpoint<int>();                // warns
  ctx.stop_requested();                      // warns
  ctx.stop_token();                          // warns
  defer_for(seconds{1});                     // warns
  defer_until({});                           // warns
  wait_event("paid");                        // warns
  submit_child("w");                         // warns
  permanent_error{"no such thing"};          // warns
  retry_after{seconds{1}};                   // warns
  retry_after::without_attempt(seconds{1});  // warns
  ctx.set("n", 1).erase("m");
  ctx.checkpoint(1);
  ctx.transaction();
  return defer_for(seconds{1});
}

void former_ways(TaskContext& ctx) {
  ctx.defer_until(std::chrono::system_clock::now());  // deprecated
  ctx.defer_until(seconds{1});                        // deprecated
  ctx.wait_event("paid");                             // deprecated
  ctx.submit_child("w");                              // deprecated
}

void contexts(Context& context, const Value& value) {
  context.with("n", 1);        // warns
  context.with("n", {1, 2});   // warns
  Context{}.with("n", 1);      // warns
  context.get<int>("n");       // warns
  context.contains("n");       // warns
  context.find("n");           // warns
  context.keys();              // warns
  context.empty();             // warns
  value.as<int>();             // warns
  context_of(context);         // warns
  value_of<Context>(context);  // warns
  context.set("n", 1);
  context.erase("n");
}

void executions(const Runner& runner, const Fleet::Tenant& tenant, const Execution& execution, PGconn* conn) {
  runner.executions().list();                 // warns
  runner.executions().failures();             // warns
  tenant.executions();                        // warns
  runner.execution(1);                        // warns
  execution.send_event("paid");               // warns
  execution.explain();                        // warns
  execution.result();                         // warns
  execution.result().status.is_success();     // warns
  enqueue_once(conn, "w");                    // warns
  enqueue_statement("w");                     // warns
  Typed<Context, Context>::output(Result{});  // warns
  runner.next_fires("@daily");                // warns
  runner.metrics();                           // warns
  ShutdownReport{}.clean();                   // warns
  RunnerConfig::builder().build();            // warns
  Runner::with_config("", {});                // warns
  runner.execute_async("w");
  runner.executions().cancel({});
  execution.cancel();
  enqueue(conn, "w");
}

void workflows(testing::Cluster& cluster, const Workflow& workflow, DatabaseAdmin& admin) {
  Workflow::builder("w");                // warns
  task<Context>([](const Context&) {});  // warns
  RetryCondition::matching({"busy"});    // warns
  testing::run_task(workflow, "t");      // warns
  cluster.enqueued("acme", "w");         // warns
  admin.rotate_password("acme");         // warns
  admin.find_tenant("acme");             // warns
  admin.audit();                         // warns
  admin.reconcile();                     // warns
  admin.upgrade_tenants();               // warns
  is_valid_tenant_id("acme");            // warns
  admin.suspend_tenant("acme");
  cluster.query("SELECT 1");
}

}  // namespace

void use() {
  (void)&handler;
  (void)&former_ways;
  (void)&contexts;
  (void)&executions;
  (void)&workflows;
}
