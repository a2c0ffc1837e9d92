// The order in which tenants with work are served, and how much each is given at a time: deficit round robin by
// weight.
//
// Tenants stand in a ring.  At its turn a tenant gets credit by its weight, and is served while it has some; then it
// goes to the ring's end.  It may overdraw its credit, so that a claim of many tasks takes several of one tenant, and
// its next turns pay that debt before it is served again.  In the long run each tenant with work is served in
// proportion to its weight, however large the claims are, and each claim gets all that there is.
//
// A tenant that comes is served before the ring, so that one with little work waits for no round of those with much.
// It comes so once: when its work ends it loses the rest of its turn, and stays in the ring, without being served,
// until the ring has come round to it and its debt is paid.  Where no tenant has work all debts are forgotten.  One
// that a claim had no room for is served before the ring, too.
//
// Claims may differ in the tenants that they serve.  A tenant that a claim does not serve keeps its place and its
// credit, which is never more than that of one turn.
//
// All of it is plain data without a lock of its own, since it lies in shared memory.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/list.hpp"

namespace insula::core {

// Credit is counted in microseconds of work.  A turn is worth this many to a tenant of weight 1.
inline constexpr std::int64_t turn_worth = 10000;
// One task of a day must not keep its tenant from being served for a day.
inline constexpr std::int64_t most_debt = std::int64_t{3600} * 1000000;

// The place of a tenant; `clear` makes it one that has never come.
struct Turn {
  enum class Place : std::uint8_t { out, ahead, ring };

  Link<Turn> link;
  std::int64_t credit;
  std::int64_t cost;    // of one task, as the last ones have cost
  std::int64_t taken;   // tasks since it came, net of what was handed back
  std::uint64_t walk;   // the last that has taken of it
  std::int32_t share;   // and its share there
  std::int32_t weight;  // 0: not known before the first visit
  Place place;
  bool has_work;
  bool passed_over;  // the last claim had no room for its tasks

  void clear() { *this = {{}, 0, turn_worth, 0, 0, 0, 0, Place::out, false, false}; }
  std::int64_t worth() const { return std::max(weight, 1) * turn_worth; }
};

// What a claim takes of one tenant.
struct Share {
  Turn *turn;
  int tasks;
};

enum class Pricing { by_task, by_time };

struct Wish {
  int tasks;
  int at_once;  // of a tenant that is served at least these, if the claim wants them
  Pricing pricing;
};

class Turns {
 public:
  // How many have work.
  int count() const { return with_work_; }

  // The tenant has work.  `ahead`: if it comes, it comes before the ring.
  void enter(Turn *turn, bool ahead);
  // It has none.  True: it is in no list any more, and may be forgotten.
  [[nodiscard]] bool rest(Turn *turn);
  // It goes, whatever its state.
  void remove(Turn *turn);

  // Deals out tasks of tenants to a claim, in the order of their turns, at most `room` shares; returns how many.  It
  // may deal out fewer tasks than there are: the claim asks again when it has told what its visits have found. `most`:
  // how many tasks of a tenant the claim would take; 0: it does not serve that tenant. `gone`: the tenant has no work
  // and is in no list any more.
  template <typename Most, typename Gone>
  int deal(const Wish &wish, Share *shares, int room, Most most, Gone gone);

  // After the tenant was visited: `unused` tasks of its share were not there.
  void settle(Turn *turn, std::int64_t unused, std::int32_t weight, Pricing pricing);
  // The claim had no room for its tasks: the next one serves it before the ring.  To be told after `settle`.
  void pass_over(Turn *turn);
  // Tasks have ended, and have taken so long.  False: it is in no list.
  bool charge(Turn *turn, std::int64_t tasks, std::int64_t time);
  // It has cost this much besides, which no task had been estimated to.  False: it is in no list.
  bool spend(Turn *turn, std::int64_t time);

  // In the order of their turns.
  template <typename Visit>
  void for_each_with_work(Visit visit) {
    for (List<Turn> *list : {&ahead_, &ring_})
      if (list->ends.next)
        list->for_each([&](Turn *turn) {
          if (turn->has_work) visit(turn);
        });
  }

  // Any; nullptr: there is none.
  Turn *first() const { return ahead_count_ > 0 ? ahead_.first() : ring_count_ > 0 ? ring_.first() : nullptr; }

  // Where no tenant has work.
  template <typename Gone>
  void forget_debts(Gone gone) {
    while (with_work_ == 0 && ring_count_ > 0) {
      Turn *turn = ring_.first();
      unlink(turn);
      gone(turn);
    }
  }

