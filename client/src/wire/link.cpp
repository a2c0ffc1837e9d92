// The states of a Link:
//
//   closed -> connecting -> greeting -> up
//                 ^             |        |
//                 +-- pausing <-+--------+      whenever the connection breaks
//
// A broken connection is never mended (PQreset), always replaced: the new one reads
// service and password files afresh.
#include "wire/link.hpp"

#include "wire/errors.hpp"
#include "wire/version.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

namespace insula::wire {

namespace {

Statement lock_limit(std::chrono::milliseconds most, bool of_transaction) {
  return {"SELECT pg_catalog.set_config('lock_timeout', $1, $2)",
          {std::to_string(most.count()) + "ms", of_transaction ? "true" : "false"}};
}

}  // namespace

Link::Link(const ConnInfo& conninfo, std::string name, std::chrono::milliseconds connect_timeout, Events events,
           std::chrono::milliseconds lock_wait)
    : conninfo_(conninfo),
      name_(std::move(name)),
      connect_timeout_(connect_timeout),
      events_(std::move(events)),
      lock_wait_(lock_wait) {}

void Link::open() {
  if (state_ != State::closed) return;
  state_ = State::pausing;
  wake_at_ = Clock::now();
}

void Link::close() {
  state_ = State::closed;
  wake_at_ = Clock::time_point::max();
  under_way_.clear();
  results_.clear();
  conn_.reset();
}

void Link::send(const Statement& statement, OnReply on_reply, Clock::duration patience) {
  send(std::vector{&statement}, std::move(on_reply), patience);
}

void Link::send(const std::vector<const Statement*>& together, OnReply on_reply, Clock::duration patience) {
  assert(is_up());
  UnderWay answer{std::move(on_reply), patience, true, limits_each_};
  if (!limits_each_) return transmit(together, std::move(answer));
  const Statement limit = lock_limit(lock_wait_, true);
  std::vector<const Statement*> limited{&limit};
  limited.insert(limited.end(), together.begin(), together.end());
  transmit(limited, std::move(answer));
}

void Link::expect_answer(Clock::duration patience) {
  if (!busy()) return;
  under_way_.front().patience = std::min(under_way_.front().patience, patience);
  wake_at_ = std::min(wake_at_, Clock::now() + patience);
}

pollfd Link::poll_entry() const noexcept {
  switch (state_) {
    case State::closed:
    case State::pausing:
      return {-1, 0, 0};
    case State::connecting:
      // The socket may change from step to step: asked for anew each time.
      return {PQsocket(conn_.get()), static_cast<short>(connect_wants_ == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
    default:
      return {PQsocket(conn_.get()), static_cast<short>(want_write_ ? POLLIN | POLLOUT : POLLIN), 0};
  }
}

void Link::pump(short revents, Clock::time_point now) {
  switch (state_) {
    case State::closed:
      return;
    case State::pausing:
      if (now >= wake_at_) begin_connect(now);
      return;
    case State::connecting:
      if (revents)
        pump_connect(now);
      else if (now >= wake_at_)
        lose({errc::unreachable, "no connection within the time allowed", {}, true});
      return;
    case State::greeting:
    case State::up:
      if (revents)
        pump_answers(revents);
      else if (now >= wake_at_ && under_way_.empty())
        say_a_word();
      else if (now >= wake_at_)
        lose({errc::unreachable, "the server does not answer", {}, true});
      return;
  }
}

void Link::begin_connect(Clock::time_point now) {
  // libpq tries one host after the other, but knows no time limit here: one that swallows
  // our packets must not be the first to be asked for ever.
  conn_ = conninfo_.start(name_, host_++);
  PQsetNoticeReceiver(conn_.get(), receive_notice, this);
  state_ = State::connecting;
  wake_at_ = now + connect_timeout_;
  connect_wants_ = PGRES_POLLING_WRITING;
  if (PQstatus(conn_.get()) == CONNECTION_BAD) lose(make_connection_error(conn_.get(), false));
}

void Link::pump_connect(Clock::time_point) {
  connect_wants_ = PQconnectPoll(conn_.get());
  if (connect_wants_ == PGRES_POLLING_FAILED) {
    lose(make_connection_error(conn_.get(), false));
  } else if (connect_wants_ == PGRES_POLLING_OK) {
    PQsetnonblocking(conn_.get(), 1);
    PQenterPipelineMode(conn_.get());
    greet();
  }
}

void Link::greet() {
  state_ = State::greeting;
  const Statement query{version_query};
  transmit({&query}, {[this](Reply reply) { on_greeting(std::move(reply)); }, connect_timeout_});
}

void Link::say_a_word() {
  const Statement word{"SELECT 1"};
  transmit({&word}, {[](const Reply&) {}, connect_timeout_});
}

void Link::on_greeting(Reply reply) {
  if (reply.lost) return;  // on its way to the next attempt already
  if (reply.failure && !hides_version(*reply.failure)) return lose(*reply.failure);
  if (!reply.failure)
    if (std::optional<error> problem = check_version(reply.rows)) return lose(*std::move(problem));
  state_ = State::up;
  limit_lock_waits(is_direct(reply.rows, PQbackendPID(conn_.get())));
  if (!is_up()) return;
  idle_limit_ = idle_limit(reply.rows);
  if (under_way_.empty()) wake_at_ = quiet_until();
  host_ = 0;
  if (events_.up) events_.up();
}

// Half of the time, so that a machine that is slow is still in time.
Clock::time_point Link::quiet_until() const noexcept {
  return state_ == State::up && idle_limit_.count() > 0 ? answered_at_ + idle_limit_ / 2 : Clock::time_point::max();
}

// For the whole session if it is ours alone, which costs nothing then.
void Link::limit_lock_waits(bool is_direct) {
  limits_each_ = lock_wait_.count() > 0 && !is_direct;
  if (lock_wait_.count() == 0 || !is_direct) return;
  const Statement limit = lock_limit(lock_wait_, false);
  transmit({&limit}, {[](const Reply&) {}, connect_timeout_});
}

void Link::transmit(const std::vector<const Statement*>& together, UnderWay answer) {
  if (under_way_.empty()) wake_at_ = Clock::now() + answer.patience;
  under_way_.push_back(std::move(answer));
  bool sent = true;
  for (const Statement* statement : together) sent = sent && statement->send(conn_.get());
  if (!sent || !PQpipelineSync(conn_.get())) return lose(make_connection_error(conn_.get(), true));
  flush();
}

void Link::flush() {
  const int left = PQflush(conn_.get());
  want_write_ = left == 1;
  // A write error is not the end yet: what the server said before may still be read.
}

void Link::pump_answers(short revents) {
  if (want_write_) flush();
  if (!PQconsumeInput(conn_.get())) return lose(make_connection_error(conn_.get(), true));
  if (want_write_) flush();  // what came in may have made room
  // A large answer takes its time; what comes of it says that the server is there.
  if ((revents & POLLIN) != 0 && !under_way_.empty()) wake_at_ = Clock::now() + under_way_.front().patience;
  // After a statement's last result comes none, and then the sync; twice none is the end.
  for (int none = 0; none < 2 && !under_way_.empty() && !PQisBusy(conn_.get()); ++none) {
    if (PQstatus(conn_.get()) == CONNECTION_BAD) break;
    PGresult* next = PQgetResult(conn_.get());
    if (!next) continue;
    take(Rows{next});
    none = -1;
  }
  if (conn_ && PQstatus(conn_.get()) == CONNECTION_BAD)
    lose(results_.empty() ? make_connection_error(conn_.get(), true) : make_error(results_.back().get()));
}

void Link::take(Rows next) {
  const ExecStatusType status = PQresultStatus(next.get());
  if (status == PGRES_PIPELINE_SYNC) return finish_statement();
  // After an error only the error counts.
  if (!results_.empty() && PQresultStatus(results_.back().get()) == PGRES_FATAL_ERROR) return;
  results_.push_back(std::move(next));
  if (status != PGRES_FATAL_ERROR) return;
  // The server is about to hang up: no use in waiting for it to do so.
  const error why = make_error(results_.back().get());
  if (is_connection_state(why.sqlstate())) lose(why);
}

void Link::finish_statement() {
  answered_at_ = Clock::now();
  Reply reply;
  reply.earlier = std::exchange(results_, {});
  if (under_way_.front().limited && reply.earlier.size() > 1) reply.earlier.erase(reply.earlier.begin());
  if (!reply.earlier.empty()) {
    reply.rows = std::move(reply.earlier.back());
    reply.earlier.pop_back();
  }
  const ExecStatusType status = PQresultStatus(reply.rows.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) reply.failure = make_error(reply.rows.get());
  // Not before: a statement may be what breaks the connection each time.
  if (under_way_.front().asked) backoff_.reset();
  const OnReply on_reply = std::move(under_way_.front().on_reply);
  under_way_.pop_front();
  wake_at_ = under_way_.empty() ? quiet_until() : answered_at_ + under_way_.front().patience;
  on_reply(std::move(reply));
}

void Link::lose(error why) {
  const bool was_up = is_up();
  std::deque<UnderWay> lost = std::exchange(under_way_, {});
  results_.clear();
  conn_.reset();
  want_write_ = false;
  state_ = State::pausing;
  wake_at_ = Clock::now() + backoff_.next();
  for (UnderWay& statement : lost) statement.on_reply({{}, why, true});
  if (events_.down && state_ == State::pausing) events_.down(why, was_up);
}

void Link::receive_notice(void* self, const PGresult* result) {
  const auto& events = static_cast<Link*>(self)->events_;
  const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  const char* message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  // NOTICE and below are for people at a prompt.
  if (events.notice && severity && message && std::string_view{severity} == "WARNING") events.notice(message);
}

}  // namespace insula::wire
