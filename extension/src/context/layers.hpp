// The objects that a merge lays over one another.
#pragma once

#include "postgres.hpp"

namespace insula {

// In merge order.  With has_base the first object is the target, whose own nulls are values; all
// others are patches.
struct Layers {
  JsonbContainer **objects;
  std::size_t count;
  bool has_base;
};

// One member of one layer.
struct LayerMember {
  std::size_t layer;
  JsonbValue key;
  JsonbValue value;
};

// Ordered by key, then by layer.
LayerMember *collect_members(const Layers &layers, std::size_t *count);
bool same_key(const LayerMember &a, const LayerMember &b);
bool is_object_value(const JsonbValue &value);

// The number of objects in a patch: one, the length of an array, or 0 for nullptr.
std::size_t layer_count(Jsonb *patch);
// The caller has made room: see layer_count.
void add_layers(Layers &layers, Jsonb *patch);

}  // namespace insula
