// The handles that wait for executions to end.
//
// WaitState is shared between an Execution's copies and the I/O thread; Waits is the I/O
// thread's register of them.  An execution that may have ended is asked about in batches;
// when no handle holds its WaitState any more it is forgotten.  What the server cannot answer now
// is asked again after a pause, in smaller batches.
#pragma once

#include "runtime/settings.hpp"
#include "wire/backoff.hpp"
#include "wire/calls.hpp"

#include <insula/error.hpp>
#include <insula/result.hpp>

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace insula::detail {

// The first answer stays.
struct WaitState {
  WaitState() = default;
  explicit WaitState(std::string of_tenant) : tenant(std::move(of_tenant)) {}

  const std::string tenant;  // of the execution, as the face knows it
  std::mutex mutex;
  std::condition_variable changed;
  bool registered = false;  // under mutex, as all below: the I/O thread knows of it
  std::shared_ptr<const wire::ResultRow> result;
  std::optional<error> failure;
  // The I/O thread's, for its own wait: called once with the end; nullptr: it will not be known.
  std::function<void(const wire::ResultRow*)> on_end = {};

  void settle(const std::shared_ptr<const wire::ResultRow>& ended);
  void settle(const error& why);
  void reopen();  // the execution runs again
};

class Waits {
 public:
  bool empty() const noexcept { return waiting_.empty(); }

  void add(std::int64_t execution, const std::shared_ptr<WaitState>& state);
  // It, or any of them, may have ended: to be asked about.
  void suspect(std::int64_t execution);
  void suspect_all();

  // When there is something to ask.
  Clock::time_point ask_at() const noexcept {
    return to_ask_.empty() && to_ask_alone_.empty() ? Clock::time_point::max() : not_before_;
  }
  wire::Ids take_batch();
  void on_answer(std::vector<wire::ResultRow> results);  // what has not ended is not in it
  void on_lost(const wire::Ids& asked);                  // to be asked again, fewer at a time
  void on_refused(const wire::Ids& asked, const error& why);
  void fail_all(const error& why);
  // It runs again: those that know its end will wait for the next.
  void reopen(std::int64_t execution);

 private:
  template <class Answer>
  void settle(std::int64_t execution, const Answer& answer);

  void remember(std::int64_t execution, std::vector<std::weak_ptr<WaitState>> settled);

  using States = std::unordered_map<std::int64_t, std::vector<std::weak_ptr<WaitState>>>;
  States waiting_;
  States settled_;  // whose handles are still there, and some others
  std::size_t sweep_at_ = 1'000;
  std::size_t batch_limit_ = 100;
  Clock::time_point not_before_{};
  wire::Backoff pauses_{std::chrono::milliseconds{100}, std::chrono::milliseconds{2'000}};
  std::set<std::int64_t> to_ask_;
  std::vector<std::int64_t> to_ask_alone_;  // were in a batch that the server refused
};

}  // namespace insula::detail
