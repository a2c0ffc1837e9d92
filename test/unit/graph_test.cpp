// The graph algorithms against references too slow to be wrong: every small graph there
// is, then random ones with fixed seeds, and shapes large enough to break recursion.
#include "core/graph.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

namespace {

using insula::core::Graph;
using Nodes = std::vector<std::int32_t>;

std::size_t at(std::int32_t i) { return static_cast<std::size_t>(i); }

// Owns what a Graph only looks at: waits_for[i] are the nodes that i waits for.
class Dag {
 public:
  explicit Dag(const std::vector<Nodes> &waits_for) : offsets_{0} {
    for (const Nodes &row : waits_for) {
      targets_.insert(targets_.end(), row.begin(), row.end());
      offsets_.push_back(static_cast<std::int32_t>(targets_.size()));
    }
  }
  Dag(Nodes offsets, Nodes targets) : offsets_{std::move(offsets)}, targets_{std::move(targets)} {}

  Graph graph() const { return {offsets_, targets_}; }
  std::size_t nodes() const { return offsets_.size() - 1; }

  std::vector<Nodes> rows() const {
    std::vector<Nodes> rows;
    for (std::size_t i = 0; i < nodes(); ++i) {
      const auto row = graph().of(static_cast<std::int32_t>(i));
      rows.emplace_back(row.begin(), row.end());
    }
    return rows;
  }

 private:
  Nodes offsets_;
  Nodes targets_;
};

// Memory that is not zero shows code that relies on zeros.
constexpr std::int32_t garbage = 0x5a5a5a5a;

Dag reversed(const Dag &dag) {
  Nodes offsets(dag.nodes() + 1, garbage);
  Nodes targets(dag.graph().targets.size(), garbage);
  const Graph result = insula::core::reverse(dag.graph(), offsets, targets);
  EXPECT_EQ(result.offsets.data(), offsets.data());
  EXPECT_EQ(result.nodes(), dag.nodes());
  EXPECT_EQ(result.targets.size(), targets.size());
  return {offsets, targets};
}

Nodes order_of(const Dag &dag) {
  const Dag dependants = reversed(dag);
  Nodes order(dag.nodes(), garbage), scratch(dag.nodes(), garbage), heap(dag.nodes(), garbage);
  const std::size_t done = insula::core::topological_order(dag.graph(), dependants.graph(), order, scratch, heap);
  EXPECT_LE(done, dag.nodes());
  order.resize(done);
  return order;
}

Nodes cycle_of(const Dag &dag) {
  Nodes path(dag.nodes(), garbage), scratch(dag.nodes(), garbage);
  path.resize(insula::core::find_cycle(dag.graph(), path, scratch));
  return path;
}

std::vector<std::uint8_t> ancestors_of(const Dag &dag, std::int32_t node) {
  std::vector<std::uint8_t> seen(dag.nodes(), 0);
  Nodes list(dag.nodes(), garbage);
  const std::size_t count = insula::core::find_ancestors(dag.graph(), node, seen, list);
  EXPECT_EQ(count, static_cast<std::size_t>(std::count(seen.begin(), seen.end(), 1)));
  for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(seen[at(list[i])], 1);
  return seen;
}

// ---- references ----

using Closure = std::vector<std::vector<bool>>;

// closure[i][j]: i waits for j, near or far (Warshall).
Closure closure_of(const std::vector<Nodes> &rows) {
  const std::size_t nodes = rows.size();
  Closure reaches(nodes, std::vector<bool>(nodes, false));
  for (std::size_t i = 0; i < nodes; ++i)
    for (std::int32_t target : rows[i]) reaches[i][at(target)] = true;
  for (std::size_t k = 0; k < nodes; ++k)
    for (std::size_t i = 0; i < nodes; ++i)
      for (std::size_t j = 0; j < nodes; ++j)
        if (reaches[i][k] && reaches[k][j]) reaches[i][j] = true;
  return reaches;
}

bool has_cycle(const Closure &reaches) {
  for (std::size_t i = 0; i < reaches.size(); ++i)
    if (reaches[i][i]) return true;
  return false;
}

bool is_topological(const std::vector<Nodes> &rows, const Nodes &order) {
  Nodes place(rows.size(), -1);
  for (std::size_t i = 0; i < order.size(); ++i) place[at(order[i])] = static_cast<std::int32_t>(i);
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::int32_t target : rows[i])
      if (place[at(target)] >= place[i]) return false;
  return true;
}

