// Registered definitions: registration, the cache of compiled definitions, and the dictionary of
// task keys.  Both caches are bounded.  An entry is fresh while the tenant's `definitions` counter
// has the value from before it was read; every registration changes the counter, committed or
// rolled back.
#include "definition/definition.hpp"

#include <algorithm>

#include "errors.hpp"
#include "storage/record.hpp"
#include "tenant/lock.hpp"

extern "C" {
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

constexpr long definition_limit = 256;
constexpr long dictionary_limit = 256;
constexpr std::size_t cache_bytes_limit = std::size_t{128} << 20;
constexpr std::int32_t max_task_keys = 200000;
constexpr std::size_t max_definition_size = std::size_t{32} << 20;

struct CacheKey {
  std::int32_t tenant;
  std::int32_t number;  // the definition's; 0: the tenant's dictionary of task keys
};

// An entry of either cache.  It owns its memory context, and is dropped as a whole.
struct CacheEntry {
  CacheKey key;
  std::uint64_t generation;
  std::uint64_t used;
  MemoryContext memory;
  std::size_t bytes;  // taken by `memory`
  Definition definition;
  HTAB *dictionary;
  std::int32_t last_key;  // the highest number in the dictionary
  bool any_paused;        // whether a workflow of the tenant is paused
};

struct DictionaryEntry {
  char name[2 * NAMEDATALEN];
  std::int32_t number;
  bool paused;
};

HTAB *cache = nullptr;
std::size_t cache_bytes = 0;
std::uint64_t use_clock = 0;

void forget(CacheEntry *entry) {
  cache_bytes -= entry->bytes;
  if (entry->memory) MemoryContextDelete(entry->memory);
  CacheKey key = entry->key;
  hash_search(cache, &key, HASH_REMOVE, nullptr);
}

// The entry used last stays, even if it is too large: a caller may hold a pointer to it.
void make_room(std::size_t bytes) {
  while (hash_get_num_entries(cache) >= definition_limit + dictionary_limit ||
         cache_bytes + bytes > cache_bytes_limit) {
    HASH_SEQ_STATUS scan;
    CacheEntry *oldest = nullptr;
    hash_seq_init(&scan, cache);
    while (auto *entry = static_cast<CacheEntry *>(hash_seq_search(&scan)))
      if (entry->used != use_clock && (!oldest || entry->used < oldest->used)) oldest = entry;
    if (!oldest) return;
    forget(oldest);
  }
}

// The fresh entry for the key, or nullptr.
CacheEntry *lookup(const Tenant &tenant, CacheKey key) {
  if (!cache) {
    HASHCTL control = {};
    control.keysize = sizeof(CacheKey);
    control.entrysize = sizeof(CacheEntry);
    control.hcxt = CacheMemoryContext;
    cache = hash_create("insula definitions", 128, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  }
  auto *entry = static_cast<CacheEntry *>(hash_search(cache, &key, HASH_FIND, nullptr));
  if (entry && entry->generation != tenant.definitions) {
    forget(entry);
    return nullptr;
  }
  if (entry) entry->used = ++use_clock;
  return entry;
}

// `generation` is the counter from before the content was read, so that a registration during the
// read makes the entry stale.
CacheEntry *enter(CacheKey key, std::uint64_t generation, MemoryContext memory) {
  const std::size_t bytes = MemoryContextMemAllocated(memory, true);
  make_room(bytes);
  auto *entry = static_cast<CacheEntry *>(hash_search(cache, &key, HASH_ENTER, nullptr));
  *entry = {key, generation, ++use_clock, memory, bytes, {}, nullptr, 0, false};
  cache_bytes += bytes;
  return entry;
}

char *task_key_name(const char *workflow, const char *task) { return psprintf("%s.%s", workflow, task); }

CacheEntry *dictionary_of(const Tenant &tenant) {
  const CacheKey key = {tenant.number, 0};
  if (CacheEntry *hit = lookup(tenant, key)) return hit;
  const std::uint64_t generation = tenant.definitions;
  int count;
  const TaskKey *keys = all_task_keys(tenant, &count);
  MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "insula task keys", ALLOCSET_SMALL_SIZES);
  HASHCTL control = {};
  control.keysize = 2 * NAMEDATALEN;
  control.entrysize = sizeof(DictionaryEntry);
  control.hcxt = memory;
  HTAB *dictionary =
      hash_create("insula task keys", std::max(count, 8), &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
  std::int32_t last_key = 0;
  bool any_paused = false;
  for (int i = 0; i < count; ++i) {
    char name[2 * NAMEDATALEN] = {};
    strlcpy(name, keys[i].name, sizeof name);
    auto *word = static_cast<DictionaryEntry *>(hash_search(dictionary, name, HASH_ENTER, nullptr));
    word->number = keys[i].number;
    word->paused = keys[i].paused;
    any_paused = any_paused || keys[i].paused;
    last_key = std::max(last_key, keys[i].number);
  }
  MemoryContextSetParent(memory, CacheMemoryContext);
  CacheEntry *entry = enter(key, generation, memory);
  entry->dictionary = dictionary;
  entry->last_key = last_key;
  entry->any_paused = any_paused;
  return entry;
}

// The dictionary after a lookup of a name has failed: read again if keys have been registered
// since.  A snapshot can see a new definition before the invalidation arrives.
CacheEntry *refreshed_dictionary(const Tenant &tenant) {
  CacheEntry *entry = dictionary_of(tenant);
  if (entry->last_key >= last_task_key(tenant)) return entry;
  if (CacheEntry *hit = lookup(tenant, {tenant.number, 0})) forget(hit);
  return dictionary_of(tenant);
}

// 0: no task has the key.
std::int32_t find_task_key(HTAB *dictionary, const char *name) {
  if (strlen(name) >= 2 * NAMEDATALEN) return 0;
  char key[2 * NAMEDATALEN] = {};
  strlcpy(key, name, sizeof key);
  auto *entry = static_cast<DictionaryEntry *>(hash_search(dictionary, key, HASH_FIND, nullptr));
  return entry ? entry->number : 0;
}

void compile_options(Definition &definition, const ParsedDefinition &parsed) {
  const auto tasks = static_cast<std::size_t>(parsed.tasks);
  auto *priorities = palloc_array_of<std::int32_t>(tasks);
  auto *time_limits = palloc_array_of<std::int64_t>(tasks);
  for (std::size_t i = 0; i < tasks; ++i) {
    priorities[i] = parsed.options[i].priority;
    time_limits[i] = parsed.options[i].timeout_us;
  }
  definition.options = parsed.options;
  definition.has_rules = parsed.has_rules;
  definition.has_groups = parsed.has_groups;
  definition.params = parsed.params;
  definition.param_count = parsed.param_count;
  definition.timeout_us = parsed.timeout_us;
  definition.limit = parsed.limit;
  definition.priorities = priorities;
  definition.time_limits = time_limits;
}

void compile_graph(Definition &definition, const ParsedDefinition &parsed) {
  const auto tasks = static_cast<std::size_t>(parsed.tasks);
  auto *dependant_offsets = palloc_array_of<std::int32_t>(tasks + 1);
  auto *dependants = palloc_array_of<std::int32_t>(parsed.dependencies.targets.size());
  auto *order = palloc_array_of<std::int32_t>(tasks);
  auto *rank = palloc_array_of<std::int32_t>(tasks);
  auto *counts = palloc_array_of<std::int32_t>(tasks);
  definition.graph = parsed.dependencies;
  definition.dependants = core::reverse(parsed.dependencies, {dependant_offsets, tasks + 1},
                                        {dependants, parsed.dependencies.targets.size()});
  (void)core::topological_order(definition.graph, definition.dependants, {order, tasks}, {rank, tasks},
                                {counts, tasks});
  for (std::size_t i = 0; i < tasks; ++i) {
    rank[order[i]] = static_cast<std::int32_t>(i);
    counts[i] = static_cast<std::int32_t>(definition.graph.of(static_cast<std::int32_t>(i)).size());
    if (counts[i] == 0 && definition.options[i].for_each) counts[i] = 1;
  }
  definition.order = order;
  definition.rank = rank;
  definition.dependencies = counts;
}

// False: the dictionary lacks a key.
bool compile_keys(Definition &definition, HTAB *dictionary) {
  auto *keys = palloc_array_of<std::int32_t>(static_cast<std::size_t>(definition.tasks));
  bool complete = true;
  for (int i = 0; i < definition.tasks; ++i) {
    keys[i] = find_task_key(dictionary, task_key_name(definition.workflow, definition.ids[i]));
    complete = complete && keys[i] != 0;
  }
  definition.keys = keys;
  return complete;
}

Datum hash_of(Jsonb *definition) {
  char *text = JsonbToCString(nullptr, &definition->root, static_cast<int>(VARSIZE(definition)));
  return DirectFunctionCall1(sha256_bytea, PointerGetDatum(cstring_to_text(text)));
}

void register_keys(const Tenant &tenant, const ParsedDefinition &parsed) {
  HTAB *dictionary = refreshed_dictionary(tenant)->dictionary;
  auto **missing = palloc_array_of<char *>(static_cast<std::size_t>(parsed.tasks));
  int count = 0;
  for (int i = 0; i < parsed.tasks; ++i) {
    char *name = task_key_name(parsed.name, parsed.ids[i]);
    if (find_task_key(dictionary, name) == 0) missing[count++] = name;
  }
  if (count == 0) return;
  const std::int32_t first = take_task_keys(tenant, count);
  // Every backend that works for the tenant keeps all keys in memory.
  if (first + count - 1 > max_task_keys)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("tenant \"%s\" would have too many different tasks", tenant.name),
                    errdetail("At most %d names of the form workflow.task can ever be registered.", max_task_keys)));
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    insert_task_key(tenant, {first + i, missing[i], false});
  }
}

}  // namespace

