// Multi-tenancy, in two programs.
//
// The basic demo gives each of three tenants a runner of its own, by schema.  The advanced
// demo provisions three tenants with a login each, onboards them, gives them work, and
// lets all three work at once.  At the end every tenant, with its own login, tries to read
// another's executions, and PostgreSQL refuses.
//
//   ADMIN_DATABASE_URL=postgresql://admin:admin@localhost/mydb ./multi_tenant
//
// The database needs `CREATE EXTENSION insula`, the user the rights of insula_admin.  It
// can be run again on the same database: tenants that are there are kept.
#include <insula/insula.hpp>

#include <fmt/format.h>
#include <libpq-fe.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

// Handlers print from their own threads: a line at a time.
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  static std::mutex mutex;
  const std::lock_guard lock{mutex};
  fmt::print("{}\n", fmt::format(format, std::forward<Args>(args)...));
  std::fflush(stdout);
}

std::string rule(std::string_view character, int length) {
  std::string line;
  for (int i = 0; i < length; ++i) line += character;
  return line;
}

std::string admin_database_url() {
  const char* url = std::getenv("ADMIN_DATABASE_URL");
  return url ? url : "postgresql://admin:admin@localhost/insula";
}

// ------------------------------------------------------------- the basic program

void process_customer_data(insula::TaskContext& context) {
  const auto tenant_id = context.get<std::string>("tenant_id").value_or("");
  const auto customer_name = context.get<std::string>("customer_name").value_or("");

  info("Processing data for customer: {} (tenant: {})", customer_name, tenant_id);

  // Simulate customer-specific processing
  const int processed_records = tenant_id == "acme_corp"    ? 1250
                                : tenant_id == "globex_inc" ? 890
                                : tenant_id == "initech"    ? 430
                                                            : 100;

  info("Processed {} records for {}", processed_records, customer_name);

  context.set("processed_records", processed_records);
  context.set("processing_completed", true);
}

insula::Workflow customer_processing_workflow() {
  return insula::Workflow::builder("customer_processing")
      .description("Process customer data in isolated tenant environment")
      .task("process_customer_data", process_customer_data)
      .build();
}

void basic_multi_tenant_demo() {
  info("=== Basic Multi-Tenant Demo ===");

  const std::string database_url = admin_database_url();

  // Create tenant-specific runners
  std::map<std::string, insula::Runner> tenant_runners;

  const std::vector<std::string> tenants{"acme_corp", "globex_inc", "initech"};

  for (const auto& tenant_id : tenants) {
    info("Creating runner for tenant: {}", tenant_id);

    // Create runner with tenant-specific schema
    auto runner = insula::Runner::with_schema(database_url, tenant_id);
    runner.add(customer_processing_workflow());
    tenant_runners.emplace(tenant_id, runner);

    info("✓ Tenant {} runner created with schema isolation", tenant_id);
  }

  // Execute workflows for each tenant
  for (const auto& [tenant_id, runner] : tenant_runners) {
    info("Executing workflow for tenant: {}", tenant_id);

    auto context =
        insula::Context{}.with("tenant_id", tenant_id).with("customer_name", fmt::format("{} Customer", tenant_id));

    const insula::Result result = runner.execute("customer_processing", std::move(context));

    if (result.status.is_success()) {
      const int records = result.final_context.get<int>("processed_records").value_or(0);
      info("✓ Tenant {} completed: {} records processed", tenant_id, records);
    } else {
      info("✗ Tenant {} failed: {}", tenant_id, result.status.name());
    }
  }

  // Shutdown all runners
  for (auto& [tenant_id, runner] : tenant_runners) {
    info("Shutting down runner for tenant: {}", tenant_id);
    runner.shutdown();
  }

  info("Basic multi-tenant demo completed successfully");
}

// ---------------------------------------------------------- the advanced program

