// Drains; see drain.hpp.
#include "drain.hpp"

#include <fmt/format.h>

#include <set>
#include <thread>

namespace bench {

namespace {

double seconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

// Returns the time of the question that was answered with yes: the answer itself may take a walk
// over a whole history, which is no part of a drain.
Clock::time_point wait_until_finished(const Queue& queue) {
  const auto until = Clock::now() + std::chrono::seconds{60};
  for (;;) {
    const auto asked_at = Clock::now();
    if (!queue.has_unfinished()) return asked_at;
    if (asked_at > until) give_up(fmt::format("{}: what was handled is not finished", queue.name()));
    std::this_thread::sleep_for(std::chrono::milliseconds{1});
  }
}

Drain work_off(Queue& queue, int jobs) {
  Workers workers(queue.workers(Use::drain));
  const double wal_before = wal_position();
  workers.go();
  workers.listen(jobs);
  const auto end = wait_until_finished(queue);
  const double wal_after = wal_position();
  workers.stop();
  if (workers.handled() != jobs)
    give_up(fmt::format("{}: {} jobs were handled {} times", queue.name(), jobs, workers.handled()));
  const double quarter = jobs / 4.0;
  return {jobs / seconds(workers.began(), end), quarter / seconds(workers.began(), workers.when(jobs / 4)),
          quarter / seconds(workers.when(jobs - jobs / 4), end), 0, (wal_after - wal_before) / jobs};
}

}  // namespace

Drain drain(Queue& queue, int jobs, bool held) {
  Sql sql;
  queue.make();
  sql.value("CHECKPOINT");
  const double wal_before = wal_position();
  queue.load(jobs);
  const double wal_after = wal_position();
  Sql holder{queue.database()};
  if (held) holder.value("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class");
  Drain result = work_off(queue, jobs);
  result.wal_load = (wal_after - wal_before) / jobs;
  if (held) holder.value("COMMIT");
  queue.check(jobs);
  tell(fmt::format("{:<22} {:>9.0f} jobs/s, {:.0f} at first, {:.0f} at last; WAL {:.0f} + {:.0f} bytes a job",
                   queue.name(), result.rate, result.first, result.last, result.wal_load, result.wal_drain));
  return result;
}

Drains drain_in_turns(const std::vector<std::unique_ptr<Queue>>& queues, int jobs, bool held) {
  Drains drains;
  std::set<std::string> out;
  for (int round = 0; round < rounds(); ++round)
    for (std::size_t i = 0; i < queues.size(); ++i) {
      Queue& queue = *queues[(i + static_cast<std::size_t>(round)) % queues.size()];
      if (out.contains(queue.name())) continue;
      try {
        drains[queue.name()].push_back(drain(queue, jobs, held));
        queue.drop();
      } catch (const std::runtime_error& failure) {
        if (!queue.is_peer()) throw;
        tell(fmt::format("{} is left out: {}", queue.name(), failure.what()));
        out.insert(queue.name());
        drains.erase(queue.name());
      }
    }
  return drains;
}

std::vector<double> values(const Drains& drains, const std::string& queue, double (*of)(const Drain&)) {
  if (!drains.contains(queue)) give_up(fmt::format("{} could not be measured", queue));
  std::vector<double> list;
  for (const Drain& round : drains.at(queue)) list.push_back(of(round));
  return list;
}

std::vector<Scale> scale(const Drains& drains, double (*of)(const Drain&)) {
  std::vector<Scale> list;
  for (const auto& [queue, rounds] : drains) {
    if (queue == "Insula") continue;
    const auto of_rounds = values(drains, queue, of);
    list.push_back({queue, median(of_rounds), lowest(of_rounds), highest(of_rounds)});
  }
  return list;
}

int backlog() { return quick() ? 30000 : 200000; }

}  // namespace bench
