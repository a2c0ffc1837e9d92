// Graph algorithms over the caller's memory; see graph.hpp.  They are iterative: a chain of ten
// thousand tasks is legal, and the stack could not hold a recursion of that depth.
#include "core/graph.hpp"

#include <algorithm>
#include <functional>

namespace insula::core {

namespace {

std::size_t at(std::int32_t i) noexcept { return static_cast<std::size_t>(i); }

}  // namespace

Graph reverse(const Graph& graph, std::span<std::int32_t> offsets, std::span<std::int32_t> targets) noexcept {
  const auto nodes = static_cast<std::int32_t>(graph.nodes());
  std::fill(offsets.begin(), offsets.end(), 0);
  for (std::int32_t target : graph.targets) ++offsets[at(target) + 1];
  for (std::int32_t i = 0; i < nodes; ++i) offsets[at(i) + 1] += offsets[at(i)];
  // Fill from the front, then shift the offsets back by one row.
  for (std::int32_t node = 0; node < nodes; ++node)
    for (std::int32_t target : graph.of(node)) targets[at(offsets[at(target)]++)] = node;
  for (std::int32_t i = nodes; i > 0; --i) offsets[at(i)] = offsets[at(i) - 1];
  if (nodes > 0) offsets[0] = 0;
  return {offsets, targets.first(graph.targets.size())};
}

std::size_t topological_order(const Graph& graph, const Graph& dependants, std::span<std::int32_t> order,
                              std::span<std::int32_t> scratch, std::span<std::int32_t> heap) noexcept {
  const auto nodes = static_cast<std::int32_t>(graph.nodes());
  std::size_t waiting = 0;
  std::size_t done = 0;
  for (std::int32_t node = 0; node < nodes; ++node) {
    scratch[at(node)] = static_cast<std::int32_t>(graph.of(node).size());
    if (scratch[at(node)] == 0) heap[waiting++] = node;
  }
  // A min-heap of declared positions makes the order unique.
  std::make_heap(heap.begin(), heap.begin() + static_cast<std::ptrdiff_t>(waiting), std::greater<>{});
  while (waiting > 0) {
    std::pop_heap(heap.begin(), heap.begin() + static_cast<std::ptrdiff_t>(waiting), std::greater<>{});
    const std::int32_t node = heap[--waiting];
    order[done++] = node;
    for (std::int32_t dependant : dependants.of(node)) {
      if (--scratch[at(dependant)] > 0) continue;
      heap[waiting++] = dependant;
      std::push_heap(heap.begin(), heap.begin() + static_cast<std::ptrdiff_t>(waiting), std::greater<>{});
    }
  }
  return done;
}

std::size_t find_cycle(const Graph& graph, std::span<std::int32_t> path, std::span<std::int32_t> scratch) noexcept {
  const auto nodes = static_cast<std::int32_t>(graph.nodes());
  // scratch: -1 unseen, -2 finished, else the next edge to try of a node on the path.
  std::fill(scratch.begin(), scratch.end(), -1);
  for (std::int32_t root = 0; root < nodes; ++root) {
    if (scratch[at(root)] != -1) continue;
    std::size_t depth = 0;
    path[depth++] = root;
    scratch[at(root)] = 0;
    while (depth > 0) {
      const std::int32_t node = path[depth - 1];
      const auto edges = graph.of(node);
      if (at(scratch[at(node)]) == edges.size()) {
        scratch[at(node)] = -2;
        --depth;
        continue;
      }
      const std::int32_t next = edges[at(scratch[at(node)]++)];
      if (scratch[at(next)] == -1) {
        scratch[at(next)] = 0;
        path[depth++] = next;
      } else if (scratch[at(next)] >= 0) {
        auto begin = std::find(path.begin(), path.begin() + static_cast<std::ptrdiff_t>(depth), next);
        const auto length = static_cast<std::size_t>(path.begin() + static_cast<std::ptrdiff_t>(depth) - begin);
        std::copy(begin, begin + static_cast<std::ptrdiff_t>(length), path.begin());
        return length;
      }
    }
  }
  return 0;
}

std::size_t find_ancestors(const Graph& graph, std::int32_t node, std::span<std::uint8_t> seen,
                           std::span<std::int32_t> ancestors) noexcept {
  std::size_t count = 0;
  auto visit = [&](std::int32_t from) {
    for (std::int32_t target : graph.of(from)) {
      if (seen[at(target)]) continue;
      seen[at(target)] = 1;
      ancestors[count++] = target;
    }
  };
  visit(node);
  for (std::size_t next = 0; next < count; ++next) visit(ancestors[next]);
  return count;
}

}  // namespace insula::core