// The first of all permutations, in lexicographic order, that is topological.
Nodes smallest_order(const std::vector<Nodes> &rows) {
  Nodes order(rows.size());
  std::iota(order.begin(), order.end(), 0);
  do {
    if (is_topological(rows, order)) return order;
  } while (std::next_permutation(order.begin(), order.end()));
  return {};
}

// For larger ones: again and again the smallest node that waits for nothing more.
Nodes greedy_order(const std::vector<Nodes> &rows) {
  Nodes order;
  std::vector<bool> placed(rows.size(), false);
  for (std::size_t node = 0; node < rows.size();) {
    const bool free = !placed[node] && std::all_of(rows[node].begin(), rows[node].end(),
                                                   [&](std::int32_t target) { return placed[at(target)]; });
    if (!free) {
      ++node;
      continue;
    }
    placed[node] = true;
    order.push_back(static_cast<std::int32_t>(node));
    node = 0;
  }
  return order;
}

// ---- what must hold for any graph ----

void check_reverse(const std::vector<Nodes> &rows) {
  const Dag once = reversed(Dag{rows});
  std::vector<Nodes> expected(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::int32_t target : rows[i]) expected[at(target)].push_back(static_cast<std::int32_t>(i));
  ASSERT_EQ(once.rows(), expected);

  std::vector<Nodes> sorted = rows;
  for (Nodes &row : sorted) std::sort(row.begin(), row.end());
  ASSERT_EQ(reversed(once).rows(), sorted);
}

void check_cycle(const std::vector<Nodes> &rows, const Closure &reaches) {
  const Nodes cycle = cycle_of(Dag{rows});
  ASSERT_EQ(!cycle.empty(), has_cycle(reaches));
  for (std::size_t i = 0; i < cycle.size(); ++i) {
    const Nodes &row = rows[at(cycle[i])];
    const std::int32_t next = cycle[(i + 1) % cycle.size()];
    ASSERT_NE(std::find(row.begin(), row.end(), next), row.end()) << cycle[i] << " does not wait for " << next;
  }
  Nodes distinct = cycle;
  std::sort(distinct.begin(), distinct.end());
  ASSERT_EQ(std::unique(distinct.begin(), distinct.end()), distinct.end());
}

void check_ancestors(const std::vector<Nodes> &rows, const Closure &reaches) {
  const Dag dag{rows};
  for (std::size_t node = 0; node < rows.size(); ++node) {
    const auto seen = ancestors_of(dag, static_cast<std::int32_t>(node));
    for (std::size_t other = 0; other < rows.size(); ++other)
      ASSERT_EQ(seen[other] != 0, static_cast<bool>(reaches[node][other])) << node << ' ' << other;
  }
}

// In front of and beside cycles everything is ordered; behind them nothing is.
void check_partial_order(const Nodes &order, const Closure &reaches) {
  std::vector<bool> ordered(reaches.size(), false);
  for (std::int32_t node : order) ordered[at(node)] = true;
  for (std::size_t i = 0; i < reaches.size(); ++i) {
    bool behind_cycle = false;
    for (std::size_t j = 0; j < reaches.size(); ++j)
      if (reaches[j][j] && (i == j || reaches[i][j])) behind_cycle = true;
    ASSERT_EQ(ordered[i], !behind_cycle) << i;
  }
}

void check_all(const std::vector<Nodes> &rows) {
  const Closure reaches = closure_of(rows);
  const Nodes order = order_of(Dag{rows});
  ASSERT_EQ(order, greedy_order(rows));
  ASSERT_EQ(order.size() == rows.size(), !has_cycle(reaches));
  check_partial_order(order, reaches);
  check_reverse(rows);
  check_cycle(rows, reaches);
  check_ancestors(rows, reaches);
}

