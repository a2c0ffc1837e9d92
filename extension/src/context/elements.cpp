// Indexes of arrays; see elements.hpp.  An index has the hash of each scalar element with its place, sorted.
#include "context/elements.hpp"

#include <algorithm>

#include "context/condition.hpp"

namespace insula {

namespace {

constexpr std::size_t cost_of_element = 16;
constexpr int most_indexes = 16;

struct Entry {
  std::uint64_t hash;
  std::uint32_t place;

  bool operator<(const Entry &other) const { return hash < other.hash || (hash == other.hash && place < other.place); }
};

struct ArrayIndex {
  JsonbContainer *array;
  Entry *entries;
  std::size_t count;
  std::size_t cost;  // of making it
};

// An array that the present rule has asked for.
struct Use {
  JsonbContainer *array;
  bool paid;  // for the index
};

std::uint64_t hash_of(const JsonbValue &scalar) {
  std::uint64_t hash = 0;
  JsonbHashScalarValueExtended(&scalar, &hash, 0);
  return hash;
}

std::size_t size_of(const JsonbValue &value) {
  if (value.type == jbvString) return static_cast<std::size_t>(value.val.string.len);
  if (value.type == jbvNumeric) return VARSIZE_ANY(value.val.numeric);
  return value.type == jbvBinary ? static_cast<std::size_t>(value.val.binary.len) : 0;
}

// Visits the elements until one is found, or there have been too many.
template <typename Visit>
bool find_element(JsonbContainer *array, ContextQuestions &questions, Visit visit) {
  JsonbIterator *elements = JsonbIteratorInit(array);
  JsonbValue element;
  (void)JsonbIteratorNext(&elements, &element, true);
  for (std::uint32_t place = 0; JsonbIteratorNext(&elements, &element, true) == WJB_ELEM; ++place) {
    CHECK_FOR_INTERRUPTS();
    if (!questions.spend(cost_of_element)) return false;
    if (visit(place, element)) return true;
  }
  return false;
}

bool search(JsonbContainer *array, const JsonbValue &value, ContextQuestions &questions) {
  const std::size_t size = size_of(value);
  return find_element(array, questions, [&](std::uint32_t, const JsonbValue &element) {
    if (element.type != value.type) return false;
    return questions.spend(std::min(size, size_of(element))) && same_value(element, value);
  });
}

// False: it would take too much; the questions of another rule must not find half an index.
bool fill(JsonbContainer *array, ArrayIndex &index, ContextQuestions &questions) {
  index = {array, palloc_array_of<Entry>(JsonContainerSize(array)), 0, 0};
  const std::size_t before = questions.left;
  (void)find_element(array, questions, [&](std::uint32_t place, const JsonbValue &element) {
    if (element.type == jbvBinary) return false;
    (void)questions.spend(size_of(element) + sizeof(Entry));
    index.entries[index.count++] = {hash_of(element), place};
    return false;
  });
  index.cost = before - questions.left;
  if (questions.exhausted()) {
    pfree(index.entries);
    index = {};
    return false;
  }
  std::sort(index.entries, index.entries + index.count);
  return true;
}

}  // namespace

struct ElementIndex {
  ArrayIndex made[most_indexes];
  Use uses[most_indexes];  // the latest ones
  int next_use;
};

void begin_questions(ContextQuestions &questions, std::size_t most, MemoryContext memory) {
  questions.left = most;
  questions.memory = memory;
  if (!questions.indexes) return;
  std::fill_n(questions.indexes->uses, most_indexes, Use{});
  questions.indexes->next_use = 0;
}

static Use *find_use(ElementIndex &indexes, const JsonbContainer *array) {
  for (Use &use : indexes.uses)
    if (use.array == array) return &use;
  return nullptr;
}

// What is in use stays.  There is room, since the array that the room is for is in use and has no index.
static ArrayIndex &room_for_index(ElementIndex &indexes) {
  for (ArrayIndex &index : indexes.made)
    if (!index.array || !find_use(indexes, index.array)) return index;
  return indexes.made[0];
}

// The array's index, made or found; nullptr: it would take too much.
static ArrayIndex *index_of(JsonbContainer *array, Use &use, ContextQuestions &questions) {
  const bool paid = use.paid;
  use.paid = true;
  for (ArrayIndex &index : questions.indexes->made)
    if (index.array == array) return paid || questions.spend(index.cost) ? &index : nullptr;
  ArrayIndex &added = room_for_index(*questions.indexes);
  if (added.entries) pfree(added.entries);
  MemoryContext before = MemoryContextSwitchTo(questions.memory);
  const bool filled = fill(array, added, questions);
  MemoryContextSwitchTo(before);
  return filled ? &added : nullptr;
}

bool has_element(JsonbContainer *array, const JsonbValue &value, ContextQuestions &questions) {
  if (value.type == jbvBinary) return search(array, value, questions);
  if (!questions.indexes)
    questions.indexes = static_cast<ElementIndex *>(MemoryContextAllocZero(questions.memory, sizeof(ElementIndex)));
  ElementIndex &indexes = *questions.indexes;
  Use *use = find_use(indexes, array);
  if (!use) {
    indexes.uses[indexes.next_use] = {array, false};
    indexes.next_use = (indexes.next_use + 1) % most_indexes;
    return search(array, value, questions);
  }
  const ArrayIndex *index = index_of(array, *use, questions);
  if (!index) return false;
  const Entry *entries = index->entries;
  const Entry *end = entries + index->count;
  const Entry wanted = {hash_of(value), 0};
  for (const Entry *at = std::lower_bound(entries, end, wanted); at < end && at->hash == wanted.hash; ++at) {
    const JsonbValue *element = getIthJsonbValueFromContainer(array, at->place);
    if (!questions.spend(cost_of_element + size_of(value))) return false;
    if (element && same_value(*element, value)) return true;
  }
  return false;
}

}  // namespace insula