const Definition &definition_of(const Tenant &tenant, std::int32_t number) {
  const CacheKey key = {tenant.number, number};
  if (CacheEntry *hit = lookup(tenant, key)) return hit->definition;
  (void)dictionary_of(tenant);  // before the memory context changes
  const std::uint64_t generation = tenant.definitions;
  DefinitionRow row;
  if (!read_definition(tenant, number, &row))
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("definition %d of tenant \"%s\" is missing", number, tenant.name)));
  MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "insula definition", ALLOCSET_SMALL_SIZES);
  MemoryContext before = MemoryContextSwitchTo(memory);
  Definition definition = {};
  definition.number = number;
  definition.version = row.version;
  definition.workflow = pstrdup(row.workflow);
  const ParsedDefinition parsed = parse_definition(row.body);
  definition.tasks = parsed.tasks;
  definition.ids = parsed.ids;
  compile_options(definition, parsed);
  compile_graph(definition, parsed);
  if (!compile_keys(definition, dictionary_of(tenant)->dictionary) &&
      !compile_keys(definition, refreshed_dictionary(tenant)->dictionary))
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("task keys of workflow \"%s\" of tenant \"%s\" are missing", row.workflow, tenant.name)));
  MemoryContextSwitchTo(before);
  MemoryContextSetParent(memory, CacheMemoryContext);
  CacheEntry *entry = enter(key, generation, memory);
  entry->definition = definition;
  return entry->definition;
}