 private:
  // One walk through all tenants.
  struct Lap {
    std::int64_t rounds;          // that each tenant gets credit for
    std::int64_t tasks = 0;       // that one round is worth to the tenants that the claim serves
    bool full = false;            // there was no room for a share
    bool unknown = false;         // the weight of a tenant is not known
    bool served = false;          // a tenant was
    bool in_debt = false;         // a tenant that the claim serves still is
    std::int64_t least_debt = 0;  // in rounds, but for the last part
  };

  void link(Turn *turn, Turn::Place place);
  void unlink(Turn *turn);
  void to_end(Turn *turn) {
    unlink(turn);
    link(turn, Turn::Place::ring);
  }

  static std::int64_t price(const Turn &turn, Pricing pricing) {
    return pricing == Pricing::by_task ? turn_worth : turn.cost;
  }
  static std::int64_t tasks_for(std::int64_t credit, std::int64_t price) { return (credit + price - 1) / price; }
  bool is_taken_of(const Turn &turn) const { return turn.walk == walk_; }

  List<Turn> ahead_;
  List<Turn> ring_;
  int ahead_count_;
  int ring_count_;
  int with_work_;
  std::uint64_t walk_;
};

template <typename Most, typename Gone>
int Turns::deal(const Wish &wish, Share *shares, int room, Most most, Gone gone) {
  ++walk_;
  int count = 0;
  int left = wish.tasks;
  const auto left_of = [&](Turn *turn) {
    const int all = turn->has_work ? most(turn) : 0;
    return is_taken_of(*turn) ? all - shares[turn->share].tasks : all;
  };
  const auto serve = [&](Turn *turn, int available, int at_once) {
    const std::int64_t cost = price(*turn, wish.pricing);
    const std::int64_t paid = tasks_for(turn->credit, cost);
    const auto tasks =
        static_cast<int>(std::min<std::int64_t>({std::max<std::int64_t>(paid, at_once), left, available}));
    if (!is_taken_of(*turn)) {
      turn->walk = walk_;
      turn->share = count;
      shares[count++] = {turn, 0};
    }
    shares[turn->share].tasks += tasks;
    turn->taken += tasks;
    turn->credit = std::max(turn->credit - tasks * cost, -most_debt);
    left -= tasks;
    if (turn->credit <= 0) to_end(turn);
  };
  // A tenant in the ring without work pays its debt, and leaves.
  const auto pay = [&](Turn *turn, const Lap *lap) {
    turn->credit = std::min<std::int64_t>(turn->credit + lap->rounds * turn->worth(), 0);
    if (turn->credit < 0) return to_end(turn);
    unlink(turn);
    gone(turn);
  };
  const auto step = [&](Turn *turn, Lap *lap) {
    if (!turn->has_work) return pay(turn, lap);
    const int available = left_of(turn);
    if (available <= 0) return;
    if (!is_taken_of(*turn) && count == room) {
      lap->full = true;
      return;
    }
    lap->tasks += tasks_for(turn->worth(), price(*turn, wish.pricing));
    if (turn->credit <= 0) turn->credit += lap->rounds * turn->worth();
    if (turn->credit > 0) {
      lap->served = true;
      lap->unknown = lap->unknown || turn->weight == 0;
      return serve(turn, available, lap->rounds == 1 ? wish.at_once : 1);
    }
    const std::int64_t debt = -turn->credit / turn->worth();
    lap->least_debt = lap->in_debt ? std::min(lap->least_debt, debt) : debt;
    lap->in_debt = true;
    to_end(turn);
  };
  // Those that a step moves come behind the ones that are walked through.
  const auto walk = [&](List<Turn> &list, int steps, Lap *lap) {
    for (Link<Turn> *link = list.ends.next; steps > 0 && left > 0 && !lap->full; --steps) {
      Turn *turn = link->entry;
      link = link->next;
      step(turn, lap);
    }
  };
  for (std::int64_t rounds = 1; left > 0;) {
    Lap lap = {.rounds = rounds};
    const int in_ring = ring_count_;
    walk(ahead_, ahead_count_, &lap);
    walk(ring_, in_ring, &lap);
    if (lap.full || lap.unknown || (!lap.served && !lap.in_debt)) break;
    // Those in debt need not be walked through until one of them has paid.
    if (!lap.served)
      ring_.for_each([&](Turn *turn) {
        if (!turn->has_work || left_of(turn) > 0)
          turn->credit = std::min(turn->credit + lap.least_debt * turn->worth(), std::int64_t{0});
      });
    // The walks are few, however large the claim is.  One of several rounds reaches each tenant, since they are worth
    // no more than what is left.
    rounds = lap.served ? std::max<std::int64_t>(left / lap.tasks, 1) : 1;
  }
  return count;
}

}  // namespace insula::core
