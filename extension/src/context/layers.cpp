// Collects the members of many objects, ordered by key; see layers.hpp.
#include "context/layers.hpp"

#include <algorithm>

namespace insula {

static bool by_key(const LayerMember &a, const LayerMember &b) {
  const int a_length = a.key.val.string.len;
  const int b_length = b.key.val.string.len;
  if (a_length != b_length) return a_length < b_length;
  const int order = memcmp(a.key.val.string.val, b.key.val.string.val, static_cast<std::size_t>(a_length));
  return order < 0 || (order == 0 && a.layer < b.layer);
}

LayerMember *collect_members(const Layers &layers, std::size_t *count) {
  std::size_t room = 0;
  for (std::size_t i = 0; i < layers.count; ++i) room += JsonContainerSize(layers.objects[i]);
  auto *members = palloc_array_of<LayerMember>(room);
  *count = 0;
  for (std::size_t i = 0; i < layers.count; ++i) {
    CHECK_FOR_INTERRUPTS();
    JsonbIterator *tokens = JsonbIteratorInit(layers.objects[i]);
    JsonbValue token;
    (void)JsonbIteratorNext(&tokens, &token, true);
    while (JsonbIteratorNext(&tokens, &token, true) == WJB_KEY) {
      LayerMember &member = members[(*count)++];
      member.layer = i;
      member.key = token;
      (void)JsonbIteratorNext(&tokens, &member.value, true);
    }
  }
  std::sort(members, members + *count, by_key);
  return members;
}

bool same_key(const LayerMember &a, const LayerMember &b) {
  return a.key.val.string.len == b.key.val.string.len &&
         memcmp(a.key.val.string.val, b.key.val.string.val, static_cast<std::size_t>(a.key.val.string.len)) == 0;
}

bool is_object_value(const JsonbValue &value) {
  return value.type == jbvBinary && JsonContainerIsObject(value.val.binary.data);
}

std::size_t layer_count(Jsonb *patch) {
  if (!patch) return 0;
  return JB_ROOT_IS_ARRAY(patch) ? JB_ROOT_COUNT(patch) : 1;
}

void add_layers(Layers &layers, Jsonb *patch) {
  if (!patch) return;
  if (!JB_ROOT_IS_ARRAY(patch)) {
    layers.objects[layers.count++] = &patch->root;
    return;
  }
  for (std::uint32_t i = 0; i < JB_ROOT_COUNT(patch); ++i)
    layers.objects[layers.count++] = getIthJsonbValueFromContainer(&patch->root, i)->val.binary.data;
}

}  // namespace insula
