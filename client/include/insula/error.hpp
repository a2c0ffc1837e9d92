// SPDX-License-Identifier: PostgreSQL
// The errors that the library throws.  There is one class, insula::error, that says what to
// do: code() is for a switch, retryable() and outcome_unknown() for a retry loop,
// what() for people.  No message ever holds a password.
//
// A handler speaks by exceptions too: permanent_error ends its task without another
// attempt, retry_after says when the next one is to come, stopped says "I was asked to stop
// and did"; any other exception is a failed attempt whose what() is kept as the task's error.
#pragma once

#include <insula/export.hpp>

#include <chrono>
#include <exception>
#include <iosfwd>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

namespace insula {

// The kinds of errors, by what a caller can do about them.
enum class errc {
  unreachable,        // no connection, or it broke: later, or elsewhere
  authentication,     // the server refuses this user or password
  extension_missing,  // the database has no `CREATE EXTENSION insula`
  version_mismatch,   // the database's extension does not go with this library
  not_found,          // no such tenant, workflow, execution
  already_exists,     // a tenant, schema or role of that name
  invalid,            // an argument, definition or context breaks its rules; or a value is absent
  permission,         // the server says this user may not
  limit,              // a limit of the tenant or server is reached
  suspended,          // the tenant is suspended, or the database is a copy not yet adopted
  would_deadlock,     // a handler asked to wait for what needs its own slot
  shut_down,          // the runner was shut down
  server,             // anything else the server reported: see sqlstate()
  failed,             // an execution whose output was asked for did not complete
};

// The enumerator's name, as in "unreachable".
INSULA_EXPORT std::string_view name(errc code) noexcept;
INSULA_EXPORT std::ostream& operator<<(std::ostream& out, errc code);

// Copies are cheap and do not throw.
class INSULA_EXPORT error : public std::exception {
 public:
  error(errc code, std::string message);
  error(errc code, std::string message, std::string sqlstate, bool retryable, bool outcome_unknown = false);

  errc code() const noexcept;
  // Five characters, or empty if it was not the server that spoke.
  const std::string& sqlstate() const noexcept;
  // The same call may succeed later without anything being changed.
  bool retryable() const noexcept;
  // The connection broke after the statement was sent: it may or may not have been
  // committed.  Only a submit or an event without an idempotency key end so, and Executions'
  // verbs; all else is sent again by the library, since doing it twice is the same as once.
  bool outcome_unknown() const noexcept;
  const char* what() const noexcept override;

 private:
  struct State;
  std::shared_ptr<const State> state_;
};

// Thrown by a handler: the task fails now, whatever attempts are left.
class INSULA_EXPORT permanent_error : public std::runtime_error {
 public:
  [[nodiscard]] explicit permanent_error(const std::string& why) : std::runtime_error(why) {}
  [[nodiscard]] explicit permanent_error(const char* why) : std::runtime_error(why) {}
};

// Thrown by a handler: not now.  The task starts again from its beginning after the delay, on
// any worker, whatever delays and condition its retry policy has.  It has used an attempt, so that it does not do so
// for ever: after the last one the task fails, with `why`.  What was set is dropped.
//
//   throw insula::retry_after{std::chrono::minutes{1}, "too many requests"};
//   throw insula::retry_after::without_attempt(std::chrono::minutes{1});   // no attempt, 1,000 times at most
class INSULA_EXPORT retry_after : public std::runtime_error {
 public:
  [[nodiscard]] explicit retry_after(std::chrono::milliseconds delay, const std::string& why = "not now")
      : retry_after(delay, why, 0) {}
  // The first `most` runs of the task that end so, 1 to 1,000, use no attempt; those after them do.
  [[nodiscard]] static retry_after without_attempt(std::chrono::milliseconds delay, const std::string& why = "not now",
                                                   int most = 1'000) {
    return {delay, why, most};
  }

  std::chrono::milliseconds delay() const noexcept { return delay_; }
  int free_retries() const noexcept { return free_retries_; }  // 0: it uses an attempt

 private:
  retry_after(std::chrono::milliseconds delay, const std::string& why, int free_retries)
      : std::runtime_error(why), delay_(delay), free_retries_(free_retries) {}

  std::chrono::milliseconds delay_;
  int free_retries_;
};

// Thrown by TaskContext::throw_if_stopped().
class INSULA_EXPORT stopped : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace insula
