// Insula as a queue: single-task executions of one tenant, worked off by the C++ client.
#include "bench.hpp"
#include "queue.hpp"

#include <fmt/format.h>

namespace bench {

void register_job(const std::string& tenant, int most, const std::string& key) {
  auto builder = insula::Workflow::builder("job").task("run", [](insula::TaskContext&) {});
  if (most > 0) builder.limit(most, key);
  const insula::Workflow workflow = builder.build();
  Sql().value(fmt::format("SELECT insula.register_workflow('{}', tenant => '{}')", workflow.definition_json(), tenant));
}

std::string submit_statement(const std::string& tenant) {
  return fmt::format("SELECT pg_catalog.cardinality(insula.submit_many('job', $1::jsonb[], tenant => '{}'))", tenant);
}

namespace {

class InsulaQueue : public Queue {
 public:
  explicit InsulaQueue(InsulaOptions options) : options_(options) {}

  std::string name() const override {
    switch (options_.limit) {
      case Limit::none:
        return "Insula";
      case Limit::tenant:
        return "Insula, max_running";
      case Limit::workflow:
        return "Insula, limit of the workflow";
      case Limit::key:
        return "Insula, limit of each key";
    }
    return {};
  }
  std::string database() const override { return "postgres"; }

  void make() override {
    static int number = 0;
    tenant_ = fmt::format("bench_{}", number++);
    Sql sql;
    sql.value(fmt::format("SELECT insula.create_tenant('{0}', schema_name => '{0}', login => false)", tenant_));
    const int most = 4 * options_.processes * options_.handlers;
    if (options_.limit == Limit::tenant)
      sql.value(fmt::format("SELECT insula.set_tenant_limits('{}', max_running => {})", tenant_, most));
    if (options_.limit == Limit::workflow)
      register_job(tenant_, most);
    else if (options_.limit == Limit::key)
      register_job(tenant_, 1, "n");
    else
      register_job(tenant_);
  }

  void load(int jobs) override {
    Sql sql;
    sql.prepare("load", submit_statement(tenant_));
    for (int n = 0; n < jobs; n += jobs_a_call)
      sql.execute("load", {jobs_array(n, std::min(jobs_a_call, jobs - n)).c_str()});
    sql.value(fmt::format("ANALYZE {}.work", tenant_));
  }

  std::vector<Command> workers(Use use) const override {
    const int processes = use == Use::pairs ? 4 : options_.processes;
    const int handlers = use == Use::pairs ? 1 : options_.handlers;
    return {static_cast<std::size_t>(processes), worker_command({"insula", tenant_, std::to_string(handlers)})};
  }

  bool has_unfinished() const override {
    return Sql().value(fmt::format("SELECT ready + delayed + running + waiting + paused FROM insula.tenant_activity "
                                   "WHERE tenant = '{}'",
                                   tenant_)) != "0";
  }

  void check(int jobs) const override {
    expect_completed(tenant_, jobs, jobs);
    // The result and the context of a finished execution can be read: a thousand are.
    const std::string readable = Sql().value(
        fmt::format("SELECT count(*) FROM (SELECT execution_id, context FROM {0}.workflow_executions "
                    "ORDER BY hashint8(execution_id) LIMIT 1000) e, insula.result(e.execution_id) r "
                    "WHERE r.status = 'completed' AND r.final_context = e.context AND length(e.context::text) = 200",
                    tenant_));
    if (std::stol(readable) != std::min(jobs, 1000)) give_up(fmt::format("only {} results are as expected", readable));
  }

  void drop() override { Sql().value(fmt::format("SELECT insula.drop_tenant('{}')", tenant_)); }

 protected:
  const std::string& tenant() const { return tenant_; }

 private:
  const InsulaOptions options_;
  std::string tenant_;
};

class InsulaCalls : public InsulaQueue {
 public:
  InsulaCalls() : InsulaQueue(InsulaOptions{}) {}
  std::string name() const override { return "Insula's calls alone"; }
  std::vector<Command> workers(Use) const override {
    return {worker_command({"loop", "postgres", "8",
                            fmt::format("SELECT ROW(task_id, lease), 1, context FROM insula.claim('bench:1:2', "
                                        "ARRAY['job.run'], 1, tenant => '{}')",
                                        tenant()),
                            "SELECT insula.complete(split_part(trim('()' from $1::text), ',', 1)::bigint, "
                            "split_part(trim('()' from $1::text), ',', 2)::bigint)"})};
  }
};

}  // namespace

std::unique_ptr<Queue> insula_calls_queue() { return std::make_unique<InsulaCalls>(); }

std::unique_ptr<Queue> insula_queue(InsulaOptions options) { return std::make_unique<InsulaQueue>(options); }

}  // namespace bench
