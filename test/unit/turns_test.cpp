// The turns of tenants, against what they promise: each claim gets all that there is, tenants with work are served by
// weight whatever the sizes and the choices of the claims, none is left out, and nothing is saved up.
#include "core/turns.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <numeric>
#include <random>
#include <set>
#include <vector>

namespace insula::core {
namespace {

struct Tenant {
  Turn turn;
  std::int32_t weight;
  int kinds;  // of tasks, by bits; a claim serves one kind
  std::int64_t work;
  std::int64_t cost;  // of a task
  std::int64_t served;
};

// Plays the processes: keeps the work of tenants, claims, and tells the turns what it finds.
class Town {
 public:
  explicit Town(int tenants, Pricing pricing = Pricing::by_task) : pricing_(pricing) {
    for (int i = 0; i < tenants; ++i) {
      tenants_.push_back({{}, 1, 1, 0, turn_worth, 0});
      tenants_.back().turn.clear();
    }
  }

  Tenant& operator[](int i) { return tenants_[static_cast<std::size_t>(i)]; }
  int size() const { return static_cast<int>(tenants_.size()); }

  void submit(int i, std::int64_t work) {
    (*this)[i].work += work;
    turns_.enter(&(*this)[i].turn, true);
  }

  // Returns the tenants in the order in which they were served, one for each task.
  std::vector<int> claim(int tasks, int kind = 1, int at_once = 1, int most_each = 1 << 30) {
    std::vector<int> order;
    std::vector<int> given(tenants_.size());
    for (int left = tasks; left > 0;) {
      Share shares[8];
      const int count = turns_.deal(
          {left, at_once, pricing_}, shares, 8,
          [&](Turn* turn) { return (tenant_of(turn).kinds & kind) ? most_each - given[index_of(turn)] : 0; },
          [&](Turn* turn) { EXPECT_FALSE(turn->has_work); });
      if (count == 0) break;
      EXPECT_LE(std::accumulate(shares, shares + count, 0, [](int sum, const Share& s) { return sum + s.tasks; }),
                left);
      for (int i = 0; i < count; ++i) left -= visit(shares[i], &order, &given);
      EXPECT_TRUE(holds());
    }
    for (const int i : order) ++(*this)[i].served;
    return order;
  }

  // A task ends.
  void end(int i) { (void)turns_.charge(&(*this)[i].turn, 1, (*this)[i].cost); }
  // The tenant has cost its claims this much.
  void spend(int i, std::int64_t time) { (void)turns_.spend(&(*this)[i].turn, time); }
  // A claim had no room for it.
  void pass_over(int i) { turns_.pass_over(&(*this)[i].turn); }
  void forget_debts() {
    turns_.forget_debts([](Turn*) {});
  }

  // What the lists say, and what is.
  bool holds() {
    int with_work = 0, linked = 0;
    for (Tenant& tenant : tenants_) {
      with_work += tenant.turn.has_work;
      linked += tenant.turn.place != Turn::Place::out;
      if (tenant.turn.has_work && tenant.turn.place == Turn::Place::out) return false;
      if (tenant.work > 0 && !tenant.turn.has_work) return false;
      if (tenant.turn.credit > tenant.turn.worth() || tenant.turn.credit < -most_debt) return false;
      if (!tenant.turn.has_work && tenant.turn.credit > 0) return false;
    }
    int seen = 0;
    turns_.for_each_with_work([&](Turn*) { ++seen; });
    linked_ = linked;
    return seen == with_work && turns_.count() == with_work;
  }
  int linked() {
    EXPECT_TRUE(holds());
    return linked_;
  }

 private:
  std::size_t index_of(const Turn* turn) const {
    return static_cast<std::size_t>(reinterpret_cast<const Tenant*>(turn) - tenants_.data());
  }
  Tenant& tenant_of(const Turn* turn) { return tenants_[index_of(turn)]; }

  int visit(const Share& share, std::vector<int>* order, std::vector<int>* given) {
    Tenant& tenant = tenant_of(share.turn);
    const auto found = static_cast<int>(std::min<std::int64_t>(share.tasks, tenant.work));
    tenant.work -= found;
    order->insert(order->end(), static_cast<std::size_t>(found), static_cast<int>(index_of(share.turn)));
    (*given)[index_of(share.turn)] += found;
    turns_.settle(share.turn, share.tasks - found, tenant.weight, pricing_);
    if (found < share.tasks) (void)turns_.rest(share.turn);
    return found;
  }

