// Planning fires; see fires.hpp.  There may be millions of missed fires, as of a schedule for each
// second after a week of downtime, so the newest are searched from the end.
#include "core/fires.hpp"

#include <algorithm>

namespace insula::core {

namespace {

constexpr std::int64_t none = last_instant + 1;
constexpr std::int64_t second = 1'000'000;

std::int64_t floor_seconds(std::int64_t microseconds) noexcept {
  return microseconds >= 0 ? microseconds / second : -((second - 1 - microseconds) / second);
}

std::uint64_t scramble(std::uint64_t value) noexcept {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9U;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebU;
  return value ^ (value >> 31);
}

// Puts the newest fires in (from, to] into `kept`, oldest first.
std::size_t newest_fires(const FireRules &rules, std::int64_t from, std::int64_t to,
                         std::span<std::int64_t> kept) noexcept {
  from = std::max(from, rules.starts_at - 1);
  to = std::min(to, rules.ends_at);
  std::size_t place = kept.size();
  while (place > 0) {
    const auto fire = last_fire(rules.cron, rules.zone, from, to);
    if (!fire) break;
    kept[--place] = *fire;
    to = *fire - 1;
  }
  std::copy(kept.begin() + static_cast<std::ptrdiff_t>(place), kept.end(), kept.begin());
  return kept.size() - place;
}

}  // namespace

std::int64_t due_of_fire(const FireRules &rules, std::int64_t fire) noexcept {
  if (rules.jitter == 0) return fire * second;
  const std::uint64_t random = scramble(rules.seed ^ scramble(static_cast<std::uint64_t>(fire)));
  return fire * second + static_cast<std::int64_t>(random % (static_cast<std::uint64_t>(rules.jitter) + 1));
}

std::int64_t next_allowed_fire(const FireRules &rules, std::int64_t after) noexcept {
  const auto fire = next_fire(rules.cron, rules.zone, std::max(after, rules.starts_at - 1));
  return fire && *fire <= rules.ends_at ? *fire : none;
}

FirePlan plan_fires(const FireRules &rules, std::int64_t after, std::int64_t now, std::int64_t grace, std::int64_t held,
                    std::span<std::int64_t> fires) noexcept {
  FirePlan plan = {0, after, next_allowed_fire(rules, after)};
  // Fires that the schedule itself held back are all made.
  const bool held_back = held >= now - grace;
  const CatchUp catch_up = held_back ? CatchUp::run_all : rules.catch_up;
  const std::int64_t missed_before = held_back ? now + 1 : now - grace;
  const std::size_t most = catch_up == CatchUp::run_all ? static_cast<std::size_t>(std::max(rules.max_catch_up, 1)) : 1;
  const auto kept = fires.first(std::min(most, fires.size()));
  // Jitter can reorder fires, so a fire counts as missed only after the longest jitter.
  const std::int64_t missed_until = floor_seconds(missed_before - 1 - rules.jitter);
  if (plan.next <= missed_until) {
    plan.count = static_cast<int>(newest_fires(rules, after, missed_until, kept));
    plan.until = fires[static_cast<std::size_t>(plan.count - 1)];
    plan.next = next_allowed_fire(rules, plan.until);
    if (catch_up == CatchUp::skip) plan.count = 0;
  }
  while (plan.next != none && due_of_fire(rules, plan.next) <= now) {
    if (held_back && static_cast<std::size_t>(plan.count) == kept.size()) {
      std::copy(kept.begin() + 1, kept.end(), kept.begin());
      --plan.count;
    }
    if (static_cast<std::size_t>(plan.count) == fires.size()) break;
    fires[static_cast<std::size_t>(plan.count++)] = plan.next;
    plan.until = plan.next;
    plan.next = next_allowed_fire(rules, plan.next);
  }
  return plan;
}

}  // namespace insula::core
