// The queues that are measured beside one another: how each is made, filled, worked off and
// looked at.  A job is 200 bytes of JSON; a handler does nothing.
#pragma once

#include "workers.hpp"

#include <memory>
#include <string>
#include <vector>

namespace bench {

// {"n": 17, "payload": "<hexadecimal digits>"}, 200 bytes of it.
std::string job(long n);
// `count` jobs from `first` on, as the text of an array.
std::string jobs_array(long first, int count);

constexpr int jobs_a_call = 1000;

enum class Use {
  drain,  // at its best, four connections
  pairs,  // one claim, one completion, each a transaction of its own, eight connections
};

class Queue {
 public:
  virtual ~Queue() = default;

  virtual std::string name() const = 0;
  virtual bool is_peer() const { return false; }
  virtual std::string database() const = 0;
  virtual void make() = 0;  // empty, and as if there had never been another
  virtual void load(int jobs) = 0;
  virtual std::vector<Command> workers(Use use) const = 0;
  virtual bool has_unfinished() const = 0;  // while workers run: cheap once all is done
  virtual void check(int jobs) const = 0;   // gives up unless each was finished once
  virtual void drop() = 0;
};

// An exact limit that is never in the way: a task runs for the server until its completion is
// committed, when its handler may long have another one.
enum class Limit {
  none,
  tenant,    // max_running
  workflow,  // the definition's
  key,       // one for each job by itself: as many limits as jobs
};

struct InsulaOptions {
  int processes = 2;  // two connections each
  int handlers = 100;
  Limit limit = Limit::none;
};
std::unique_ptr<Queue> insula_queue(InsulaOptions options = {});

// The same SQL calls without the client, on eight connections: a claim of one, its completion.
std::unique_ptr<Queue> insula_calls_queue();

std::unique_ptr<Queue> graphile_queue();
std::unique_ptr<Queue> pgboss_queue();
std::unique_ptr<Queue> pgq_queue();
// DELETE … SKIP LOCKED, a hundred rows a statement, with nothing kept.
std::unique_ptr<Queue> bare_queue();
// The same kind of loop in plpgsql, claim and completion apart, with all rows kept.
std::unique_ptr<Queue> history_queue();

// Registers the workflow "job", which has one task.  With `most`, that number of them may run
// at once, or that number for each value of a key of the job.
void register_job(const std::string& tenant, int most = 0, const std::string& key = {});
// Submits an array of jobs ($1) in one call.
std::string submit_statement(const std::string& tenant);

}  // namespace bench
