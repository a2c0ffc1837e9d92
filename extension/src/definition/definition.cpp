// Registered definitions: registration, the cache of compiled definitions, and the dictionary of
// task keys.  Both caches are bounded.  An entry is fresh while the tenant's `definitions` counter
// has the value from before it was read; every registration changes the counter, committed or
// rolled back.  A registered version never changes, so that a definition is then kept if the row that it
// was read from is still there, which costs one row and not its text.  A dictionary has all keys of a tenant with
// few, and of another those that have been looked up: whatever a tenant registers, a change costs the sessions that
// serve it a few rows.
#include "definition/definition.hpp"

#include <algorithm>
#include <numeric>

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
constexpr std::size_t cache_bytes_limit = std::size_t{16} << 20;
constexpr std::int32_t max_task_keys = 200000;
constexpr std::int32_t few_task_keys = 500;  // a tenant with no more is read as a whole
constexpr long max_known_names = 20000;      // of another, at a time
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
  Oid record;         // the table that a definition was read from, and the transaction that wrote its row
  TransactionId written_by;
  Definition definition;
  HTAB *dictionary;
  bool is_whole;                       // the dictionary has all keys; else those looked up, and names that have none
  std::int32_t last_key;               // the highest number of the tenant
  std::span<const std::uint8_t> held;  // a bit for each key of a paused workflow

  bool is_held(std::int32_t number) const {
    const auto byte = static_cast<std::size_t>(number / 8);
    return byte < held.size() && (held[byte] >> (number % 8) & 1) != 0;
  }
};

struct DictionaryEntry {
  char name[2 * NAMEDATALEN];
  std::int32_t number;  // 0: no task has the key
};

HTAB *cache = nullptr;
std::size_t cache_bytes = 0;
std::uint64_t use_clock = 0;
const CacheEntry *given_out = nullptr;  // the definition that a caller may hold a pointer to

void forget(CacheEntry *entry) {
  if (entry == given_out) given_out = nullptr;
  cache_bytes -= entry->bytes;
  if (entry->memory) MemoryContextDelete(entry->memory);
  CacheKey key = entry->key;
  hash_search(cache, &key, HASH_REMOVE, nullptr);
}

// The entry used last stays, and so does the definition that was given out last, even if they are too large: a caller
// may hold a pointer to it.
void make_room(std::size_t bytes) {
  while (hash_get_num_entries(cache) >= definition_limit + dictionary_limit ||
         cache_bytes + bytes > cache_bytes_limit) {
    HASH_SEQ_STATUS scan;
    CacheEntry *oldest = nullptr;
    hash_seq_init(&scan, cache);
    while (auto *entry = static_cast<CacheEntry *>(hash_seq_search(&scan)))
      if (entry->used != use_clock && entry != given_out && (!oldest || entry->used < oldest->used)) oldest = entry;
    if (!oldest) return;
    forget(oldest);
  }
}