void tenant_onboarding(insula::TaskContext& context) {
  const auto tenant_name = context.get<std::string>("tenant_name").value_or("");
  const auto tenant_type = context.get<std::string>("tenant_type").value_or("");

  info("Onboarding new tenant: {} (type: {})", tenant_name, tenant_type);

  // Simulate tenant-specific setup
  std::vector<std::string> setup_tasks{"provision_resources"};
  if (tenant_type == "enterprise")
    setup_tasks = {"provision_resources", "setup_integrations", "configure_billing", "setup_support"};
  else if (tenant_type == "professional")
    setup_tasks = {"provision_resources", "setup_integrations", "configure_billing"};
  else if (tenant_type == "starter")
    setup_tasks = {"provision_resources", "configure_billing"};

  info("Executing {} setup tasks for {}", setup_tasks.size(), tenant_name);

  for (const auto& task : setup_tasks) info("  ✓ Completed: {}", task);

  context.set("onboarding_completed", true);
  context.set("setup_tasks_count", setup_tasks.size());
  context.set("tenant_status", "active");
}

// Phase 3 lets three handlers print at once: held back, and printed in the tenants' order.
struct HeldLines {
  std::mutex mutex;
  bool holding = false;
  std::map<std::string, std::vector<std::string>> by_tenant;

  void say(const std::string& tenant_id, std::string line) {
    const std::lock_guard lock{mutex};
    if (holding)
      by_tenant[tenant_id].push_back(std::move(line));
    else
      info("{}", line);
  }
} held_lines;

void process_tenant_data(insula::TaskContext& context) {
  const auto tenant_id = context.get<std::string>("tenant_id").value_or("");
  const auto data_volume = context.get<std::string>("data_volume").value_or("");

  held_lines.say(tenant_id, fmt::format("Processing {} data for tenant: {}", data_volume, tenant_id));

  // Simulate data processing based on volume
  const auto [processing_time, records_processed] = data_volume == "large"    ? std::pair{5000, 50000}
                                                    : data_volume == "medium" ? std::pair{2000, 15000}
                                                    : data_volume == "small"  ? std::pair{500, 2000}
                                                                              : std::pair{100, 100};

  // Simulate processing delay
  std::this_thread::sleep_for(std::chrono::milliseconds{processing_time / 10});

  held_lines.say(tenant_id,
                 fmt::format("Processed {} records in {}ms for {}", records_processed, processing_time, tenant_id));

  context.set("records_processed", records_processed);
  context.set("processing_time_ms", processing_time);
  context.set("processing_status", "completed");
}

insula::Workflow tenant_onboarding_workflow() {
  return insula::Workflow::builder("tenant_onboarding")
      .description("Complete tenant onboarding process")
      .task("tenant_onboarding", tenant_onboarding)
      .build();
}

insula::Workflow tenant_data_processing_workflow() {
  return insula::Workflow::builder("tenant_data_processing")
      .description("Process tenant-specific data with isolation")
      .task("process_tenant_data", process_tenant_data)
      .build();
}

class TenantManager {
 public:
  explicit TenantManager(std::string_view admin_database_url) : admin_(admin_database_url) {}

  const insula::TenantCredentials& provision_tenant(const std::string& tenant_id, const std::string& tenant_name) {
    info("Provisioning tenant: {} ({})", tenant_name, tenant_id);

    // Create tenant configuration
    const insula::TenantConfig tenant_config{
        .schema_name = fmt::format("tenant_{}", tenant_id),
        .username = fmt::format("{}_user", tenant_id),
        .password = "",  // Auto-generate secure password
    };

    // Create tenant using admin API; on a second run it is there, and gets a new password
    insula::TenantCredentials credentials = admin_.find_tenant(tenant_config.schema_name)
                                                ? admin_.rotate_password(tenant_config.schema_name)
                                                : admin_.create_tenant(tenant_config);

    info("✓ Tenant {} provisioned successfully", tenant_id);
    info("  Schema: {}", credentials.schema_name);
    info("  Username: {}", credentials.username);
    info("  Connection ready");

    return credentials_.insert_or_assign(tenant_id, std::move(credentials)).first->second;
  }

  void create_tenant_runner(const std::string& tenant_id) {
    const insula::TenantCredentials& credentials = credentials_.at(tenant_id);

    info("Creating runner for tenant: {}", tenant_id);

    // Create runner with tenant-specific credentials
    auto runner = insula::Runner::with_config(credentials.connection_string,
                                              insula::RunnerConfig::builder()
                                                  .max_connections(5)  // Limit per tenant
                                                  .build());
    runner.add(tenant_onboarding_workflow());
    runner.add(tenant_data_processing_workflow());
    runners_.emplace(tenant_id, runner);

    info("✓ Runner created for tenant {} with isolated credentials", tenant_id);
  }