std::int32_t require_workflow(const Tenant &tenant, const char *workflow) {
  const std::int32_t number = current_definition(tenant, workflow);
  if (number == 0)
    ereport(ERROR, (errcode(INSULA_NO_WORKFLOW), errmsg("workflow \"%s\" does not exist", workflow),
                    errhint("insula.workflows() lists those that do.")));
  return number;
}

std::int32_t *resolve_task_keys(const Tenant &tenant, const char *const *names, int count, int *resolved) {
  HTAB *dictionary = dictionary_of(tenant)->dictionary;
  auto *numbers = palloc_array_of<std::int32_t>(static_cast<std::size_t>(count));
  auto look_up = [&] {
    int found = 0;
    for (int i = 0; i < count; ++i)
      if (const std::int32_t number = find_task_key(dictionary, names[i])) numbers[found++] = number;
    return found;
  };
  int found = look_up();
  if (found < count) {
    dictionary = refreshed_dictionary(tenant)->dictionary;
    found = look_up();
  }
  std::sort(numbers, numbers + found);
  *resolved = static_cast<int>(std::unique(numbers, numbers + found) - numbers);
  return numbers;
}

std::int32_t *claimable_task_keys(const Tenant &tenant, const char *const *names, int count, int *claimable) {
  std::int32_t *wanted = nullptr;
  int wanted_count = 0;
  if (names) wanted = resolve_task_keys(tenant, names, count, &wanted_count);
  const CacheEntry *entry = dictionary_of(tenant);
  *claimable = wanted_count;
  if (!entry->any_paused) return wanted;
  auto *keys = palloc_array_of<std::int32_t>(static_cast<std::size_t>(hash_get_num_entries(entry->dictionary)));
  *claimable = 0;
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, entry->dictionary);
  while (auto *word = static_cast<DictionaryEntry *>(hash_seq_search(&scan)))
    if (!word->paused && (!names || std::binary_search(wanted, wanted + wanted_count, word->number)))
      keys[(*claimable)++] = word->number;
  std::sort(keys, keys + *claimable);
  return keys;
}

std::int32_t last_task_key_of(const Tenant &tenant) { return dictionary_of(tenant)->last_key; }

bool is_workflow_paused(const Tenant &tenant, const Definition &definition) {
  char name[2 * NAMEDATALEN] = {};
  strlcpy(name, task_key_name(definition.workflow, definition.ids[0]), sizeof name);
  const auto *word =
      static_cast<DictionaryEntry *>(hash_search(dictionary_of(tenant)->dictionary, name, HASH_FIND, nullptr));
  return word && word->paused;
}

std::int32_t register_definition(const Tenant &tenant, Jsonb *definition, bool activate) {
  if (VARSIZE(definition) > max_definition_size)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("workflow definition is too large"),
                    errdetail("It takes %zu bytes, more than 32 MB.", std::size_t{VARSIZE(definition)})));
  const ParsedDefinition parsed = parse_definition(definition);
  lock_tenant(tenant.number, TenantLock::registration);
  AcceptInvalidationMessages();
  const Datum hash = hash_of(definition);
  std::int32_t version = 0;
  std::int32_t number = find_definition(tenant, parsed.name, hash, &version);
  if (number != 0) {
    if (activate) set_current_definition(tenant, parsed.name, number);
    return version;
  }
  check_defaults(parsed);
  number = take_definition_number(tenant);
  register_keys(tenant, parsed);
  version = last_version(tenant, parsed.name) + 1;
  insert_definition(tenant, number, {parsed.name, version, definition}, hash);
  set_current_definition(tenant, parsed.name, number);
  invalidate_definitions(tenant);
  return version;
}

}  // namespace insula
