// What the bars share: one bar is one function that measures and returns its figures; the
// program prints them beside what they must be, and writes them as JSON.  All figures of a
// run come from one server in one run; only their ratios say anything about another machine.
#pragma once

#include <insula/insula.hpp>

#include <postgresql/libpq-fe.h>

#include <functional>
#include <string>
#include <vector>

namespace bench {

// A bar's figure: what was measured, and whether it is what it must be.
struct Figure {
  std::string id;  // as in P6.step
  std::string what;
  double value;
  std::string unit;
  double ratio;  // what is compared with the bar
  double bar;
  bool at_most;         // the bar is the most that the ratio may be, else the least
  std::string against;  // what the ratio is to
  double low, high;     // of the rounds' values

  bool holds() const { return at_most ? ratio <= bar : ratio >= bar; }
};

struct Bar {
  const char* name;  // as in P6
  std::vector<Figure> (*measure)();
};

std::vector<Figure> p6();

// ---- what measuring needs ----

bool quick();  // QUICK=1: smaller numbers
int rounds();  // three, at least
int cores();

// A connection of the bench's own, as the superuser.  An error ends the bench.
class Sql {
 public:
  Sql();
  ~Sql();
  Sql(const Sql&) = delete;
  Sql& operator=(const Sql&) = delete;
  std::string value(const std::string& statement);

 private:
  PGconn* conn_;
};

double seconds_of(const std::function<void()>& work);
double median(std::vector<double> values);
double lowest(const std::vector<double>& values);
double highest(const std::vector<double>& values);

// A durable transaction of one small row on one connection, in seconds: the median of some
// hundreds.  Most bars are so many of these, since that is what the machine's disk allows.
double commit_seconds();

// A runner for a tenant that is made for it, and for it alone.
insula::Runner runner_for(const std::string& tenant, int handlers);

// Ends the bench if so many executions of the tenant were not completed, each task once.
void expect_completed(const std::string& tenant, long executions, long tasks);

[[noreturn]] void give_up(const std::string& why);

}  // namespace bench