  void onboard_customer(const std::string& tenant_id, const std::string& tenant_name, const std::string& tenant_type) {
    info("Starting complete onboarding for: {} ({})", tenant_name, tenant_id);

    // Step 1: Provision tenant infrastructure
    provision_tenant(tenant_id, tenant_name);

    // Step 2: Create tenant runner
    create_tenant_runner(tenant_id);

    // Step 3: Execute onboarding workflow
    const insula::Result result = runner(tenant_id).execute(
        "tenant_onboarding", {{"tenant_id", tenant_id}, {"tenant_name", tenant_name}, {"tenant_type", tenant_type}});

    if (result.status.is_success()) {
      const auto task_count = result.final_context.get<std::size_t>("setup_tasks_count").value_or(0);
      info("✓ Tenant {} onboarded successfully with {} setup tasks", tenant_id, task_count);
    } else {
      info("✗ Tenant {} onboarding failed: {}", tenant_id, result.status.name());
    }
  }

  void process_tenant_workload(const std::string& tenant_id, const std::string& data_volume) {
    info("Processing {} workload for tenant: {}", data_volume, tenant_id);

    const insula::Result result =
        runner(tenant_id).execute("tenant_data_processing", {{"tenant_id", tenant_id}, {"data_volume", data_volume}});

    if (result.status.is_success()) {
      const int records = result.final_context.get<int>("records_processed").value_or(0);
      const int time_ms = result.final_context.get<int>("processing_time_ms").value_or(0);
      info("✓ Processed {} records in {}ms for tenant {}", records, time_ms, tenant_id);
    } else {
      info("✗ Processing failed for tenant {}: {}", tenant_id, result.status.name());
    }
  }

  const insula::Runner& runner(const std::string& tenant_id) const { return runners_.at(tenant_id); }
  const insula::TenantCredentials& credentials(const std::string& tenant_id) const {
    return credentials_.at(tenant_id);
  }

  void shutdown_all() {
    info("Shutting down all tenant runners...");

    for (auto& [tenant_id, runner] : runners_) {
      info("Shutting down runner for tenant: {}", tenant_id);
      runner.shutdown();
    }
    runners_.clear();

    info("All tenant runners shut down successfully");
  }

 private:
  insula::DatabaseAdmin admin_;
  std::map<std::string, insula::Runner> runners_;
  std::map<std::string, insula::TenantCredentials> credentials_;
};

struct Customer {
  std::string tenant_id;
  std::string name;
  std::string type;
};

// The output of a concurrent execution, once it is over.
std::string concurrent_execution(insula::Runner runner, const std::string& tenant_id) {
  try {
    const auto result = runner.execute("tenant_data_processing", {{"tenant_id", tenant_id}, {"data_volume", "medium"}});
    if (!result.status.is_success())
      return fmt::format("⚠️  Concurrent processing failed for {}: {}", tenant_id, result.status.name());
    const int records = result.final_context.get<int>("records_processed").value_or(0);
    return fmt::format("🔄 Concurrent processing for {}: {} records", tenant_id, records);
  } catch (const insula::error& e) {
    return fmt::format("❌ Concurrent processing error for {}: {}", tenant_id, e.what());
  }
}

void demonstrate_isolation(const TenantManager& tenant_manager, const std::vector<Customer>& tenants) {
  held_lines.holding = true;

  // Simulate concurrent processing to show isolation
  std::vector<std::future<std::string>> handles;
  for (const Customer& tenant : tenants) {
    // A copy of a runner is a second handle to the same one
    insula::Runner runner_clone = tenant_manager.runner(tenant.tenant_id);
    handles.push_back(std::async(std::launch::async, concurrent_execution, runner_clone, tenant.tenant_id));
  }

  // Wait for all concurrent executions
  std::vector<std::string> results;
  for (auto& handle : handles) results.push_back(handle.get());

  for (const auto& [tenant_id, lines] : held_lines.by_tenant)
    for (const std::string& line : lines) info("{}", line);
  for (const std::string& result : results) info("{}", result);
}