// The graph whose adjacency matrix is `bits`, with or without its diagonal.
std::vector<Nodes> graph_of_bits(std::int32_t nodes, std::uint32_t bits, bool loops) {
  std::vector<Nodes> rows(at(nodes));
  for (std::int32_t i = 0; i < nodes; ++i)
    for (std::int32_t j = 0; j < nodes; ++j) {
      if (i == j && !loops) continue;
      if (bits & 1) rows[at(i)].push_back(j);
      bits >>= 1;
    }
  return rows;
}

std::vector<Nodes> random_graph(std::mt19937_64 &random, std::int32_t nodes, double density, bool acyclic) {
  Nodes rank(at(nodes));
  std::iota(rank.begin(), rank.end(), 0);
  std::shuffle(rank.begin(), rank.end(), random);
  std::bernoulli_distribution edge{density};
  std::vector<Nodes> rows(at(nodes));
  for (std::int32_t i = 0; i < nodes; ++i) {
    for (std::int32_t j = 0; j < nodes; ++j)
      if ((acyclic ? rank[at(j)] < rank[at(i)] : true) && edge(random)) rows[at(i)].push_back(j);
    std::shuffle(rows[at(i)].begin(), rows[at(i)].end(), random);
  }
  return rows;
}

// ---- tests ----

TEST(Graph, MayBeEmpty) {
  check_all({});
  EXPECT_EQ(Graph{}.nodes(), 0u);
}

TEST(Graph, MayHaveNoEdges) {
  check_all({{}});
  check_all({{}, {}, {}});
  EXPECT_EQ(order_of(Dag{{{}, {}, {}}}), (Nodes{0, 1, 2}));
}

TEST(Graph, OrdersADiamond) {
  const std::vector<Nodes> rows = {{1, 2}, {3}, {3}, {}};
  check_all(rows);
  EXPECT_EQ(order_of(Dag{rows}), (Nodes{3, 1, 2, 0}));
  EXPECT_EQ(reversed(Dag{rows}).rows(), (std::vector<Nodes>{{}, {0}, {0}, {1, 2}}));
  EXPECT_EQ(ancestors_of(Dag{rows}, 0), (std::vector<std::uint8_t>{0, 1, 1, 1}));
  EXPECT_EQ(ancestors_of(Dag{rows}, 3), (std::vector<std::uint8_t>{0, 0, 0, 0}));
}

// A tie is decided among what is free at that moment, not level by level.
TEST(Graph, TakesTheFirstDeclaredOfWhatIsFree) {
  EXPECT_EQ(order_of(Dag{{{2}, {}, {}}}), (Nodes{1, 2, 0}));
  EXPECT_EQ(order_of(Dag{{{}, {0}, {}, {1}}}), (Nodes{0, 1, 2, 3}));
  EXPECT_EQ(order_of(Dag{{{3}, {}, {}, {}}}), (Nodes{1, 2, 3, 0}));
}

TEST(Graph, FindsASelfLoop) {
  EXPECT_EQ(cycle_of(Dag{{{0}}}), (Nodes{0}));
  EXPECT_EQ(cycle_of(Dag{{{1}, {1}}}), (Nodes{1}));
  check_all({{0}});
  check_all({{}, {0, 1}, {1}});
}

TEST(Graph, LeavesOutWhatOnlyLeadsToTheCycle) {
  EXPECT_EQ(cycle_of(Dag{{{1}, {2}, {3}, {2}}}), (Nodes{2, 3}));
  EXPECT_EQ(cycle_of(Dag{{{1}, {2}, {0}}}), (Nodes{0, 1, 2}));
}

// The parser refuses an edge that is given twice; here it does no harm.
TEST(Graph, BearsEdgesGivenTwice) {
  check_all({{1, 1}, {}});
  check_all({{1, 2, 1}, {2, 2}, {}});
  check_all({{1, 1}, {0, 0}});
}

