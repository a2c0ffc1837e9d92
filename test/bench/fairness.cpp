// T4: a tenant floods, and quiet ones wait no longer for it; with a picture.  T5: shares by weight.
#include "town.hpp"

#include "support/cluster.hpp"

#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <fstream>
#include <thread>

namespace bench {

namespace {

constexpr int quiet_tenants = 10;
constexpr auto quiet_gap = std::chrono::milliseconds{10};
constexpr auto task = std::chrono::milliseconds{5};
constexpr int handlers = 8;
constexpr int capped_handlers = 6;

int phase_seconds() { return quick() ? 6 : 20; }

struct Wait {
  double at;  // seconds from the start
  double ms;
};

struct Noise {
  std::vector<Wait> waits;  // of the quiet tenants
  long flooded = 0;         // tasks of the flooder that were run
};

// Submits more than the handlers can do.
void flood(Town& town, const std::atomic<bool>& stop) {
  Sql sql(town.database());
  while (!stop) {
    sql.value(
        fmt::format("SELECT insula.submit_many('w', array_fill('{{\"n\": -1}}'::jsonb, ARRAY[200]), tenant => '{}')",
                    Town::name_of(quiet_tenants)));
    std::this_thread::sleep_for(std::chrono::milliseconds{100});
  }
}

Noise run_noise(Town& town, int handlers_per_tenant) {
  TownFleet fleet(town, handlers, task, handlers_per_tenant);
  Noise noise;
  std::vector<Clock::time_point> committed;
  std::atomic<bool> stop = false;
  std::thread flooder;
  const auto start = Clock::now();
  const auto seconds = [&](Clock::time_point at) { return std::chrono::duration<double>(at - start).count(); };
  const auto note = [&] {
    for (const TownFleet::Start& begun : fleet.starts()) {
      if (begun.n < 0) {
        ++noise.flooded;
        continue;
      }
      const Clock::time_point at = committed.at(static_cast<std::size_t>(begun.n));
      noise.waits.push_back({seconds(at), std::max(0.0, seconds(begun.at) - seconds(at)) * 1000});
    }
  };
  for (int phase = 0; phase < 3; ++phase) {
    if (phase == 1) flooder = std::thread(flood, std::ref(town), std::cref(stop));
    if (phase == 2) {
      stop = true;
      flooder.join();
    }
    while (seconds(Clock::now()) < (phase + 1) * phase_seconds()) {
      const auto n = static_cast<long>(committed.size());
      const std::string submit = fmt::format("SELECT insula.submit('w', jsonb_build_object('n', {}), tenant => '{}')",
                                             n, Town::name_of(static_cast<int>(n % quiet_tenants)));
      // Before the commit: a handler may be quicker than the news of it.
      committed.push_back(Clock::now());
      town.sql().value(submit);
      committed.back() = Clock::now();
      std::this_thread::sleep_for(quiet_gap);
    }
  }
  (void)insula_test::eventually([&] {
    note();
    return noise.waits.size() == committed.size();
  });
  if (noise.waits.size() != committed.size()) give_up("some tasks of quiet tenants were not run");
  return noise;
}

double p99_between(const Noise& noise, double from, double to) {
  std::vector<double> waits;
  for (const Wait& wait : noise.waits)
    if (wait.at >= from && wait.at < to) waits.push_back(wait.ms);
  return waits.empty() ? 0 : quantile(waits, 0.99);
}

// While every handler runs a task of the flood a quiet tenant's waits until one of them is free; 99 of a hundred such
// waits are shorter than this, in milliseconds, if the handlers began at random moments.  No claim makes it less.
double p99_until_a_handler_is_free() {
  return std::chrono::duration<double, std::milli>(task).count() * (1 - std::pow(0.01, 1.0 / handlers));
}

// The quiet tenants' p99 over time.
void draw(const Noise& noise, const std::string& file) {
  const int all = 3 * phase_seconds();
  constexpr double step = 0.5;
  std::vector<double> points;
  double most = 1;
  for (double at = 0; at < all; at += step) {
    points.push_back(p99_between(noise, at, at + step));
    most = std::max(most, points.back());
  }
  constexpr int width = 900, height = 360, left = 60, bottom = 320, top = 40;
  const auto x = [&](double second) { return left + second / all * (width - left - 20); };
  const auto y = [&](double value) { return bottom - value / most * (bottom - top); };
  std::ofstream svg(file);
  svg << fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"13\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<rect x=\"{:.0f}\" y=\"{}\" width=\"{:.0f}\" height=\"{}\" fill=\"#fde8d7\"/>\n"
      "<text x=\"{:.0f}\" y=\"{}\">another tenant floods</text>\n"
      "<text x=\"{}\" y=\"20\">p99 of the wait of {} quiet tenants' tasks, by half second</text>\n",
      width, height, x(phase_seconds()), top, x(2 * phase_seconds()) - x(phase_seconds()), bottom - top,
      x(phase_seconds()) + 8, top + 18, left, quiet_tenants);
  for (int i = 0; i <= 4; ++i)
    svg << fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\" stroke=\"#ddd\"/><text x=\"{3}\" y=\"{4:.1f}\" "
        "text-anchor=\"end\">{5:.1f} ms</text>\n",
        left, width - 20, y(most * i / 4), left - 4, y(most * i / 4) + 4, most * i / 4);
  for (int second = 0; second <= all; second += phase_seconds())
    svg << fmt::format("<text x=\"{:.0f}\" y=\"{}\" text-anchor=\"middle\">{} s</text>\n", x(second), bottom + 20,
                       second);
  svg << "<polyline fill=\"none\" stroke=\"#b5482a\" stroke-width=\"2\" points=\"";
  for (std::size_t i = 0; i < points.size(); ++i)
    svg << fmt::format("{:.1f},{:.1f} ", x(step * (static_cast<double>(i) + 0.5)), y(points[i]));
  svg << "\"/>\n</svg>\n";
}

}  // namespace

