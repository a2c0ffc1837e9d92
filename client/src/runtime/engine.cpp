// The loop of the I/O thread, what other threads ask of it, and the way down.
#include "runtime/engine.hpp"

#include "core/ids.hpp"
#include "wire/forever.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <poll.h>

#include <algorithm>
#include <array>
#include <future>
#include <system_error>

namespace insula::detail {

namespace {

using std::chrono::milliseconds;

// While more outcomes are to come soon, how long the first may wait for them.
constexpr milliseconds gather_time{1};

// Claims stop while this number of outcomes waits to be sent.  What is put off of one tenant of many
// stops only that tenant's claims: see Outcomes::crowded.
constexpr std::size_t backlog_limit = 10'000;

// The last phases of a shutdown, each bounded.
constexpr milliseconds flush_time{5'000};
constexpr milliseconds leave_time{2'000};

error no_thread_error(const std::system_error& why) {
  return {errc::limit, fmt::format("not all threads can be made: {}", why.what()), {}, true};
}

error shut_down_error() { return {errc::shut_down, "the runner is shut down"}; }

// A handler's question.  A handler may outlive the runtime, so all that it holds of that is the inbox, which takes no
// job then.
wire::Rows ask(Inbox& inbox, Control* control, wire::Statement statement, std::int64_t task) {
  if (inbox.is_io_thread())
    throw error{errc::would_deadlock, "an executor that runs handlers within its call waits for itself"};
  wire::require_sendable(statement);
  auto answer = std::make_shared<std::promise<wire::Reply>>();
  auto future = answer->get_future();
  const auto done = [answer](wire::Reply reply) { answer->set_value(std::move(reply)); };
  auto request = std::make_shared<CallerRequest>(
      CallerRequest{std::move(statement), done, {.tenant = std::to_string(core::tenant_of(task))}});
  if (!inbox.post([control, request] { control->request(std::move(*request)); })) throw shut_down_error();
  wire::Reply reply = future.get();
  if (reply.failure) throw *reply.failure;
  return std::move(reply.rows);
}

}  // namespace

Engine::Engine(Settings settings)
    : settings_(std::move(settings)),
      inbox_(std::make_shared<Inbox>()),
      metrics_(std::make_shared<Metrics>()),
      workplace_(std::make_shared<const Workplace>(
          Workplace{std::make_shared<Lender>(settings_), settings_.tenant, settings_.config.observer, metrics_,
                    settings_.config.middleware,
                    [inbox = inbox_, control = &control_](wire::Statement statement, std::int64_t task) {
                      return ask(*inbox, control, std::move(statement), task);
                    }})),
      stopper_(inbox_),
      leases_(settings_, stopper_),
      pool_(inbox_, settings_.config.executor),
      control_(settings_, leases_, waits_, *workplace_),
      dispatcher_(settings_, {leases_, waits_, pool_, workplace_,
                              [this](std::function<void()> heard) { control_.nudge(std::move(heard)); },
                              [this] { return has_backlog(); }, [this] { return control_.outcomes().crowded(); }}) {}

Engine::~Engine() = default;

void Engine::start() {
  if (started_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock{lifecycle_};
  if (report_) throw shut_down_error();
  if (started_.load(std::memory_order_relaxed)) return;
  try {
    if (!stopper_.started()) stopper_.start();
    thread_ = std::thread{[this] { run(); }};
  } catch (const std::system_error& e) {
    throw no_thread_error(e);
  }
  started_.store(true, std::memory_order_release);
}

void Engine::require_other_thread() const {
  if (inbox_->is_io_thread())
    throw error{errc::would_deadlock, "a log or observer that calls the runner would wait for itself"};
}

void Engine::start_handlers() {
  if (has_handlers_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock{lifecycle_};
  if (report_) throw shut_down_error();
  if (has_handlers_.load(std::memory_order_relaxed)) return;
  try {
    pool_.start(settings_.config.max_concurrent_tasks);
    has_handlers_.store(true, std::memory_order_release);
  } catch (const std::system_error& e) {
    throw no_thread_error(e);
  }
}

void Engine::post(Inbox::Job job) {
  start();
  if (!inbox_->post(std::move(job))) throw shut_down_error();
}

wire::Rows Engine::call(wire::Statement statement, Manner manner, std::shared_ptr<WaitState> wait) {
  require_other_thread();
  wire::require_sendable(statement);
  auto answer = std::make_shared<std::promise<wire::Reply>>();
  auto future = answer->get_future();
  const auto done = [this, answer, wait, reopens = manner.reopens, all = manner.reopens_all](wire::Reply reply) {
    if (reopens != 0 && reply.ok() && wire::read_boolean(reply.rows)) waits_.reopen(reopens);
    if (all && reply.ok())
      for (const std::int64_t execution : wire::read_numbers(reply.rows)) waits_.reopen(execution);
    if (wait && reply.ok()) {
      const std::lock_guard lock{wait->mutex};
      wait->registered = true;
      waits_.add(wire::read_number(reply.rows), wait);
    }
    answer->set_value(std::move(reply));
  };
  auto request = std::make_shared<CallerRequest>(CallerRequest{std::move(statement), done, std::move(manner)});
  post([this, request] { control_.request(std::move(*request)); });
  wire::Reply reply = future.get();
  if (reply.failure) throw *reply.failure;
  return std::move(reply.rows);
}

void Engine::await(std::int64_t execution, const std::shared_ptr<WaitState>& state) {
  {
    const std::lock_guard lock{state->mutex};
    if (state->result || state->failure) return;
    require_other_thread();
    if (std::exchange(state->registered, true)) return;
  }
  try {
    post([this, execution, state] {
      waits_.add(execution, state);
      control_.link().open();
    });
  } catch (const error& over) {
    state->settle(over);
  }
}

void Engine::add_handlers(const WorkflowState& workflow, const std::vector<std::string>& only) {
  Dispatcher::Handlers handlers;
  for (const TaskState& task : workflow.tasks)
    if (only.empty() || std::ranges::find(only, task.id) != only.end())
      handlers.emplace(workflow.name + '.' + task.id, task.handler);
  post([this, handlers = std::move(handlers)] { dispatcher_.add_handlers(handlers); });
}

ShutdownReport Engine::shutdown(const ShutdownOptions& options) {
  // What the handlers have captured, a handle of this runtime perhaps: destroyed without the lock.
  Dispatcher::Handlers handlers;
  Leases::Attempts attempts;
  const std::lock_guard lock{lifecycle_};
  if (report_) return *report_;
  if (started_.load(std::memory_order_relaxed)) {
    inbox_->post([this, options] { begin_shutdown(options); });
    thread_.join();
    workplace_->lender->close();
  } else {
    inbox_->close();
  }
  pool_.stop();
  stopper_.stop();
  handlers = dispatcher_.release();
  attempts = leases_.release();
  control_.outcomes().drop_all();
  report_ = tally_;
  return *report_;
}

void Engine::hasten_shutdown() {
  inbox_->post([this] {
    if (phase_ == Phase::draining || phase_ == Phase::stopping) phase_ends_ = Clock::now();
  });
}

void Engine::run() {
  name_thread("insula-io");
  inbox_->adopt_io_thread();
  while (phase_ != Phase::ended) {
    try {
      turn();
    } catch (const std::exception& e) {
      // Nothing in here is meant to throw; if memory is short, the next turn may go better.
      settings_.log(LogLevel::error, fmt::format("in the I/O thread: {}", e.what()));
    }
  }
}

void Engine::turn() {
  inbox_->run_all();
  const auto now = Clock::now();
  collect(now);
  leases_.fence(now);
  dispatcher_.drive(now);
  control_.drive(now);
  drive_shutdown(now);
  measure();
  if (phase_ != Phase::ended) wait_for_events();
}

void Engine::measure() {
  const auto answered = std::max(control_.link().answered_at(), dispatcher_.link().answered_at());
  metrics_->running = leases_.running();
  metrics_->unsent = control_.outcomes().size();
  metrics_->connections = std::size_t{control_.link().is_up()} + std::size_t{dispatcher_.link().is_up()};
  metrics_->last_answer = answered.time_since_epoch().count();
}

void Engine::wait_for_events() {
  wire::Link& aside = control_.aside().link();
  std::array<pollfd, 4> entries{pollfd{inbox_->fd(), POLLIN, 0}, control_.link().poll_entry(),
                                dispatcher_.link().poll_entry(), aside.poll_entry()};
  const auto wake_at = std::min({leases_.fence_at(), control_.wake_at(), control_.link().wake_at(), aside.wake_at(),
                                 dispatcher_.wake_at(), dispatcher_.link().wake_at(), phase_ends_, look_at_});
  int timeout = -1;
  if (wake_at != Clock::time_point::max()) {
    const auto left = std::chrono::ceil<milliseconds>(wake_at - Clock::now()).count();
    timeout = static_cast<int>(std::clamp<milliseconds::rep>(left, 0, 3'600'000));
  }
  if (poll(entries.data(), entries.size(), timeout) < 0) return;  // interrupted: look again
  const auto now = Clock::now();
  control_.link().pump(entries[1].revents, now);
  dispatcher_.link().pump(entries[2].revents, now);
  aside.pump(entries[3].revents, now);
}

void Engine::collect(Clock::time_point now) {
  Pool::Finished finished = pool_.take_finished();
  for (Outcome& outcome : finished.outcomes) {
    leases_.finish(*outcome.attempt);
    if (outcome.kind == Outcome::Kind::given_back) control_.save_progress(outcome.attempt);
    if (phase_ != Phase::running) ++(stop_requested_ ? tally_.stopped : tally_.finished);
    control_.outcomes().add(std::move(outcome));
  }
  look_at_ = finished.more_soon ? now + gather_time : Clock::time_point::max();
  control_.outcomes().gather(finished.more_soon, look_at_);
}

void Engine::begin_shutdown(const ShutdownOptions& options) {
  collect(Clock::now());  // what was left before the shutdown is none of its
  cancel_ = options.cancel;
  dispatcher_.stop();
  // Tasks that no handler has begun are given back with the good-bye.
  for (const auto& attempt : pool_.take_unstarted()) {
    leases_.finish(*attempt);
    leases_.remove(*attempt);
  }
  if (leases_.running() > 0)
    settings_.log(LogLevel::info, fmt::format("shutdown waits up to {} ms for {} handlers that are running",
                                              options.drain.count(), leases_.running()));
  enter(Phase::draining, options.drain);
}

void Engine::enter(Phase phase, milliseconds at_most) {
  phase_ = phase;
  phase_ends_ = Clock::now() + wire::bounded(at_most);
}

bool Engine::has_backlog() const noexcept {
  const Outcomes& outcomes = control_.outcomes();
  return (settings_.serves_all ? outcomes.new_size() : outcomes.size()) >= backlog_limit;
}

bool Engine::has_flushed() const {
  // The good-bye must find the parked call ended, or that would sign the worker in again.
  const bool can_nudge = control_.link().is_up();
  return control_.outcomes().size() == 0 && control_.requests() == 0 && (dispatcher_.is_quiet() || !can_nudge);
}

void Engine::drive_shutdown(Clock::time_point now) {
  const bool late = now >= phase_ends_;
  if (phase_ == Phase::draining && late && leases_.running() > 0) {
    stop_requested_ = true;
    leases_.stop_running(StopReason::shutdown);
    return enter(Phase::stopping, cancel_);
  }
  if ((phase_ == Phase::draining || phase_ == Phase::stopping) && (late || leases_.running() == 0)) {
    tally_.abandoned = leases_.running();
    if (tally_.abandoned > 0)
      settings_.log(LogLevel::error,
                    fmt::format("shutdown leaves {} handlers behind that do not stop", tally_.abandoned));
    enter(Phase::flushing, flush_time);
  }
  if (phase_ == Phase::flushing && (has_flushed() || late)) {
    tally_.unsent = control_.outcomes().size();
    if (dispatcher_.link().is_open())
      control_.leave([this] { left_ = true; });
    else
      left_ = true;  // never said a word as a worker
    control_.drive(now);
    enter(Phase::leaving, leave_time);
  }
  if (phase_ == Phase::leaving && (left_ || now >= phase_ends_)) end();
}

void Engine::end() {
  // Run the jobs that were posted last: their callers wait for an answer.
  for (const Inbox::Job& job : inbox_->close()) job();
  dispatcher_.link().close();
  control_.end(shut_down_error());
  waits_.fail_all(shut_down_error());
  phase_ = Phase::ended;
}

}  // namespace insula::detail
