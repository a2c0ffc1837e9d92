// Merge patches over jsonb's own iterators; see merge_patch.hpp.  The server's stack check bounds
// the depth.
#include "context/merge_patch.hpp"

#include "context/layers.hpp"

extern "C" {
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/numeric.h"
}

namespace insula {

namespace {

// A null in a patch deletes the key now, or stays in the patch to delete it later.
enum class Nulls { erase, keep };

void push_merged(JsonbMaker &maker, const Layers &layers, Nulls nulls);

// Merges the members of one key.  A member that is no object replaces all before it; the objects
// after the last such member merge.
void push_key(JsonbMaker &maker, const Layers &layers, LayerMember *first, LayerMember *end, Nulls nulls) {
  LayerMember *objects = end;
  while (objects > first && is_object_value(objects[-1].value)) --objects;
  if (objects == end) {
    LayerMember &last = end[-1];
    const bool of_base = layers.has_base && last.layer == 0;
    if (last.value.type == jbvNull && !of_base && nulls == Nulls::erase) return;
    push_json(maker, WJB_KEY, &last.key);
    push_json(maker, WJB_VALUE, &last.value);
    return;
  }
  const auto count = static_cast<std::size_t>(end - objects);
  const Layers below = {palloc_array_of<JsonbContainer *>(count), count, layers.has_base && objects->layer == 0};
  for (std::size_t i = 0; i < count; ++i) below.objects[i] = objects[i].value.val.binary.data;
  push_json(maker, WJB_KEY, &objects->key);
  if (below.count == 1 && below.has_base)
    push_json(maker, WJB_VALUE, &objects->value);
  else
    push_merged(maker, below, nulls);
}

// Merges all layers in one pass, so that ten thousand patches cost their sizes and no more.
void push_merged(JsonbMaker &maker, const Layers &layers, Nulls nulls) {
  check_stack_depth();
  push_json(maker, WJB_BEGIN_OBJECT);
  std::size_t count;
  LayerMember *members = collect_members(layers, &count);
  for (std::size_t first = 0; first < count;) {
    std::size_t last = first + 1;
    while (last < count && same_key(members[last], members[first])) ++last;
    push_key(maker, layers, members + first, members + last, nulls);
    first = last;
  }
  pfree(members);
  push_json(maker, WJB_END_OBJECT);
}

Jsonb *merge_layers(const Layers &layers, Nulls nulls) {
  JsonbMaker maker = {};
  push_merged(maker, layers, nulls);
  return JsonbValueToJsonb(maker.result);
}

Jsonb *merge(Jsonb *target, Jsonb *patch, Nulls nulls) {
  JsonbContainer *objects[] = {&target->root, &patch->root};
  return merge_layers({objects, 2, true}, nulls);
}

}  // namespace

Jsonb *merge_patches(Jsonb *target, Jsonb *const *patches, std::size_t count) {
  std::size_t room = 1;
  for (std::size_t i = 0; i < count; ++i) room += layer_count(patches[i]);
  Layers layers = {palloc_array_of<JsonbContainer *>(room), 0, target != nullptr};
  add_layers(layers, target);
  for (std::size_t i = 0; i < count; ++i) add_layers(layers, patches[i]);
  return layers.count == 1 && target ? target : merge_layers(layers, Nulls::erase);
}

std::size_t total_size(Jsonb *const *values, int count) {
  std::size_t size = 0;
  for (int i = 0; i < count; ++i)
    if (values[i]) size += VARSIZE(values[i]);
  return size;
}

Jsonb *merge_patch(Jsonb *target, Jsonb *patch) { return merge_patches(target, &patch, 1); }

// Two patches compose unless the second makes an object of a value that the first replaces.
static bool composes(JsonbContainer *first, JsonbContainer *second) {
  check_stack_depth();
  JsonbIterator *members = JsonbIteratorInit(second);
  JsonbValue key;
  JsonbValue value;
  (void)JsonbIteratorNext(&members, &key, true);
  while (JsonbIteratorNext(&members, &key, true) == WJB_KEY) {
    (void)JsonbIteratorNext(&members, &value, true);
    if (!is_object_value(value)) continue;
    const JsonbValue *before = getKeyJsonValueFromContainer(first, key.val.string.val, key.val.string.len, nullptr);
    if (!before) continue;
    if (!is_object_value(*before) || !composes(before->val.binary.data, value.val.binary.data)) return false;
  }
  return true;
}

Jsonb *append_patch(Jsonb *patches, Jsonb *patch) {
  if (!patches) return patch;
  // Appends the new patch, then merges the last two patches for as long as they compose.
  const std::size_t room = (JB_ROOT_IS_ARRAY(patches) ? JB_ROOT_COUNT(patches) : 1) + 1;
  auto **list = palloc_array_of<Jsonb *>(room);
  std::size_t count = 0;
  if (JB_ROOT_IS_ARRAY(patches)) {
    for (std::uint32_t i = 0; i < JB_ROOT_COUNT(patches); ++i)
      list[count++] = JsonbValueToJsonb(getIthJsonbValueFromContainer(&patches->root, i));
  } else {
    list[count++] = patches;
  }
  list[count++] = patch;
  while (count > 1 && composes(&list[count - 2]->root, &list[count - 1]->root)) {
    list[count - 2] = merge(list[count - 2], list[count - 1], Nulls::keep);
    --count;
  }
  if (count == 1) return list[0];
  JsonbMaker maker = {};
  push_json(maker, WJB_BEGIN_ARRAY);
  for (std::size_t i = 0; i < count; ++i) {
    JsonbValue element;
    JsonbToJsonbValue(list[i], &element);
    push_json(maker, WJB_ELEM, &element);
  }
  push_json(maker, WJB_END_ARRAY);
  return JsonbValueToJsonb(maker.result);
}

Jsonb *empty_object() {
  JsonObject object = begin_object();
  return end_object(object);
}

bool is_object(Jsonb *value) { return JB_ROOT_IS_OBJECT(value); }

JsonObject begin_object() {
  JsonObject object = {};
  push_json(object.maker, WJB_BEGIN_OBJECT);
  return object;
}

static JsonbValue string_value(const char *text) {
  JsonbValue value;
  value.type = jbvString;
  value.val.string.val = const_cast<char *>(text);
  value.val.string.len = static_cast<int>(strlen(text));
  return value;
}

static void push_member(JsonObject &object, const char *key, JsonbValue *value) {
  JsonbValue name = string_value(key);
  push_json(object.maker, WJB_KEY, &name);
  push_json(object.maker, WJB_VALUE, value);
}

void add_member(JsonObject &object, const char *key, const char *text) {
  JsonbValue value;
  value.type = jbvNull;
  if (text) value = string_value(text);
  push_member(object, key, &value);
}

void add_member(JsonObject &object, const char *key, std::int64_t number) {
  JsonbValue value;
  value.type = jbvNumeric;
  value.val.numeric = int64_to_numeric(number);
  push_member(object, key, &value);
}

void add_member(JsonObject &object, const char *key, Jsonb *json) {
  JsonbValue value;
  value.type = jbvNull;
  if (json) JsonbToJsonbValue(json, &value);
  push_member(object, key, &value);
}

void add_time(JsonObject &object, const char *key, TimestampTz time) {
  if (time == 0) return add_member(object, key, static_cast<const char *>(nullptr));
  // The form that jsonb gives a timestamptz: ISO 8601, in the session's time zone.
  char text[MAXDATELEN + 1];
  (void)JsonEncodeDateTime(text, TimestampTzGetDatum(time), TIMESTAMPTZOID, nullptr);
  add_member(object, key, static_cast<const char *>(pstrdup(text)));
}

void add_utc_time(JsonObject &object, const char *key, TimestampTz time) {
  char text[MAXDATELEN + 1];
  const int utc = 0;
  (void)JsonEncodeDateTime(text, TimestampTzGetDatum(time), TIMESTAMPTZOID, &utc);
  add_member(object, key, static_cast<const char *>(pstrdup(text)));
}

Jsonb *end_object(JsonObject &object) {
  push_json(object.maker, WJB_END_OBJECT);
  return JsonbValueToJsonb(object.maker.result);
}

}  // namespace insula
