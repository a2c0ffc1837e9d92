// Running a handler: the context goes in, what it set, threw or asked for comes out.
#include "runtime/attempt.hpp"

#include "runtime/outcomes.hpp"
#include "wire/text.hpp"

#include <insula/error.hpp>

#include <exception>

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

// The patch that makes `to` of `from`.
Context difference(const Context& from, const Context& to) {
  Context patch;
  for (const std::string& key : from.keys())
    if (!to.contains(key)) patch.set(key, nullptr);
  for (const std::string& key : to.keys()) {
    const Value* before = from.find(key);
    const Value* after = to.find(key);
    if (before && *before == *after) continue;
    const auto before_object = before ? before->as<Context>() : std::nullopt;
    const auto after_object = after->as<Context>();
    patch.set(key, before_object && after_object ? Value{difference(*before_object, *after_object)} : *after);
  }
  return patch;
}

Outcome success(const std::shared_ptr<Attempt>& attempt) {
  Outcome outcome{.attempt = attempt};
  if (attempt->request.index() != 0) outcome.kind = Outcome::Kind::put_off;
  if (std::holds_alternative<Child>(attempt->request) && !attempt->changes.empty())
    throw permanent_error{"what a task has set cannot be kept when it goes on as a child execution"};
  if (attempt->replaced_object) {
    Context reached = Context::from_json(attempt->info.context);
    reached.merge_patch(attempt->changes);
    attempt->changes.append_patch(difference(reached, attempt->context()));
  }
  if (!attempt->changes.empty()) outcome.patch = attempt->changes.to_json();
  return outcome;
}

// The outcome told and everything committed at once, if the handler has a transaction.
Outcome settle_in_transaction(const std::shared_ptr<Attempt>& attempt, const Outcome& outcome) {
  try {
    const bool committed = attempt->transaction->commit(statement_for(outcome));
    if (!committed) attempt->request_stop(StopReason::lease_lost);
    return {.attempt = attempt, .kind = committed ? Outcome::Kind::settled : Outcome::Kind::given_back};
  } catch (const error& e) {
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

Outcome run(const std::shared_ptr<Attempt>& attempt, TaskContext& context) {
  try {
    (*attempt->handler)(context);
    Outcome outcome = success(attempt);
    if (attempt->transaction) return settle_in_transaction(attempt, outcome);
    return outcome;
  } catch (const not_again& e) {
    return failure(attempt, e.what(), attempt->lacked_connection);
  } catch (const permanent_error& e) {
    return failure(attempt, e.what(), false);
  } catch (const retry_after& e) {
    return attempt->is_stopping() ? failure(attempt, e.what(), true) : put_off(attempt, e.delay());
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

Outcome run_observed(const std::shared_ptr<Attempt>& attempt) {
  const auto started = Clock::now();
  TaskContext context{*attempt};
  observe(*attempt, [&](Observer& observer) { observer.task_started(context); });
  Outcome outcome = run(attempt, context);
  // Roll the handler's transaction back before its outcome is reported.
  attempt->transaction.reset();
  const bool final =
      outcome.kind == Outcome::Kind::failed &&
      (!outcome.retryable || (attempt->info.max_attempts > 0 && attempt->info.attempt >= attempt->info.max_attempts));
  const TaskEnd end{word_for(*attempt, outcome.kind), outcome.error, Clock::now() - started, final};
  observe(*attempt, [&](Observer& observer) { observer.task_ended(context, end); });
  if (attempt->workplace) attempt->workplace->metrics->task_ended(attempt->info.workflow, attempt->info.task, end);
  return outcome;
}

}  // namespace

Context& Attempt::context() {
  if (!seen) seen = Context::from_json(info.context);
  return *seen;
}

PGconn* Attempt::begin_transaction() {
  if (!workplace) throw error{errc::invalid, "there is no server here to have a transaction with"};
  if (!transaction) {
    lacked_connection = true;  // unless the next lines say otherwise
    std::unique_ptr<Transaction> begun;
    bool joined = false;
    try {
      begun = std::make_unique<Transaction>(workplace->lender, stop.get_token());
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
  attempt->seen.reset();
  attempt->changes = {};
  attempt->item = {};
  attempt->event.reset();
  attempt->workplace.reset();
  return outcome;
}

}  // namespace insula::detail
