// A workflow's graph: nodes are declared positions, and an edge goes from a node to a node that it
// waits for.  No allocation: the caller brings the memory, so the same code runs in the server and
// in the client.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace insula::core {

// Dependencies in compressed rows: node i waits for targets[offsets[i] .. offsets[i+1]).
struct Graph {
  std::span<const std::int32_t> offsets;  // nodes + 1 entries
  std::span<const std::int32_t> targets;

  std::size_t nodes() const noexcept { return offsets.empty() ? 0 : offsets.size() - 1; }
  std::span<const std::int32_t> of(std::int32_t node) const noexcept {
    const auto first = static_cast<std::size_t>(offsets[static_cast<std::size_t>(node)]);
    const auto last = static_cast<std::size_t>(offsets[static_cast<std::size_t>(node) + 1]);
    return targets.subspan(first, last - first);
  }
};

// Reverses the edges: row i becomes the dependants of node i, in declared order.  `offsets` has
// nodes + 1 entries, `targets` one for each edge.
Graph reverse(const Graph& graph, std::span<std::int32_t> offsets, std::span<std::int32_t> targets) noexcept;

// Topological order, ties by declared position.  Returns how many nodes could be ordered: fewer
// than all means a cycle.  `order`, `scratch` and `heap` have one entry for each node.
std::size_t topological_order(const Graph& graph, const Graph& dependants, std::span<std::int32_t> order,
                              std::span<std::int32_t> scratch, std::span<std::int32_t> heap) noexcept;

// Finds one cycle: each node along it waits for the next, the last for the first.  Returns its
// length; 0: there is none.  `path` and `scratch` have one entry for each node.
std::size_t find_cycle(const Graph& graph, std::span<std::int32_t> path, std::span<std::int32_t> scratch) noexcept;

// Finds all direct and indirect dependencies of `node`; itself only if it is on a cycle.  Returns
// their number; `ancestors` (one entry for each node) gets them unordered, and `seen` (one entry
// for each node, zeroed by the caller) marks them.
std::size_t find_ancestors(const Graph& graph, std::int32_t node, std::span<std::uint8_t> seen,
                           std::span<std::int32_t> ancestors) noexcept;

}  // namespace insula::core