// A number is given again only where the transaction that took it was rolled back, or with the tenant's own number.
bool is_still_registered(const Tenant &tenant, CacheEntry *entry) {
  const std::uint64_t generation = tenant.definitions;
  if (entry->key.number == 0 || entry->record != tenant.record ||
      writer_of_version(tenant, entry->key.number) != entry->written_by)
    return false;
  entry->generation = generation;
  return true;
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
  if (entry && entry->generation != tenant.definitions && !is_still_registered(tenant, entry)) {
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
  *entry = {key, generation, ++use_clock, memory, bytes, InvalidOid, InvalidTransactionId, {}, nullptr, false, 0, {}};
  cache_bytes += bytes;
  return entry;
}

char *task_key_name(const char *workflow, const char *task) { return psprintf("%s.%s", workflow, task); }

void enter_name(HTAB *dictionary, const char *name, std::int32_t number) {
  char key[2 * NAMEDATALEN] = {};
  strlcpy(key, name, sizeof key);
  static_cast<DictionaryEntry *>(hash_search(dictionary, key, HASH_ENTER, nullptr))->number = number;
}

CacheEntry *dictionary_of(const Tenant &tenant) {
  const CacheKey key = {tenant.number, 0};
  if (CacheEntry *hit = lookup(tenant, key)) return hit;
  // An old snapshot may not show a change whose invalidation has come: 0 is never fresh.
  const std::uint64_t generation = IsolationUsesXactSnapshot() ? 0 : tenant.definitions;
  std::int32_t last_key = last_task_key(tenant);
  const bool is_whole = last_key <= few_task_keys;
  int count = 0;
  const TaskKey *keys = is_whole ? all_task_keys(tenant, &count) : nullptr;
  const std::span<const std::uint8_t> held = held_task_keys(tenant);
  MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "insula task keys", ALLOCSET_SMALL_SIZES);
  HASHCTL control = {};
  control.keysize = 2 * NAMEDATALEN;
  control.entrysize = sizeof(DictionaryEntry);
  control.hcxt = memory;
  HTAB *dictionary =
      hash_create("insula task keys", std::max(count, 8), &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
  for (int i = 0; i < count; ++i) {
    enter_name(dictionary, keys[i].name, keys[i].number);
    last_key = std::max(last_key, keys[i].number);
  }
  auto *bits = static_cast<std::uint8_t *>(MemoryContextAlloc(memory, held.size() + 1));
  std::copy(held.begin(), held.end(), bits);
  MemoryContextSetParent(memory, CacheMemoryContext);
  CacheEntry *entry = enter(key, generation, memory);
  entry->dictionary = dictionary;
  entry->is_whole = is_whole;
  entry->last_key = last_key;
  entry->held = {bits, held.size()};
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

// nullptr: the dictionary does not know the name.
const DictionaryEntry *find_name(HTAB *dictionary, const char *name) {
  char key[2 * NAMEDATALEN] = {};
  strlcpy(key, name, sizeof key);
  return static_cast<DictionaryEntry *>(hash_search(dictionary, key, HASH_FIND, nullptr));
}

bool may_be_key(const char *name) { return strlen(name) < 2 * NAMEDATALEN; }

// Looks up those of the names that the dictionary has not looked up yet.
CacheEntry *learn_names(const Tenant &tenant, CacheEntry *entry, const char *const *names, int count) {
  if (entry->is_whole) return entry;
  auto **unknown = palloc_array_of<const char *>(static_cast<std::size_t>(count));
  int missing = 0;
  for (int i = 0; i < count; ++i)
    if (may_be_key(names[i]) && !find_name(entry->dictionary, names[i])) unknown[missing++] = names[i];
  if (missing == 0) return entry;
  if (hash_get_num_entries(entry->dictionary) > 0 &&
      hash_get_num_entries(entry->dictionary) + missing > max_known_names) {
    forget(entry);
    return learn_names(tenant, dictionary_of(tenant), names, count);
  }
  int found;
  const TaskKey *keys = find_task_keys(tenant, unknown, missing, &found);
  // If memory ends halfway, no name counts as one that has no key.
  for (int i = 0; i < found; ++i) enter_name(entry->dictionary, keys[i].name, keys[i].number);
  for (int i = 0; i < missing; ++i)
    if (!find_name(entry->dictionary, unknown[i])) enter_name(entry->dictionary, unknown[i], 0);
  cache_bytes -= entry->bytes;
  entry->bytes = MemoryContextMemAllocated(entry->memory, true);
  cache_bytes += entry->bytes;
  make_room(0);
  return entry;
}

enum class Known { maybe, surely };

// The number of each name's key, 0 where it has none; returns how many have one.
int find_keys(const Tenant &tenant, const char *const *names, int count, std::int32_t *numbers, Known known) {
  const auto look_up = [&](CacheEntry *entry) {
    entry = learn_names(tenant, entry, names, count);
    int found = 0;
    for (int i = 0; i < count; ++i) {
      const auto *word = may_be_key(names[i]) ? find_name(entry->dictionary, names[i]) : nullptr;
      numbers[i] = word ? word->number : 0;
      if (numbers[i] != 0) ++found;
    }
    return found;
  };
  const int found = known == Known::surely ? 0 : look_up(dictionary_of(tenant));
  return found < count ? look_up(refreshed_dictionary(tenant)) : found;
}

const char **task_key_names(const char *workflow, const char *const *ids, int tasks) {
  auto **names = palloc_array_of<const char *>(static_cast<std::size_t>(tasks));
  for (int i = 0; i < tasks; ++i) names[i] = task_key_name(workflow, ids[i]);
  return names;
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

Datum hash_of(Jsonb *definition) {
  char *text = JsonbToCString(nullptr, &definition->root, static_cast<int>(VARSIZE(definition)));
  return DirectFunctionCall1(sha256_bytea, PointerGetDatum(cstring_to_text(text)));
}

void hold_keys(const Tenant &tenant, const std::int32_t *numbers, int count, bool held) {
  const std::span<const std::uint8_t> before = held_task_keys(tenant);
  std::size_t size = before.size();
  for (int i = 0; i < count; ++i) size = std::max(size, static_cast<std::size_t>(numbers[i] / 8) + 1);
  auto *bits = static_cast<std::uint8_t *>(palloc0(size + 1));
  std::copy(before.begin(), before.end(), bits);
  for (int i = 0; i < count; ++i) {
    const auto bit = static_cast<std::uint8_t>(1 << (numbers[i] % 8));
    std::uint8_t &byte = bits[numbers[i] / 8];
    byte = static_cast<std::uint8_t>(held ? byte | bit : byte & ~bit);
  }
  write_held_task_keys(tenant, {bits, size});
}

void register_keys(const Tenant &tenant, const ParsedDefinition &parsed) {
  const char **names = task_key_names(parsed.name, parsed.ids, parsed.tasks);
  auto *numbers = palloc_array_of<std::int32_t>(static_cast<std::size_t>(parsed.tasks));
  const int missing = parsed.tasks - find_keys(tenant, names, parsed.tasks, numbers, Known::surely);
  if (missing == 0) return;
  const std::int32_t first = take_task_keys(tenant, missing);
  if (first + missing - 1 > max_task_keys)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("tenant \"%s\" would have too many different tasks", tenant.name),
                    errdetail("At most %d names of the form workflow.task can ever be registered.", max_task_keys),
                    errhint("Versions of a workflow share the names of their tasks: use those again.")));
  int count = 0;
  for (int i = 0; i < parsed.tasks; ++i) {
    if (numbers[i] != 0) continue;
    names[count] = names[i];
    numbers[count++] = 0;
  }
  insert_task_keys(tenant, first, names, count);
  if (!is_marked_paused(tenant, parsed.name)) return;
  for (int i = 0; i < count; ++i) numbers[i] = first + i;
  hold_keys(tenant, numbers, count, true);
}

}  // namespace

