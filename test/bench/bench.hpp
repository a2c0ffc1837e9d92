// The parts that the bars share.  One bar is one function that measures and returns its
// figures; the program prints them beside what they must be, and writes them as JSON.  All figures of a
// run come from one server in one run; only their ratios say anything about another machine.
#pragma once

#include <insula/insula.hpp>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "support/connection.hpp"

namespace bench {

// A second, in the unit of the figures.
constexpr double ms = 1000;

// A competitor's result in the same rounds and in the same unit.
struct Scale {
  std::string who;
  double value, low, high;
};

// A bar's figure: what was measured, and whether it is what it must be.
struct Figure {
  std::string id;  // as in P6.step
  std::string what;
  double value;
  std::string unit;
  double ratio;  // what is compared with the bar
  double bar;
  bool at_most;                   // the bar is the most that the ratio may be, else the least
  std::string against;            // what the ratio is to
  double low, high;               // of the rounds' values
  std::vector<Scale> scale = {};  // what else was measured in the same rounds

  bool holds() const { return at_most ? ratio <= bar : ratio >= bar; }
};

struct Bar {
  const char* name;  // as in P6
  std::vector<Figure> (*measure)();
};

std::vector<Figure> bulk_submit();
std::vector<Figure> drain_rate();
std::vector<Figure> single_pairs();
std::vector<Figure> pick_up_time();
std::vector<Figure> execute_time();
std::vector<Figure> workflow_rates();
std::vector<Figure> drain_wal();
std::vector<Figure> drain_under_snapshot();
std::vector<Figure> statements_per_task();
std::vector<Figure> cost_of_limits();
std::vector<Figure> first_claims();
std::vector<Figure> provisioning();
std::vector<Figure> claims_of_many();
std::vector<Figure> noisy_neighbour();
std::vector<Figure> shares_by_weight();
std::vector<Figure> memory_of_many();
std::vector<Figure> fire_lateness();
std::vector<Figure> buffers_of_many();

// ---- what measuring needs ----

bool quick();  // QUICK=1: smaller numbers
int rounds();  // three, at least
int cores();

// A bar cannot be measured.
struct NotMeasured : std::runtime_error {
  using std::runtime_error::runtime_error;
};
[[noreturn]] void give_up(const std::string& why);

// A connection of the bench's own, as the superuser.  An error gives the bar up.
class Sql : public insula_test::Connection {
 public:
  explicit Sql(const std::string& database = {}) : Connection("application_name=bench dbname=" + database) {
    run(*this, "SET client_min_messages = warning");
  }
};

double seconds_of(const std::function<void()>& work);
double median(std::vector<double> values);
double quantile(std::vector<double> values, double share);
double lowest(const std::vector<double>& values);
double highest(const std::vector<double>& values);

// A durable transaction of one small row on one connection, in seconds: the median of some
// hundreds.  Most bars are multiples of it, since the machine's disk decides it.
double commit_seconds();

// A runner for a tenant that is made for it, and for it alone.
insula::Runner runner_for(const std::string& tenant, int handlers);

// Gives up unless exactly these executions of the tenant were completed, each task once.
void expect_completed(const std::string& tenant, long executions, long tasks);

// So much of the WAL as has been written by now, in bytes.
double wal_position();

// Says on the error output what is being measured.
void tell(const std::string& what);

}  // namespace bench
