// P2, P7, P8 and P10: what working off a backlog takes, in time and WAL, how it ages while a
// snapshot is held, and what an exact limit adds.
#include "drain.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace bench {

namespace {

double rate(const Drain& drain) { return drain.rate; }
double wal(const Drain& drain) { return drain.wal_load + drain.wal_drain; }
double ageing(const Drain& drain) { return drain.last / drain.first; }

std::vector<std::unique_ptr<Queue>> contestants(bool with_limits) {
  std::vector<std::unique_ptr<Queue>> queues;
  queues.push_back(insula_queue());
  queues.push_back(graphile_queue());
  queues.push_back(pgboss_queue());
  queues.push_back(bare_queue());
  if (with_limits) {
    queues.push_back(history_queue());
    queues.push_back(pgq_queue());
  }
  return queues;
}

// P2 and P7 look at the same drains.
const Drains& plain_drains() {
  static const Drains drains = drain_in_turns(contestants(true), backlog(), false);
  return drains;
}

// With the ratio, the bar and what it is against still to be said.
Figure figure(const std::string& id, const std::string& what, const std::vector<double>& measured, const char* unit) {
  return {id, what, median(measured), unit, median(measured), 0, false, "", lowest(measured), highest(measured)};
}

}  // namespace

std::vector<Figure> drain_rate() {
  const Drains& drains = plain_drains();
  const double peer = median(values(drains, "graphile-worker", rate));
  Figure of_insula = figure("P2", fmt::format("drain of {} jobs", backlog()), values(drains, "Insula", rate), "jobs/s");
  of_insula.ratio = of_insula.value / peer;
  of_insula.bar = 2;
  of_insula.against = fmt::format("graphile-worker's, {:.0f} jobs/s", peer);
  of_insula.scale = scale(drains, rate);
  return {of_insula};
}

std::vector<Figure> drain_wal() {
  const Drains& drains = plain_drains();
  Figure of_insula = figure("P7", "WAL from submit to history", values(drains, "Insula", wal), "bytes a job");
  of_insula.ratio = of_insula.value / 1024;
  of_insula.bar = 1;
  of_insula.at_most = true;
  of_insula.against = "1,024 bytes";
  of_insula.scale = scale(drains, wal);
  return {of_insula};
}

std::vector<Figure> drain_under_snapshot() {
  const Drains drains = drain_in_turns(contestants(false), backlog(), true);
  Figure of_insula = figure("P8", "drain with a snapshot held", values(drains, "Insula", ageing), "x");
  of_insula.bar = 0.9;
  of_insula.against =
      fmt::format("the first quarter's rate ({:.0f} jobs/s over the whole)", median(values(drains, "Insula", rate)));
  of_insula.scale = scale(drains, ageing);
  return {of_insula};
}

std::vector<Figure> cost_of_limits() {
  struct Kind {
    Limit limit;
    const char* id;
    const char* what;
  };
  const Kind kinds[] = {{Limit::tenant, "P10", "cost of max_running"},
                        {Limit::workflow, "P10.workflow", "cost of a workflow's limit"},
                        {Limit::key, "P10.key", "cost of a limit for each job's key"}};
  std::vector<std::unique_ptr<Queue>> queues;
  queues.push_back(insula_queue());
  for (const Kind& kind : kinds) queues.push_back(insula_queue({.limit = kind.limit}));
  const Drains drains = drain_in_turns(queues, backlog(), false);
  const auto free = values(drains, "Insula", rate);
  std::vector<Figure> figures;
  for (std::size_t k = 0; k < std::size(kinds); ++k) {
    const auto& limited = drains.at(queues[k + 1]->name());
    std::vector<double> costs;
    for (std::size_t i = 0; i < free.size(); ++i) costs.push_back(100 * (1 - limited[i].rate / free[i]));
    Figure cost = figure(kinds[k].id, kinds[k].what, costs, "% of the rate");
    cost.bar = 10;
    cost.at_most = true;
    cost.against = fmt::format("the same drain without, {:.0f} jobs/s", median(free));
    figures.push_back(cost);
  }
  return figures;
}

}  // namespace bench
