// Conflicts of a final context: one task's value replaced another task's, although neither task
// waits for the other, so that only the declared order decided.  Tasks come in merge order.
#include <algorithm>

#include "context/condition.hpp"
#include "context/layers.hpp"
#include "context/merge_patch.hpp"
#include "operation/operations.hpp"
#include "storage/record.hpp"

namespace insula {

namespace {

constexpr int max_conflicts = 100;

struct Conflict {
  const char *path;
  std::int32_t kept;
  std::int32_t replaced;
};

struct Search {
  const Definition &definition;
  std::uint64_t *ancestors;  // a row of bits for each task; nullptr: not needed yet
  StringInfoData path;       // of the objects that are compared
  Conflict found[max_conflicts];
  int count;
};

// The objects that tasks patched at one path, and each object's task.
struct Patches {
  Layers layers;
  std::int32_t *tasks;
};

std::uint64_t *find_all_ancestors(const Definition &definition) {
  const auto words = static_cast<std::size_t>(definition.tasks + 63) / 64;
  const auto size = static_cast<std::size_t>(definition.tasks) * words;
  auto *ancestors = palloc_array_of<std::uint64_t>(size);
  std::fill(ancestors, ancestors + size, 0);
  for (int i = 0; i < definition.tasks; ++i) {
    const auto task = static_cast<std::size_t>(definition.order[i]);
    std::uint64_t *row = ancestors + task * words;
    for (std::int32_t dependency : definition.graph.of(definition.order[i])) {
      const std::uint64_t *above = ancestors + static_cast<std::size_t>(dependency) * words;
      for (std::size_t word = 0; word < words; ++word) row[word] |= above[word];
      row[dependency / 64] |= std::uint64_t{1} << (dependency % 64);
    }
  }
  return ancestors;
}

bool waits_for(Search &search, std::int32_t task, std::int32_t other) {
  if (!search.ancestors) search.ancestors = find_all_ancestors(search.definition);
  const auto words = static_cast<std::size_t>(search.definition.tasks + 63) / 64;
  return (search.ancestors[static_cast<std::size_t>(task) * words + static_cast<std::size_t>(other / 64)] >>
              (other % 64) &
          1) != 0;
}

// Uses the path syntax of definitions.
void append_step(StringInfo path, const JsonbValue &key) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  const char *name = key.val.string.val;
  const int length = key.val.string.len;
  const bool plain = length > 0 && std::all_of(name, name + length, is_plain);
  const char quote = std::find(name, name + length, '\'') != name + length ? '"' : '\'';
  if (plain)
    appendStringInfo(path, ".%.*s", length, name);
  else
    appendStringInfo(path, "[%c%.*s%c]", quote, length, name, quote);
}

void note_conflict(Search &search, std::int32_t kept, std::int32_t replaced) {
  if (search.count == max_conflicts || waits_for(search, kept, replaced)) return;
  search.found[search.count++] = {pstrdup(search.path.data), kept, replaced};
}

void compare_objects(Search &search, const Patches &patches);

// The present value of a key: one value that is no object, which several tasks may agree on, or
// objects that merge.
struct Value {
  LayerMember *first;
  LayerMember *end;
};

bool goes_with(const Value &value, const LayerMember &member) {
  const bool object = is_object_value(member.value);
  if (is_object_value(value.first->value) || object) return is_object_value(value.first->value) && object;
  return same_value(value.first->value, member.value);
}

void compare_below(Search &search, const Patches &patches, const Value &value) {
  const auto count = static_cast<std::size_t>(value.end - value.first);
  if (!is_object_value(value.first->value)) return;
  if (patches.tasks[value.first->layer] == patches.tasks[value.end[-1].layer]) return;
  const Patches below = {{palloc_array_of<JsonbContainer *>(count), count, false},
                         palloc_array_of<std::int32_t>(count)};
  for (std::size_t i = 0; i < count; ++i) {
    below.layers.objects[i] = value.first[i].value.val.binary.data;
    below.tasks[i] = patches.tasks[value.first[i].layer];
  }
  compare_objects(search, below);
}

void replace_value(Search &search, const Patches &patches, const Value &value, std::int32_t task) {
  for (const LayerMember *old = value.first; old < value.end; ++old)
    if (old == value.first || patches.tasks[old->layer] != patches.tasks[old[-1].layer])
      note_conflict(search, task, patches.tasks[old->layer]);
  compare_below(search, patches, value);
}

// Compares the tasks' values of one key.  Only the last of one task's own values counts, or its
// last objects.
void compare_key(Search &search, const Patches &patches, LayerMember *first, LayerMember *end) {
  Value value = {first, first};
  for (LayerMember *at = first; at < end;) {
    const std::int32_t task = patches.tasks[at->layer];
    LayerMember *next = at + 1;
    while (next < end && patches.tasks[next->layer] == task) ++next;
    LayerMember *last = next - 1;
    while (is_object_value(next[-1].value) && last > at && is_object_value(last[-1].value)) --last;
    if (value.first < value.end && !goes_with(value, *last)) {
      replace_value(search, patches, value, task);
      value.first = value.end;
    }
    value.end = std::copy(last, next, value.end);
    at = next;
  }
  compare_below(search, patches, value);
}

void compare_objects(Search &search, const Patches &patches) {
  check_stack_depth();
  std::size_t count;
  LayerMember *members = collect_members(patches.layers, &count);
  const int length = search.path.len;
  for (std::size_t first = 0; first < count && search.count < max_conflicts;) {
    std::size_t last = first + 1;
    while (last < count && same_key(members[last], members[first])) ++last;
    if (patches.tasks[members[first].layer] != patches.tasks[members[last - 1].layer]) {
      append_step(&search.path, members[first].key);
      compare_key(search, patches, members + first, members + last);
      search.path.len = length;
      search.path.data[length] = '\0';
    }
    first = last;
  }
  pfree(members);
}

// The patches of completed tasks, in merge order.
Patches patches_of_completed(const Definition &definition, const TaskResult *results, int count) {
  std::size_t room = 0;
  auto **patches = static_cast<Jsonb **>(palloc0(sizeof(Jsonb *) * static_cast<Size>(definition.tasks)));
  for (int i = 0; i < count; ++i) {
    if (results[i].state != State::completed) continue;
    patches[definition.rank[results[i].task]] = results[i].output;
    room += layer_count(results[i].output);
  }
  Patches all = {{palloc_array_of<JsonbContainer *>(room), 0, false}, palloc_array_of<std::int32_t>(room)};
  for (int rank = 0; rank < definition.tasks; ++rank) {
    const std::size_t before = all.layers.count;
    add_layers(all.layers, patches[rank]);
    std::fill(all.tasks + before, all.tasks + all.layers.count, definition.order[rank]);
  }
  return all;
}

}  // namespace

void note_conflicts(const Tenant &tenant, TimestampTz now, const Definition &definition, std::int64_t head,
                    const TaskResult *results, int count) {
  MemoryContext before = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(before, "insula conflicts", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  Search search = {definition, nullptr, {}, {}, 0};
  initStringInfo(&search.path);
  appendStringInfoChar(&search.path, '$');
  compare_objects(search, patches_of_completed(definition, results, count));
  for (int i = 0; i < search.count; ++i) {
    const Conflict &conflict = search.found[i];
    JsonObject detail = begin_object();
    add_member(detail, "path", conflict.path);
    add_member(detail, "kept", definition.ids[conflict.kept]);
    add_member(detail, "replaced", definition.ids[conflict.replaced]);
    insert_event(tenant, head, head + 1 + conflict.kept, "context_conflict", now, end_object(detail));
  }
  MemoryContextSwitchTo(before);
  MemoryContextDelete(scratch);
}

}  // namespace insula
