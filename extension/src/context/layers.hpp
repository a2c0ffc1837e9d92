// The objects that a merge lays over one another, side by side.
#pragma once

#include "postgres.hpp"

namespace insula {

// In order.  With a base the first is the target, whose own nulls are values; all others
// are patches.
struct Layers {
  JsonbContainer **objects;
  std::size_t count;
  bool has_base;
};

// What one layer says of one key.
struct LayerMember {
  std::size_t layer;
  JsonbValue key;
  JsonbValue value;
};

// By key, then by layer.
LayerMember *collect_members(const Layers &layers, std::size_t *count);
bool same_key(const LayerMember &a, const LayerMember &b);
bool is_object_value(const JsonbValue &value);

// How many objects a patch is: one, an array of such, or nullptr for none.
std::size_t layer_count(Jsonb *patch);
// There must be room for them.
void add_layers(Layers &layers, Jsonb *patch);

}  // namespace insula