const Definition &definition_of(const Tenant &tenant, std::int32_t number) {
  const CacheKey key = {tenant.number, number};
  given_out = nullptr;
  if (CacheEntry *hit = lookup(tenant, key)) {
    given_out = hit;
    return hit->definition;
  }
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
  auto *keys = palloc_array_of<std::int32_t>(static_cast<std::size_t>(definition.tasks));
  definition.keys = keys;
  MemoryContextSwitchTo(before);
  const char **names = task_key_names(definition.workflow, definition.ids, definition.tasks);
  if (find_keys(tenant, names, definition.tasks, keys, Known::maybe) < definition.tasks)
    ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
                    errmsg("task keys of workflow \"%s\" of tenant \"%s\" are missing", row.workflow, tenant.name)));
  MemoryContextSetParent(memory, CacheMemoryContext);
  CacheEntry *entry = enter(key, generation, memory);
  entry->definition = definition;
  entry->record = tenant.record;
  entry->written_by = row.written_by;
  given_out = entry;
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
  auto *numbers = palloc_array_of<std::int32_t>(static_cast<std::size_t>(count));
  (void)find_keys(tenant, names, count, numbers, Known::maybe);
  std::int32_t *end = std::remove(numbers, numbers + count, 0);
  std::sort(numbers, end);
  *resolved = static_cast<int>(std::unique(numbers, end) - numbers);
  return numbers;
}

std::int32_t *claimable_task_keys(const Tenant &tenant, const char *const *names, int count, int *claimable) {
  std::int32_t *keys = nullptr;
  *claimable = 0;
  if (names) keys = resolve_task_keys(tenant, names, count, claimable);
  const CacheEntry *entry = dictionary_of(tenant);
  if (entry->held.empty()) return keys;
  if (!names) {
    *claimable = entry->last_key;
    keys = palloc_array_of<std::int32_t>(static_cast<std::size_t>(entry->last_key));
    std::iota(keys, keys + entry->last_key, 1);
  }
  *claimable = static_cast<int>(
      std::remove_if(keys, keys + *claimable, [&](std::int32_t key) { return entry->is_held(key); }) - keys);
  return keys;
}

std::int32_t last_task_key_of(const Tenant &tenant) { return dictionary_of(tenant)->last_key; }

bool is_workflow_paused(const Tenant &tenant, const Definition &definition) {
  const std::int32_t key = definition.keys[0];
  return dictionary_of(tenant)->is_held(key);
}

bool pause_or_resume_workflow(const Tenant &tenant, const char *workflow, bool paused) {
  lock_tenant(tenant.number, TenantLock::registration);
  AcceptInvalidationMessages();
  if (!set_workflow_paused(tenant, workflow, paused)) return false;
  int count;
  const std::int32_t *numbers = task_keys_of(tenant, workflow, &count);
  hold_keys(tenant, numbers, count, paused);
  invalidate_definitions(tenant);
  return true;
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
