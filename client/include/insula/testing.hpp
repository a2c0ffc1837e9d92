// SPDX-License-Identifier: PostgreSQL
// For tests of your own workflows.
//
// Without a database, in microseconds: run one task, and look at what came of it.
//
//   const insula::Workflow workflow = insula::Workflow::builder("w").task("count", count).build();
//   const insula::Context input{{"words", std::vector<std::string>{"a", "b"}}};
//   auto run = insula::testing::run_task(workflow, "count", {.context = input});
//   EXPECT_EQ(run.changes.at<int>("word_count"), 2);
//
// A handler that calls ctx.transaction() gets a connection of yours: here in a transaction that is rolled back.
//
//   PQclear(PQexec(conn, "BEGIN"));
//   auto booked = insula::testing::run_task(booking, "book", {.context = {{"amount", 5}}, .connection = conn});
//   EXPECT_EQ(booked.outcome, insula::TaskOutcome::completed);
//   PQclear(PQexec(conn, "ROLLBACK"));
//
// With one: a PostgreSQL of its own, thrown away at the end (link insula::testing).
//
//   insula::testing::Cluster cluster;                       // a second or so: one for all tests
//   auto runner = insula::Runner::with_schema(cluster.connection_string(), "acme");
//   runner.add(workflow);
//   place_order();                                          // the code under test
//   cluster.require_enqueued("acme", "w", {{"order", 42}});
//   cluster.drain();                                        // all that was started has ended
//   cluster.advance_clock(std::chrono::hours{24});          // and what is due till tomorrow has begun
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>
#include <insula/observer.hpp>
#include <insula/task_context.hpp>
#include <insula/workflow.hpp>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula::testing {

// The input of a handler.
struct TaskInput {
  Context context = {};
  int attempt = 1;
  int max_attempts = 3;
  std::string tenant = "test_tenant";
  Value item = {};                               // of a for_each task
  std::optional<Event> event = {};               // that has ended its wait
  StopReason stop_requested = StopReason::none;  // else it is asked to stop from the start
  std::optional<Value> checkpoint = {};          // that an earlier run has saved
  // Given by ctx.transaction(); none: error{invalid}.  Where it is in no transaction, the first call begins one,
  // which is committed if the task is completed or put off, and else rolled back.  In one of yours nothing is sent:
  // look at what the handler has done, and roll it back.
  PGconn* connection = nullptr;
};

// The outcome of the run.
struct TaskRun {
  TaskOutcome outcome = TaskOutcome::completed;
  Context changes = {};  // what it hands over; of one that is put off, what it keeps
  std::string error = {};
  bool permanent = false;  // failed for good

  // The delay that a deferred run asked for.
  std::optional<std::chrono::milliseconds> delay = {};
  std::optional<std::chrono::system_clock::time_point> until = {};
  std::string event = {};  // waits for
  std::optional<std::chrono::milliseconds> event_timeout = {};
  std::string child = {};  // goes on in an execution of this workflow
  Context child_context = {};

  std::optional<Value> checkpoint = {};  // the last that it has saved
  std::optional<double> progress = {};
  std::string note = {};                                   // to that
  std::optional<std::chrono::milliseconds> retry_in = {};  // of a failed one that has said so by retry_after
  int free_retries = 0;                                    // of that: see retry_after::without_attempt
};

// Calls the task's handler, on this thread.  Does not throw what the handler throws: that is
// in the TaskRun.  Throws error{not_found} if the workflow has no such task.
[[nodiscard]] INSULA_EXPORT TaskRun run_task(const Workflow& workflow, std::string_view task, TaskInput input = {});

struct ClusterOptions {
  // The directory of initdb and postgres, with the extension installed; empty: the environment
  // variable INSULA_PGBIN, else pg_config --bindir (of the one that PG_CONFIG names).
  std::filesystem::path bindir = {};
  bool preload = true;                     // shared_preload_libraries = 'insula'
  std::vector<std::string> settings = {};  // further lines of postgresql.conf
};

// An execution that was started.
struct Enqueued {
  std::int64_t execution_id = 0;
  std::string status;
  Context context;
  int priority = 0;
};

// A PostgreSQL cluster in a directory of its own, on a unix socket, with the extension in it.
// It ends with the object, or with the thread that made it, if that is killed (only then its
// directory stays).  As root it runs as the user postgres, or nobody.  Thread-safe but for construction and
// destruction. Everything throws insula::error.
class INSULA_EXPORT Cluster {
 public:
  explicit Cluster(ClusterOptions options = {});
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  // As the superuser.
  const std::string& connection_string() const noexcept;

  // One statement; the rows as text, NULL as the empty string.
  std::vector<std::vector<std::string>> query(const std::string& sql, const std::vector<std::string>& params = {});

  // Waits until no execution of any tenant is left that could go on by itself: what waits for
  // an event or a time counts as done.  Throws error{limit} after `within`.
  void drain(std::chrono::milliseconds within = std::chrono::seconds{30});

  // The tenant's executions of the workflow, oldest first.
  [[nodiscard]] std::vector<Enqueued> enqueued(const std::string& tenant, const std::string& workflow);
  // The oldest whose input holds at least `input`.  Throws error{not_found} that lists those
  // that there are.
  Enqueued require_enqueued(const std::string& tenant, const std::string& workflow, const Context& input = {});

  // Virtual time: moves the database's clock ahead, dealing with whatever becomes due on the
  // way as if its time had come.  Needs `preload`.
  void advance_clock(std::chrono::milliseconds by);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace insula::testing
