// SPDX-License-Identifier: PostgreSQL
// How an execution stands, or ended.  Plain values, nothing here touches the server.
#pragma once

#include <insula/context.hpp>
#include <insula/export.hpp>

#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula {

// The status of an execution or of a task.  An execution is pending, running, paused,
// completed, failed or cancelled; a task is pending (its dependencies are open), ready,
// running, waiting (deferred), completed, failed, skipped or cancelled.
class INSULA_EXPORT Status {
 public:
  enum Word { pending, ready, running, waiting, paused, completed, failed, skipped, cancelled, unknown };

  constexpr Status(Word word = pending) noexcept : word_(word) {}
  // `unknown` for a word that a later server may have and this library has not.
  static Status from_name(std::string_view name) noexcept;

  // Of an execution: every task ended as the workflow foresees.  One that failed may be among them,
  // where another task's trigger_rule asked for that, as to clean up: see Result::tasks.
  [[nodiscard]] constexpr bool is_success() const noexcept { return word_ == completed; }
  [[nodiscard]] constexpr bool is_final() const noexcept {
    return word_ == completed || word_ == failed || word_ == skipped || word_ == cancelled;
  }
  std::string_view name() const noexcept;  // the server's word: "completed"
  constexpr operator Word() const noexcept { return word_; }

 private:
  Word word_;
};

INSULA_EXPORT std::ostream& operator<<(std::ostream& out, Status status);
INSULA_EXPORT std::string to_string(Status status);

// One task of an execution.
struct TaskResult {
  std::string task;
  Status status;
  int attempt = 0;    // how many runs it had
  std::string error;  // of its last failed attempt; empty if none
  // How far it has come, and a word about it, while the execution goes on: see TaskContext::progress.
  std::optional<double> progress = {};
  std::string note = {};
};

// Why a task is where it is, for people to read.
struct TaskExplanation {
  std::string task;
  Status status;
  std::string why;  // which dependency, limit or pause holds it up, which worker runs it, why it failed ...
};

struct Result {
  std::int64_t execution_id = 0;
  std::string workflow;
  int version = 0;
  Status status;
  Context final_context;          // the input and every task's changes; empty until the end
  std::string error;              // why it failed or was cancelled; empty if it did not
  std::vector<TaskResult> tasks;  // in topological order
};

}  // namespace insula
