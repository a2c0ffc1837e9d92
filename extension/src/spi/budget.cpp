// The budget of a visit; see budget.hpp.
#include "spi/budget.hpp"

#include <algorithm>

#include "postgres.hpp"
#include "shared/clock.hpp"

namespace insula {

namespace {

int visit_milliseconds = 1000;
int visit_kilobytes = 32 * 1024;

std::int64_t until = PG_INT64_MAX;
std::size_t bytes = 0;

}  // namespace

void define_budget_settings() {
  DefineCustomIntVariable("insula.visit_time", "How long a call or a scheduler works for one tenant in one go.",
                          "What is left then has another turn.", &visit_milliseconds, 1000, 1, 3600000, PGC_SUSET,
                          GUC_UNIT_MS, nullptr, nullptr, nullptr);
  DefineCustomIntVariable("insula.visit_bytes",
                          "How much of contexts a call or a scheduler reads and makes for one tenant in one go.",
                          "What is left then has another turn.", &visit_kilobytes, 32 * 1024, 1, 1024 * 1024, PGC_SUSET,
                          GUC_UNIT_KB, nullptr, nullptr, nullptr);
}

void begin_budget() { begin_budget(PG_INT64_MAX); }

void begin_budget(std::int64_t microseconds) {
  until = passing_time() + std::min(microseconds, visit_microseconds());
  bytes = 0;
}

std::int64_t visit_microseconds() { return std::int64_t{visit_milliseconds} * 1000; }

std::int64_t share_microseconds() { return visit_microseconds() / 10; }

void charge(std::size_t more) { bytes += more; }

bool budget_bytes_are_spent() { return budget_bytes_left() == 0; }

std::size_t visit_bytes() { return static_cast<std::size_t>(visit_kilobytes) * 1024; }

std::size_t budget_bytes_left() { return visit_bytes() - std::min(visit_bytes(), bytes); }

bool budget_is_spent() { return budget_bytes_are_spent() || passing_time() >= until; }

}  // namespace insula