namespace {

Figure noise_figure(const std::string& id, const std::string& what, const Noise& noise) {
  const double length = phase_seconds();
  const double before = p99_between(noise, 1, length);
  const double during = p99_between(noise, length, 2 * length);
  const double after = p99_between(noise, 2 * length, 3 * length);
  tell(fmt::format("p99 {:.2f} ms before, {:.2f} during, {:.2f} after; {} tasks of the flooder run", before, during,
                   after, noise.flooded));
  return {id,   what, during, "ms", during / before, 3, true, fmt::format("{:.2f} ms before it", before),
          during, during};
}

}  // namespace

std::vector<Figure> noisy_neighbour() {
  Town town("t4");
  town.grow(quiet_tenants + 1);
  const Noise noise = run_noise(town, 0);
  const std::string picture = insula_test::environment("BENCH_PICTURES", "");
  if (!picture.empty()) draw(noise, picture + "/fairness.svg");
  tell(fmt::format("99 of a hundred waits for a free one of {} handlers: {:.2f} ms", handlers,
                   p99_until_a_handler_is_free()));
  // The flood may have left tasks, which belong to no phase of the next one.
  town.sql().value(fmt::format("SELECT count(*) FROM insula.cancel_executions(dry_run => false, tenant => '{}')",
                               Town::name_of(quiet_tenants)));
  const Noise capped = run_noise(town, capped_handlers);
  return {noise_figure("T4", "p99 wait of quiet tenants in a flood", noise),
          noise_figure("T4.capped", fmt::format("with {} handlers a tenant", capped_handlers), capped)};
}

std::vector<Figure> shares_by_weight() {
  Town town("t5");
  town.grow(3);
  const int tasks = quick() ? 3500 : 14000;
  for (int i = 0; i < 3; ++i) {
    town.sql().value(fmt::format("SELECT insula.set_tenant_limits('{}', weight => {})", Town::name_of(i), 1 << i));
    town.sql().value(
        fmt::format("SELECT count(*) FROM unnest(insula.submit_many('w', array_fill('{{}}'::jsonb, "
                    "ARRAY[{}]), tenant => '{}'))",
                    tasks, Town::name_of(i)));
  }
  std::map<std::string, int> served;
  {
    TownFleet fleet(town, handlers, std::chrono::milliseconds{1});
    if (!insula_test::eventually([&] { return fleet.count() >= tasks; })) give_up("the fleet is too slow");
    int count = 0;
    for (const TownFleet::Start& start : fleet.starts())
      if (count++ < tasks) ++served[start.tenant];
  }
  double worst = 0;
  for (int i = 0; i < 3; ++i) {
    const double fair = tasks / 7.0 * (1 << i);
    worst = std::max(worst, std::abs(served[Town::name_of(i)] - fair) / fair * 100);
  }
  tell(fmt::format("{}, {} and {} tasks", served["t_0"], served["t_1"], served["t_2"]));
  return {{"T5", "shares of weights 1:2:4, at worst", worst, "% off", worst, 5, true,
           fmt::format("{} tasks run", tasks), worst, worst}};
}

}  // namespace bench
