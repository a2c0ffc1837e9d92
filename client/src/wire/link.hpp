// A connection that heals itself, driven by its owner's poll loop.
//
// A Link carries statements asynchronously, in libpq's pipeline mode: each may be sent before
// those ahead of it are answered, and is a transaction of its own, so that what fails takes
// nothing else along.  Answers come in the order of sending.  When its connection breaks or
// cannot be made, the callers that wait for a reply are told, and a new PGconn is made after a
// pause, for as long as the Link is wanted.  Before it counts as up, the server must show
// an extension of our version.  Where the server ends idle sessions (idle_session_timeout), a
// word now and then keeps ours: with it would go the leases of the worker that it stands for.
//
// Not thread-safe: everything, the callbacks included, happens on the owner's thread.
// Callbacks may call send() and close(), but must not destroy the Link.
#pragma once

#include "wire/backoff.hpp"
#include "wire/conninfo.hpp"
#include "wire/pq.hpp"

#include <insula/error.hpp>

#include <poll.h>

#include <chrono>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula::wire {

using Clock = std::chrono::steady_clock;

// The outcome of a statement.
struct Reply {
  Rows rows;
  std::optional<error> failure;    // set: it was refused, or the connection broke
  bool lost = false;               // the connection broke: it may or may not have been done
  std::vector<Rows> earlier = {};  // of the statements that were sent before it in the same transaction

  bool ok() const noexcept { return !failure; }
};

class Link {
 public:
  using OnReply = std::function<void(Reply)>;

  struct Events {
    std::function<void()> up;                             // ready for statements
    std::function<void(const error&, bool was_up)> down;  // broke, or could not be made
    std::function<void(std::string_view)> notice;         // the server's warnings
  };

  // `lock_wait`: how long its statements wait for a lock, at most; 0: as the server has it.
  Link(const ConnInfo& conninfo, std::string name, std::chrono::milliseconds connect_timeout, Events events,
       std::chrono::milliseconds lock_wait = std::chrono::milliseconds{0});
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  void open();   // if it is closed, begin to connect
  void close();  // for good; statements under way are forgotten without a callback

  bool is_up() const noexcept { return state_ == State::up; }
  bool idle() const noexcept { return is_up() && under_way_.empty(); }
  bool busy() const noexcept { return is_up() && !under_way_.empty(); }
  bool is_open() const noexcept { return state_ != State::closed; }

  // Only when up.  A server of which nothing has come for so long, once it has got round to the
  // statement, counts as lost: it may hang, or have vanished without a word.
  void send(const Statement& statement, OnReply on_reply, Clock::duration patience);
  // Several as one transaction: the reply is the last one's, or of the first that is refused.
  void send(const std::vector<const Statement*>& together, OnReply on_reply, Clock::duration patience);
  // The server has reason to answer now the statement that it is at.
  void expect_answer(Clock::duration patience);

  // When the server last had an answer; zero: never.
  Clock::time_point answered_at() const noexcept { return answered_at_; }

  // For the owner's loop: what to poll for (fd -1: nothing), when to call again at the
  // latest, and what to do then.
  pollfd poll_entry() const noexcept;
  Clock::time_point wake_at() const noexcept { return wake_at_; }
  void pump(short revents, Clock::time_point now);

 private:
  enum class State { closed, pausing, connecting, greeting, up };

  struct UnderWay {
    OnReply on_reply;
    Clock::duration patience;
    bool asked = false;    // by the owner: not the link's own word
    bool limited = false;  // its first statement is the limit of lock waits
  };

  void begin_connect(Clock::time_point now);
  void pump_connect(Clock::time_point now);
  void pump_answers(short revents);
  void greet();
  void say_a_word();
  void on_greeting(Reply reply);
  void limit_lock_waits(bool is_direct);
  void transmit(const std::vector<const Statement*>& together, UnderWay answer);
  Clock::time_point quiet_until() const noexcept;
  void take(Rows next);
  void finish_statement();
  void lose(error why);
  void flush();
  static void receive_notice(void* self, const PGresult* result);

  const ConnInfo& conninfo_;
  const std::string name_;
  const std::chrono::milliseconds connect_timeout_;
  const Events events_;
  const std::chrono::milliseconds lock_wait_;

  State state_ = State::closed;
  PgConn conn_;
  PostgresPollingStatusType connect_wants_ = PGRES_POLLING_WRITING;
  bool want_write_ = false;
  Clock::time_point wake_at_ = Clock::time_point::max();
  Clock::time_point answered_at_{};
  std::chrono::milliseconds idle_limit_{0};  // the server's; 0: none
  bool limits_each_ = false;                 // transaction's lock waits: not the session's
  Backoff backoff_;
  std::size_t host_ = 0;  // of several, the one to try first

  std::deque<UnderWay> under_way_;  // the first is the one that the server is at
  std::vector<Rows> results_;       // of that one, until the server has said all
};

}  // namespace insula::wire
