// Running a handler: the context goes in, what it set, threw or asked for comes out.
#include "runtime/attempt.hpp"

#include "runtime/outcomes.hpp"
#include "wire/session.hpp"
#include "wire/text.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <exception>
#include <thread>
#include <utility>

namespace insula::detail {

namespace {

// How long a task waits that found no connection for its transaction.
constexpr std::chrono::milliseconds pause_without_connection{1'000};

Outcome put_off(const std::shared_ptr<Attempt>& attempt, std::chrono::milliseconds delay) {
  attempt->request = delay;
  return {.attempt = attempt, .kind = Outcome::Kind::put_off};
}

Outcome failure(const std::shared_ptr<Attempt>& attempt, std::string why, bool retryable) {
  // Asked to stop and thrown out: no verdict on the task itself.
  if (attempt->reason == StopReason::paused) {
    // Its lease is still ours: given back, it costs no attempt and waits for the resumption.
    return put_off(attempt, std::chrono::milliseconds{0});
  }
  if (attempt->is_stopping()) return {.attempt = attempt, .kind = Outcome::Kind::given_back};
  if (attempt->lacked_connection && retryable) return put_off(attempt, pause_without_connection);
  why = wire::storable(std::move(why));
  if (why.empty()) why = "the handler failed without saying why";
  return {.attempt = attempt, .kind = Outcome::Kind::failed, .error = std::move(why), .retryable = retryable};
}

// The context that the handler is given.
Context input_of(const Attempt& attempt) {
  Context input = Context::from_json(attempt.info.context);
  if (attempt.workplace) attempt.workplace->from_server(attempt.info.tenant, input);
  return input;
}

Context difference(const Context& from, const Context& to);

// The word of a patch on a key whose value was `before` (nullptr: none) and is to be `after`.
Value change_of(const Value* before, const Value& after) {
  const auto before_object = before ? before->as<Context>() : std::nullopt;
  const auto after_object = after.as<Context>();
  return before_object && after_object ? Value{difference(*before_object, *after_object)} : after;
}

// The patch that makes `to` of `from`.
Context difference(const Context& from, const Context& to) {
  Context patch;
  for (const auto& [key, before] : from)
    if (!to.contains(key)) patch.set(key, nullptr);
  for (const auto& [key, after] : to) {
    const Value* before = from.find(key);
    if (!before || *before != after) patch.set(key, change_of(before, after));
  }
  return patch;
}

// Middleware sees the whole value of each key that was set, as it is to be read again: of an object that it seals, the
// parts that have not changed too.  What it changes replaces what the server has.
void pass_middleware(Attempt& attempt) {
  if (!attempt.workplace || attempt.workplace->middleware.empty()) return;
  Context whole;
  for (const auto& [key, change] : attempt.changes)
    if (const Value* value = attempt.context().find(key)) whole.set(key, *value);
  Context shown = whole;
  attempt.workplace->to_server(attempt.info.tenant, shown);
  const Context at_server = Context::from_json(attempt.info.context);
  Context patch;
  for (const auto& [key, change] : attempt.changes)
    if (!whole.contains(key)) patch.set(key, change);  // it is to go
  for (const auto& [key, value] : shown) {
    const Value* before = whole.find(key);
    const bool as_it_was = before && *before == value;
    patch.set(key, as_it_was ? *attempt.changes.find(key) : change_of(at_server.find(key), value));
  }
  attempt.changes = std::move(patch);
}

Outcome success(const std::shared_ptr<Attempt>& attempt) {
  if (const auto& verdict = attempt->verdict) return failure(attempt, verdict->why, verdict->retryable);
  Outcome outcome{.attempt = attempt};
  if (attempt->request.index() != 0) outcome.kind = Outcome::Kind::put_off;
  if (std::holds_alternative<Child>(attempt->request) && !attempt->changes.empty())
    throw permanent_error{"what a task has set cannot be kept when it goes on as a child execution"};
  if (attempt->replaced_object) {
    Context reached = input_of(*attempt);
    reached.merge_patch(attempt->changes);
    attempt->changes.append_patch(difference(reached, attempt->context()));
  }
  if (attempt->changes.empty()) return outcome;
  pass_middleware(*attempt);
  if (!attempt->changes.empty()) outcome.patch = attempt->changes.to_json();
  return outcome;
}

// The outcome told and everything committed at once, if the handler has a transaction.
Outcome settle_in_transaction(const std::shared_ptr<Attempt>& attempt, const Outcome& outcome) {
  const auto progress = outcome.kind == Outcome::Kind::completed ? std::nullopt : attempt->take_progress();
  try {
    if (progress) attempt->transaction->say(wire::save_progress(attempt->info.task_id, attempt->info.lease, *progress));
    const bool committed = attempt->transaction->commit(statement_for(outcome));
    if (!committed) attempt->request_stop(StopReason::lease_lost);
    return {.attempt = attempt, .kind = committed ? Outcome::Kind::settled : Outcome::Kind::given_back};
  } catch (const error& e) {
    if (progress) attempt->put_back_progress(*progress);
    // If it was committed, the lease is gone and this changes nothing; if not, it is over.
    if (e.outcome_unknown()) {
      Outcome again = put_off(attempt, std::chrono::milliseconds{0});
      again.sent_before = true;
      return again;
    }
    return failure(attempt, e.what(), true);
  }
}

Event read_event(const std::string& json) {
  const Context event = Context::from_json(json);
  const Value* payload = event.find("payload");
  return {event.get<std::string>("name").value_or(""), payload ? *payload : Value{},
          event.get<bool>("timed_out").value_or(false)};
}

void read_claimed(Attempt& attempt) {
  if (!attempt.info.item.empty()) attempt.item = Value::from_json(attempt.info.item);
  if (!attempt.info.event.empty()) attempt.event = read_event(attempt.info.event);
}

void call_handler(const Attempt& attempt, TaskContext& context, std::size_t middleware = 0) {
  if (!attempt.workplace || middleware == attempt.workplace->middleware.size()) return attempt.handler->run(context);
  bool called = false;
  attempt.workplace->middleware[middleware]->around_task(context, [&] {
    if (std::exchange(called, true)) throw error{errc::invalid, "a middleware calls the handler a second time"};
    call_handler(attempt, context, middleware + 1);
  });
  if (!called) throw error{errc::invalid, "a middleware has not called the handler"};
}

template <class Call>
Outcome outcome_of(const std::shared_ptr<Attempt>& attempt, Call call) {
  try {
    call();
    Outcome outcome = success(attempt);
    if (attempt->transaction && !attempt->verdict) return settle_in_transaction(attempt, outcome);
    return outcome;
  } catch (const not_again& e) {
    return failure(attempt, e.what(), attempt->lacked_connection);
  } catch (const permanent_error& e) {
    return failure(attempt, e.what(), false);
  } catch (const retry_after& e) {
    Outcome outcome = failure(attempt, e.what(), true);
    if (outcome.kind != Outcome::Kind::failed) return outcome;
    outcome.retry_in = e.delay();
    outcome.free_retries = e.free_retries();
    return outcome;
  } catch (const std::exception& e) {
    return failure(attempt, e.what(), true);
  } catch (...) {
    return failure(attempt, "the handler threw something that is no std::exception", true);
  }
}

template <class Tell>
void observe(const Attempt& attempt, Tell tell) {
  if (!attempt.workplace || !attempt.workplace->observer) return;
  try {
    tell(*attempt.workplace->observer);
  } catch (...) {
    // An observer's exception changes nothing: the task goes on.
  }
}

TaskOutcome word_for(const Attempt& attempt, Outcome::Kind kind) {
  switch (kind) {
    case Outcome::Kind::completed:
      return TaskOutcome::completed;
    case Outcome::Kind::settled:
      return attempt.request.index() == 0 ? TaskOutcome::completed : TaskOutcome::put_off;
    case Outcome::Kind::put_off:
      return TaskOutcome::put_off;
    case Outcome::Kind::failed:
      return TaskOutcome::failed;
    case Outcome::Kind::given_back:
      break;
  }
  return TaskOutcome::given_back;
}

// Tells the observer and the metrics.
Outcome end_observed(const std::shared_ptr<Attempt>& attempt, const TaskContext& context, Clock::time_point started,
                     Outcome outcome) {
  // Roll the handler's transaction back before its outcome is reported.
  attempt->transaction.reset();
  const bool final =
      outcome.kind == Outcome::Kind::failed && outcome.free_retries == 0 &&
      (!outcome.retryable || (attempt->info.max_attempts > 0 && attempt->info.attempt >= attempt->info.max_attempts));
  const TaskEnd end{word_for(*attempt, outcome.kind), outcome.error, Clock::now() - started, final};
  observe(*attempt, [&](Observer& observer) { observer.task_ended(context, end); });
  if (attempt->workplace) attempt->workplace->metrics->task_ended(attempt->info.workflow, attempt->info.task, end);
  return outcome;
}

Outcome run_observed(const std::shared_ptr<Attempt>& attempt) {
  const auto started = Clock::now();
  TaskContext context{*attempt};
  observe(*attempt, [&](Observer& observer) { observer.task_started(context); });
  if (attempt->handler->run_batch) {
    TaskContext* const alone = &context;
    return end_observed(attempt, context, started, outcome_of(attempt, [&] {
                          attempt->handler->run_batch({&alone, 1});
                        }));
  }
  return end_observed(attempt, context, started, outcome_of(attempt, [&] { call_handler(*attempt, context); }));
}

// Nothing of the handler's outlives it.
void let_go(Attempt& attempt) {
  attempt.seen.reset();
  attempt.changes = {};
  attempt.item = {};
  attempt.event.reset();
  attempt.checkpoint.reset();
  attempt.loan.reset();
  attempt.workplace.reset();
}

// A task of a batch, with what its handler is given.
struct Member {
  explicit Member(const std::shared_ptr<Attempt>& member) : attempt(member), context(*member) {}
  std::shared_ptr<Attempt> attempt;
  TaskContext context;
};

// Whether what the handler of a batch has thrown may be no verdict on its tasks: one of them has found no connection,
// or was asked to stop.
bool is_excused(const std::vector<std::shared_ptr<Attempt>>& batch) {
  return std::ranges::any_of(batch,
                             [](const auto& attempt) { return attempt->lacked_connection || attempt->is_stopping(); });
}

std::vector<Outcome> run_batch(const std::vector<std::shared_ptr<Attempt>>& attempts) {
  std::vector<Outcome> outcomes;
  std::deque<Member> members;
  std::vector<TaskContext*> tasks;
  const auto started = Clock::now();
  const auto loan = std::make_shared<Loan>(attempts.size());
  for (const auto& attempt : attempts) {
    attempt->loan = loan;
    try {
      read_claimed(*attempt);
      TaskContext& task = members.emplace_back(attempt).context;
      tasks.push_back(&task);
      observe(*attempt, [&](Observer& observer) { observer.task_started(task); });
    } catch (const error& unreadable) {
      outcomes.push_back(failure(attempt, unreadable.what(), true));
    }
  }
  std::exception_ptr thrown;
  try {
    if (!tasks.empty()) attempts.front()->handler->run_batch(tasks);
  } catch (...) {
    thrown = std::current_exception();
  }
  const bool excused = thrown && is_excused(attempts);
  for (const Member& member : members)
    outcomes.push_back(end_observed(member.attempt, member.context, started, outcome_of(member.attempt, [&] {
                                      member.attempt->lacked_connection |= excused;
                                      if (thrown) std::rethrow_exception(thrown);
                                    })));
  return outcomes;
}

}  // namespace

Outcome refuse_attempt(const std::shared_ptr<Attempt>& attempt) {
  return attempt->is_stopping() ? failure(attempt, {}, true) : put_off(attempt, pause_without_connection);
}

void Workplace::to_server(const std::string& tenant, Context& context) const {
  for (const auto& one : middleware) one->to_server(tenant, context);
}

void Workplace::from_server(const std::string& tenant, Context& context) const {
  for (auto one = middleware.rbegin(); one != middleware.rend(); ++one) (*one)->from_server(tenant, context);
}

Context& Attempt::context() {
  if (!seen) seen = input_of(*this);
  return *seen;
}

std::optional<Attempt::Said> Attempt::take_progress() {
  const std::lock_guard lock{progress_mutex_};
  auto said = std::exchange(progress_, std::nullopt);
  return said ? std::optional{Said{*std::move(said), serial_}} : std::nullopt;
}

bool Attempt::has_progress() {
  const std::lock_guard lock{progress_mutex_};
  return progress_.has_value();
}

void Attempt::add_progress(wire::Progress later) {
  const std::lock_guard lock{progress_mutex_};
  ++serial_;
  if (!progress_) progress_.emplace();
  const auto say = [this](auto& said, auto& now, std::uint64_t& last) {
    if (!now) return;
    said = std::move(now);
    last = serial_;
  };
  say(progress_->checkpoint, later.checkpoint, last_said_.checkpoint);
  say(progress_->reached, later.reached, last_said_.reached);
  say(progress_->note, later.note, last_said_.note);
}

void Attempt::put_back_progress(const Said& earlier) {
  const std::lock_guard lock{progress_mutex_};
  if (!progress_) progress_.emplace();
  const auto put_back = [&](auto& said, const auto& before, std::uint64_t last) {
    if (before && last <= earlier.serial) said = before;
  };
  put_back(progress_->checkpoint, earlier.checkpoint, last_said_.checkpoint);
  put_back(progress_->reached, earlier.reached, last_said_.reached);
  put_back(progress_->note, earlier.note, last_said_.note);
}

wire::Rows Attempt::ask(wire::Statement statement) {
  lacked_connection = true;  // unless the next lines say otherwise
  try {
    wire::Rows rows = workplace->ask(std::move(statement), info.task_id);
    lacked_connection = false;
    return rows;
  } catch (const error& e) {
    lacked_connection = e.retryable();
    throw;
  }
}

void Attempt::save_checkpoint(const std::string& json) {
  constexpr std::chrono::milliseconds pause{100};
  constexpr int most = 50;
  add_progress({.checkpoint = json});
  for (int i = 0; workplace && i < most; ++i) {
    Said said = take_progress().value_or(Said{});
    // A heartbeat has taken it, and may not bring it there.
    if (!said.checkpoint) said.checkpoint = json;
    std::optional<bool> saved;
    try {
      saved = wire::read_saved(ask(wire::save_progress(info.task_id, info.lease, said)));
    } catch (...) {
      put_back_progress(said);
      throw;
    }
    if (saved == true) return;
    if (saved == false) request_stop(StopReason::lease_lost);
    put_back_progress(said);
    if (is_stopping()) throw stopped{fmt::format("stopped: {}", name(reason))};
    std::this_thread::sleep_for(pause);
  }
  if (!workplace) return;
  lacked_connection = true;
  throw error{errc::server, "the checkpoint was not saved: another transaction holds the task", "55P03", true};
}

std::optional<Value> Attempt::read_checkpoint() {
  wire::Checkpoint answer = wire::read_checkpoint(ask(wire::checkpoint(info.task_id, info.lease)));
  if (answer.lost) {
    request_stop(StopReason::lease_lost);
    throw stopped{fmt::format("stopped: {}", name(reason))};
  }
  return std::move(answer.saved);
}

static PGconn* begin_in_test(Attempt& attempt) {
  if (!attempt.test_connection)
    throw error{errc::invalid, "there is no server here to have a transaction with: see TaskInput::connection"};
  if (!std::exchange(attempt.used_test_connection, true) &&
      PQtransactionStatus(attempt.test_connection) == PQTRANS_IDLE) {
    wire::exchange(attempt.test_connection, {"BEGIN"});
    attempt.began = true;
  }
  return attempt.test_connection;
}

PGconn* Attempt::begin_transaction() {
  if (!workplace) return begin_in_test(*this);
  if (!transaction) {
    *handler->uses_transactions = true;
    lacked_connection = true;  // unless the next lines say otherwise
    std::unique_ptr<Transaction> begun;
    bool joined = false;
    try {
      if (loan)
        loan->take_one(workplace->lender, stop.get_token());
      else
        workplace->lender->take(1, stop.get_token());
      begun = std::make_unique<Transaction>(workplace->lender);
      joined = begun->join(info, workplace->acts_for);
    } catch (const error& e) {
      lacked_connection = e.retryable();
      throw;
    }
    lacked_connection = false;
    if (!joined) {
      request_stop(StopReason::lease_lost);
      throw stopped{"stopped: lease_lost"};
    }
    transaction = std::move(begun);
  }
  return transaction->connection();
}

Outcome run_attempt(const std::shared_ptr<Attempt>& attempt) noexcept {
  Outcome outcome;
  try {
    read_claimed(*attempt);
    outcome = run_observed(attempt);
  } catch (const error& unreadable) {
    outcome = failure(attempt, unreadable.what(), true);
  }
  let_go(*attempt);
  return outcome;
}

std::vector<Outcome> run_attempts(const std::vector<std::shared_ptr<Attempt>>& attempts) noexcept {
  if (attempts.size() == 1) return {run_attempt(attempts.front())};
  std::vector<Outcome> outcomes = run_batch(attempts);
  for (const auto& attempt : attempts) let_go(*attempt);
  return outcomes;
}

}  // namespace insula::detail