  Turns turns_ = {};
  Pricing pricing_;
  std::vector<Tenant> tenants_;
  int linked_ = 0;
};
static_assert(offsetof(Tenant, turn) == 0);

struct ThreeByWeight : Town {
  explicit ThreeByWeight(std::int64_t work, Pricing pricing = Pricing::by_task) : Town(3, pricing) {
    for (int i = 0; i < 3; ++i) {
      (*this)[i].weight = 1 << i;
      submit(i, work);
    }
  }
};

TEST(Turns, WeightsHoldHoweverManyTasksAClaimTakes) {
  for (const int tasks : {1, 2, 3, 10, 100, 700}) {
    ThreeByWeight town(100000);
    for (int claimed = 0; claimed < 70000; claimed += tasks) town.claim(tasks, 1, 1 + tasks / 16);
    for (int i = 0; i < 3; ++i) EXPECT_NEAR(town[i].served, 10000 << i, 10 + tasks / 4) << tasks;
  }
}

TEST(Turns, ClaimsOfDifferentSizesKeepTheWeights) {
  ThreeByWeight town(100000);
  std::mt19937 random(1);
  int claimed = 0;
  while (claimed < 70000) {
    const int tasks = random() % 2 ? 1 : 100;
    claimed += static_cast<int>(town.claim(tasks, 1, 1 + tasks / 16).size());
  }
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(town[i].served, (claimed / 7) << i, 40);
}

TEST(Turns, ATenantAloneGetsAll) {
  Town town(5);
  town.submit(2, 1000);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(town.claim(100, 1, 7).size(), 100u);
  EXPECT_EQ(town.claim(1).size(), 0u);
  EXPECT_EQ(town.linked(), 0);  // its debt has gone
}

TEST(Turns, ANewcomerIsServedNext) {
  Town town(101);
  for (int i = 0; i < 100; ++i) town.submit(i, 1000);
  for (int i = 0; i < 250; ++i) town.claim(1);
  town.submit(100, 1);
  EXPECT_EQ(town.claim(1).front(), 100);
}

TEST(Turns, ATenantThatWasPassedOverIsServedNext) {
  Town town(100);
  for (int i = 0; i < 100; ++i) town.submit(i, 1000);
  for (int i = 0; i < 250; ++i) town.claim(1);
  town.pass_over(48);
  EXPECT_EQ(town.claim(2), (std::vector<int>{48, 50}));
  std::set<int> next;
  for (int i = 0; i < 98; ++i) next.insert(town.claim(1).front());
  EXPECT_EQ(next.count(48), 0u) << "its turn is over";
}

// One that always has one task, and submits the next as soon as that is claimed, is served once a round.
TEST(Turns, ATenantThatTricklesGetsNoMoreThanOthers) {
  for (const int weight : {1, 4}) {
    Town town(11);
    town[10].weight = weight;
    for (int i = 0; i < 10; ++i) town.submit(i, 100000);
    town.submit(10, 1);
    for (int i = 0; i < 11000; ++i) {
      town.claim(1);
      if (town[10].work == 0) town.submit(10, 1);
    }
    EXPECT_LE(town[10].served, 1000 * weight + 10);
    EXPECT_GE(town[10].served, 900);
  }
}

// Neither does one that comes with as much as a large claim takes at once.
TEST(Turns, ATenantThatComesInBurstsPaysForThem) {
  Town town(11);
  for (int i = 0; i < 10; ++i) town.submit(i, 100000);
  for (int i = 0; i < 1000; ++i) {
    if (town[10].work == 0) town.submit(10, 7);
    town.claim(50, 1, 7);
  }
  EXPECT_LE(town[10].served, 50000 / 11);
  EXPECT_GE(town[10].served, 4000);
}

TEST(Turns, NothingIsSavedUp) {
  ThreeByWeight town(10);
  town.claim(30);
  for (int i = 0; i < 2; ++i) town.submit(i, 100000);
  town.claim(30000);
  const std::int64_t before[] = {town[0].served, town[1].served};
  town.submit(2, 100000);
  town.claim(70);
  EXPECT_LE(town[2].served - 10, 44);
  EXPECT_GE(town[0].served - before[0], 8);
  EXPECT_GE(town[1].served - before[1], 16);
}

TEST(Turns, TasksPayForTheTimeThatTheyTake) {
  ThreeByWeight town(100000, Pricing::by_time);
  const std::int64_t costs[] = {1000, 50000, 2000000};
  for (int i = 0; i < 3; ++i) town[i].cost = costs[i];
  std::vector<int> running;
  std::mt19937 random(1);
  std::int64_t time[3] = {};
  for (int i = 0; i < 60000; ++i) {
    for (const int tenant : town.claim(1)) running.push_back(tenant);
    while (running.size() > 20) {
      std::swap(running[random() % running.size()], running.back());
      time[running.back()] += costs[running.back()];
      town.end(running.back());
      running.pop_back();
    }
  }
  const double unit = static_cast<double>(time[0] + time[1] + time[2]) / 7;
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(static_cast<double>(time[i]) / unit, 1 << i, 0.05 * (1 << i));
}

// A task that ends when its tenant has no work leaves a debt, which the next tasks pay.
TEST(Turns, AnEndThatComesLaterIsPaidFor) {
  Town town(2, Pricing::by_time);
  town[0].cost = 100 * turn_worth;
  town.submit(1, 100000);
  std::int64_t served = 0;
  for (int i = 0; i < 1000; ++i) {
    if (town[0].work == 0) town.submit(0, 1);
    for (const int tenant : town.claim(1)) town.end(tenant), served += tenant == 0;
  }
  EXPECT_NEAR(static_cast<double>(served), 10, 2);
  // With no work anywhere all is forgotten.
  Town idle(1, Pricing::by_time);
  idle[0].cost = most_debt;
  idle.submit(0, 1);
  idle.claim(1);
  idle.claim(1);
  idle.end(0);
  EXPECT_EQ(idle.linked(), 1);
  idle.forget_debts();
  EXPECT_EQ(idle.linked(), 0);
}

TEST(Turns, WhatClaimsCostIsPaidFor) {
  Town town(2, Pricing::by_time);
  for (int i = 0; i < 2; ++i) town.submit(i, 100000);
  for (int i = 0; i < 2000; ++i)
    for (const int tenant : town.claim(1)) {
      town.end(tenant);
      if (tenant == 0) town.spend(0, 9 * turn_worth);
      EXPECT_TRUE(town.holds());
    }
  EXPECT_NEAR(static_cast<double>(town[0].served), 2000 / 11, 4);
  // However much it is, the debt has a bound, and what is idle pays too.
  town.spend(0, 1000 * most_debt);
  EXPECT_TRUE(town.holds());
  Town idle(1, Pricing::by_time);
  idle.spend(0, 1);
  EXPECT_EQ(idle.linked(), 1);
  idle.forget_debts();
  EXPECT_EQ(idle.linked(), 0);
}

// A task that has taken less than was estimated, and ends when its tenant has no work, leaves no credit.
TEST(Turns, NothingIsSavedUpByTasksThatAreShort) {
  Town town(1, Pricing::by_time);
  town[0].cost = 1;
  town.submit(0, 1);
  town.claim(2);
  town.end(0);
  EXPECT_TRUE(town.holds());
  EXPECT_EQ(town.linked(), 0);
}

// Claims of one kind serve some tenants, those of another kind others, some serve both; each kind keeps the weights
// among those that it alone serves, however much faster the other one is.
TEST(Turns, KindsOfClaimsKeepTheWeightsApart) {
  Town town(6);
  for (int i = 0; i < 6; ++i) {
    town[i].kinds = i < 3 ? 1 : 2;
    town[i].weight = 1 << i % 3;
    town.submit(i, 1000000);
  }
  for (int i = 0; i < 1400; ++i) {
    town.claim(40, 1, 3);
    town.claim(1, 2);
  }
  for (int i = 0; i < 3; ++i) {
    EXPECT_NEAR(town[i].served, 8000 << i, 40);
    EXPECT_NEAR(town[3 + i].served, 200 << i, 8);
  }
}

TEST(Turns, NoClaimTakesMoreOfATenantThanItMay) {
  Town town(3);
  town.submit(0, 1000);
  town.submit(1, 3);
  EXPECT_EQ(town.claim(100, 1, 7, 5).size(), 8u);
  EXPECT_EQ(town[0].served, 5);
}

// Anything, in any order.  Claims get all that there is for them, each tenant with work is served before others have
// been served too often, and what has no work leaves the lists.
TEST(Turns, AnythingInAnyOrder) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    const Pricing pricing = seed % 2 ? Pricing::by_task : Pricing::by_time;
    Town town(1 + below(12), pricing);
    int weights = 0;
    for (int i = 0; i < town.size(); ++i) {
      town[i].weight = 1 + below(4);
      town[i].kinds = 1 + below(3);
      weights += town[i].weight;
    }
    std::vector<int> unserved(static_cast<std::size_t>(town.size()));
    for (int step = 0; step < 400; ++step) {
      const int tenant = below(town.size());
      switch (below(5)) {
        case 0:
          town.submit(tenant, 1 + below(20));
          break;
        case 2:
          town.pass_over(tenant);
          break;
        case 1:
          if (pricing == Pricing::by_time && town[tenant].served > 0) town.end(tenant);
          break;
        default: {
          const int kind = 1 << below(2);
          const int tasks = 1 + below(30);
          std::int64_t all = 0;
          for (int i = 0; i < town.size(); ++i) all += town[i].kinds & kind ? town[i].work : 0;
          const std::vector<int> order = town.claim(tasks, kind, 1 + below(7));
          ASSERT_EQ(static_cast<std::int64_t>(order.size()), std::min<std::int64_t>(tasks, all)) << seed;
          const std::set<int> served(order.begin(), order.end());
          for (int i = 0; i < town.size(); ++i) {
            int& waited = unserved[static_cast<std::size_t>(i)];
            if (!(town[i].kinds & kind)) continue;
            waited = town[i].work == 0 || served.count(i) ? 0 : waited + static_cast<int>(order.size());
            // Seven at once are overdrawn by seven turns, of each tenant.
            ASSERT_LE(waited, (weights + 7 * town.size()) * 8 + 60) << seed;
          }
        }
      }
      ASSERT_TRUE(town.holds()) << seed << " " << step;
    }
    for (int i = 0; i < 2; ++i) town.claim(10000, 1), town.claim(10000, 2);
    town.forget_debts();
    ASSERT_EQ(town.linked(), 0) << seed;
  }
}

}  // namespace
}  // namespace insula::core
