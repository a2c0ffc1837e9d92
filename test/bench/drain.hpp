// A queue that is filled, and then worked off to its end.
#pragma once

#include "bench.hpp"
#include "queue.hpp"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace bench {

struct Drain {
  double rate;                 // jobs a second, from the word "go" until the last is finished in the tables
  double first, last;          // the same of the first quarter of the jobs and of the last
  double wal_load, wal_drain;  // bytes a job
};

// With `held`, another session holds a snapshot that was taken before the first claim.
Drain drain(Queue& queue, int jobs, bool held);

// By the queue's name, what it did in each round.
using Drains = std::map<std::string, std::vector<Drain>>;

// Each in each round, beginning with another one each time.  A peer that cannot be had, or
// does not do what it should, is left out, and said so.
Drains drain_in_turns(const std::vector<std::unique_ptr<Queue>>& queues, int jobs, bool held);

// The values that `of` takes of a queue's rounds.
std::vector<double> values(const Drains& drains, const std::string& queue, double (*of)(const Drain&));
// All but Insula, for the reader.
std::vector<Scale> scale(const Drains& drains, double (*of)(const Drain&));

int backlog();  // jobs of a drain: 200,000, or with QUICK=1 less

}  // namespace bench