TEST(Graph, IsRightForEverySmallGraph) {
  for (std::int32_t nodes = 1; nodes <= 3; ++nodes)
    for (std::uint32_t bits = 0; bits < 1u << (nodes * nodes); ++bits) check_all(graph_of_bits(nodes, bits, true));
  for (std::uint32_t bits = 0; bits < 1u << 12; ++bits) {
    const auto rows = graph_of_bits(4, bits, false);
    check_all(rows);
    if (!has_cycle(closure_of(rows))) {
      ASSERT_EQ(order_of(Dag{rows}), smallest_order(rows)) << bits;
    }
  }
}

TEST(Graph, IsRightForRandomGraphs) {
  std::mt19937_64 random{7};
  std::uniform_int_distribution<std::int32_t> size{1, 14};
  std::uniform_real_distribution<double> density{0.0, 0.5};
  for (int i = 0; i < 600; ++i) {
    const auto rows = random_graph(random, size(random), density(random), i % 2 == 0);
    check_all(rows);
    if (HasFatalFailure()) FAIL() << "graph number " << i;
  }
}

TEST(Graph, OrdersRandomGraphsLexicographicallySmallest) {
  std::mt19937_64 random{8};
  std::uniform_real_distribution<double> density{0.1, 0.9};
  for (int i = 0; i < 100; ++i) {
    const auto rows = random_graph(random, 6, density(random), true);
    ASSERT_EQ(order_of(Dag{rows}), smallest_order(rows)) << i;
  }
}

// Deep and wide ones: ten thousand tasks are legal, a call stack that deep is not.
constexpr std::int32_t many = 10'000;

TEST(Graph, WalksALongChain) {
  std::vector<Nodes> forward(at(many)), backward(at(many));
  for (std::int32_t i = 1; i < many; ++i) forward[at(i)] = {i - 1};
  for (std::int32_t i = 0; i + 1 < many; ++i) backward[at(i)] = {i + 1};

  Nodes expected(at(many));
  std::iota(expected.begin(), expected.end(), 0);
  EXPECT_EQ(order_of(Dag{forward}), expected);
  EXPECT_EQ(reversed(Dag{forward}).rows(), backward);
  std::reverse(expected.begin(), expected.end());
  EXPECT_EQ(order_of(Dag{backward}), expected);
  EXPECT_TRUE(cycle_of(Dag{backward}).empty());

  const auto seen = ancestors_of(Dag{backward}, 0);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), many - 1);
  EXPECT_EQ(seen[0], 0);
}

TEST(Graph, FindsALongCycle) {
  std::vector<Nodes> rows(at(many));
  for (std::int32_t i = 0; i < many; ++i) rows[at(i)] = {(i + 1) % many};
  EXPECT_EQ(cycle_of(Dag{rows}).size(), at(many));
  EXPECT_TRUE(order_of(Dag{rows}).empty());
  // A node of a cycle is its own ancestor.
  const auto seen = ancestors_of(Dag{rows}, 0);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), many);
}

TEST(Graph, WalksAWideFan) {
  std::vector<Nodes> rows(at(many));
  rows[0].resize(at(many) - 1);
  std::iota(rows[0].begin(), rows[0].end(), 1);
  const Nodes order = order_of(Dag{rows});
  ASSERT_EQ(order.size(), at(many));
  EXPECT_EQ(order.front(), 1);
  EXPECT_EQ(order.back(), 0);
  EXPECT_TRUE(cycle_of(Dag{rows}).empty());
  const auto seen = ancestors_of(Dag{rows}, 0);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), many - 1);
}

// Many ways to the same node: a walk along each of them would never end.
TEST(Graph, WalksALadderOfDiamonds) {
  constexpr std::int32_t rungs = 100;
  std::vector<Nodes> rows(at(2 * rungs));
  for (std::int32_t i = 1; i < rungs; ++i)
    for (std::int32_t side : {0, 1}) rows[at(2 * i + side)] = {2 * i - 2, 2 * i - 1};
  EXPECT_EQ(order_of(Dag{rows}).size(), at(2 * rungs));
  EXPECT_TRUE(cycle_of(Dag{rows}).empty());
  const auto seen = ancestors_of(Dag{rows}, 2 * rungs - 1);
  EXPECT_EQ(std::count(seen.begin(), seen.end(), 1), 2 * rungs - 2);
}

}  // namespace
