// P3: one claim and one completion at a time, each a transaction of its own, on eight
// connections, for some seconds of a backlog.  The client cannot be made to do just that: what
// its handlers finish while a completion is under way goes out in one call.  So the bar is
// for the calls themselves, by libpq, and the client's rate stands beside it.
#include "bench.hpp"
#include "drain.hpp"

#include <fmt/format.h>

#include <map>

namespace bench {

namespace {

double pairs_a_second(Queue& queue) {
  const int jobs = quick() ? 20000 : 60000;
  const std::chrono::milliseconds warm_up{500};
  const std::chrono::milliseconds time{quick() ? 1500 : 4000};
  queue.make();
  Sql().value("CHECKPOINT");
  queue.load(jobs);
  Workers workers(queue.workers(Use::pairs));
  workers.go();
  workers.listen(jobs, workers.began() + warm_up);
  const long before = workers.handled();
  const auto begin = Clock::now();
  workers.listen(jobs, begin + time);
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  if (seconds < 0.5) give_up(fmt::format("{}: {} jobs are not enough", queue.name(), jobs));
  const double rate = static_cast<double>(workers.handled() - before) / seconds;
  workers.stop();
  queue.drop();
  tell(fmt::format("{:<22} {:>9.0f} jobs/s", queue.name(), rate));
  return rate;
}

}  // namespace

std::vector<Figure> single_pairs() {
  std::vector<std::unique_ptr<Queue>> queues;
  queues.push_back(insula_calls_queue());
  queues.push_back(insula_queue());
  const std::string calls = queues[0]->name();
  const std::string client = queues[1]->name();
  queues.push_back(graphile_queue());
  queues.push_back(pgboss_queue());
  queues.push_back(history_queue());
  queues.push_back(bare_queue());
  std::map<std::string, std::vector<double>> rates;
  for (int round = 0; round < rounds(); ++round)
    for (std::size_t i = 0; i < queues.size(); ++i) {
      Queue& queue = *queues[(i + static_cast<std::size_t>(round)) % queues.size()];
      rates[queue.name()].push_back(pairs_a_second(queue));
    }
  const std::string best =
      median(rates.at("graphile-worker")) > median(rates.at("pg-boss")) ? "graphile-worker" : "pg-boss";
  const double peer = median(rates.at(best));
  const auto figure = [&](const char* id, const char* what, const std::vector<double>& list) {
    return Figure{id,
                  what,
                  median(list),
                  "jobs/s",
                  median(list) / peer,
                  2,
                  false,
                  fmt::format("{}'s, {:.0f} jobs/s", best, peer),
                  lowest(list),
                  highest(list)};
  };
  std::vector<Figure> figures = {figure("P3", "one claim, one completion", rates.at(calls)),
                                 figure("P3.client", "the same by the client", rates.at(client))};
  for (const auto& [queue, list] : rates)
    if (queue != calls && queue != client)
      figures.front().scale.push_back({queue, median(list), lowest(list), highest(list)});
  return figures;
}

}  // namespace bench