void advanced_multi_tenant_demo(TenantManager& tenant_manager, const std::vector<Customer>& tenants) {
  info("=== Advanced Multi-Tenant Demo with Admin API ===");

  // Phase 1: Tenant Onboarding
  info("Phase 1: Complete Tenant Onboarding");
  info("{}", rule("-", 40));

  for (const auto& [tenant_id, tenant_name, tenant_type] : tenants) {
    try {
      tenant_manager.onboard_customer(tenant_id, tenant_name, tenant_type);
      info("✅ {} onboarded successfully", tenant_name);
    } catch (const std::exception& e) {
      info("❌ Failed to onboard {}: {}", tenant_name, e.what());
    }
  }

  // Phase 2: Workload Processing
  info("\nPhase 2: Tenant Workload Processing");
  info("{}", rule("-", 40));

  const std::vector<std::pair<std::string, std::string>> workloads{
      {"acme_corp", "large"},
      {"globex_inc", "medium"},
      {"initech", "small"},
      {"acme_corp", "medium"},  // Multiple workloads for same tenant
  };

  for (const auto& [tenant_id, volume] : workloads) {
    try {
      tenant_manager.process_tenant_workload(tenant_id, volume);
      info("✅ {} workload completed for {}", volume, tenant_id);
    } catch (const std::exception& e) {
      info("❌ Failed {} workload for {}: {}", volume, tenant_id, e.what());
    }
  }

  // Phase 3: Demonstrate Isolation
  info("\nPhase 3: Demonstrating Tenant Isolation");
  info("{}", rule("-", 40));

  demonstrate_isolation(tenant_manager, tenants);

  info("✅ All concurrent executions completed with full isolation");

  // Cleanup
  tenant_manager.shutdown_all();

  info("🎉 Advanced multi-tenant demo completed successfully!");
}

// ------------------------------------------------------------------- and the proof

// true: PostgreSQL refused.
bool try_to_read(const insula::TenantCredentials& reader, const insula::TenantCredentials& owner) {
  const std::unique_ptr<PGconn, void (*)(PGconn*)> conn{PQconnectdb(reader.connection_string.c_str()), PQfinish};
  const auto count = [&](const std::string& schema) {
    const std::string query = fmt::format("SELECT count(*) > 0 FROM {}.task_executions", schema);
    return std::unique_ptr<PGresult, void (*)(PGresult*)>{PQexec(conn.get(), query.c_str()), PQclear};
  };
  // One's own first: so it is not the table's absence that is refused.
  const auto own = count(reader.schema_name);
  if (PQresultStatus(own.get()) != PGRES_TUPLES_OK || std::string_view{PQgetvalue(own.get(), 0, 0)} != "t") {
    info("❌ {} cannot read its own {}.task_executions", reader.username, reader.schema_name);
    return false;
  }
  const auto other = count(owner.schema_name);
  if (PQresultStatus(other.get()) == PGRES_TUPLES_OK) {
    info("❌ {} can read {}.task_executions", reader.username, owner.schema_name);
    return false;
  }
  const char* state = PQresultErrorField(other.get(), PG_DIAG_SQLSTATE);
  const char* message = PQresultErrorField(other.get(), PG_DIAG_MESSAGE_PRIMARY);
  info("🔒 {} reads {}.task_executions: refused by PostgreSQL: {} ({})", reader.username, owner.schema_name, message,
       state);
  return std::string_view{state} == "42501";
}

bool cross_tenant_queries(const TenantManager& tenant_manager, const std::vector<Customer>& tenants) {
  info("=== No cross-tenant queries possible ===");
  bool refused = true;
  for (std::size_t i = 0; i < tenants.size(); ++i) {
    const auto& reader = tenant_manager.credentials(tenants[i].tenant_id);
    const auto& owner = tenant_manager.credentials(tenants[(i + 1) % tenants.size()].tenant_id);
    refused = try_to_read(reader, owner) && refused;
  }
  return refused;
}

}  // namespace

int main() {
  try {
    // Run basic demo
    basic_multi_tenant_demo();

    info("\n{}\n", rule("=", 60));

    // Run advanced demo
    const std::vector<Customer> tenants{
        {"acme_corp", "Acme Corporation", "enterprise"},
        {"globex_inc", "Globex Industries", "professional"},
        {"initech", "Initech Solutions", "starter"},
    };
    TenantManager tenant_manager{admin_database_url()};
    advanced_multi_tenant_demo(tenant_manager, tenants);

    info("\n{}\n", rule("=", 60));

    return cross_tenant_queries(tenant_manager, tenants) ? 0 : 1;
  } catch (const insula::error& e) {
    fmt::print(stderr, "{}: {}\n", name(e.code()), e.what());
    return 1;
  }
}
