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
  Entry *entries;  // nullptr: it has been asked for once, and is not made yet
  std::size_t count;
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

void fill(ArrayIndex &index, ContextQuestions &questions) {
  index.entries = palloc_array_of<Entry>(JsonContainerSize(index.array));
  (void)find_element(index.array, questions, [&](std::uint32_t place, const JsonbValue &element) {
    if (element.type == jbvBinary) return false;
    (void)questions.spend(size_of(element) + sizeof(Entry));
    index.entries[index.count++] = {hash_of(element), place};
    return false;
  });
  // The questions of another task must not find half an index.
  if (questions.exhausted()) {
    pfree(index.entries);
    index = {index.array, nullptr, 0};
    return;
  }
  std::sort(index.entries, index.entries + index.count);
}

}  // namespace

struct ElementIndex {
  ArrayIndex arrays[most_indexes];
  int count;
  int next;  // to make room
};

// nullptr: the array has not been asked for before.
static ArrayIndex *find_index(JsonbContainer *array, ContextQuestions &questions) {
  if (!questions.indexes)
    questions.indexes = static_cast<ElementIndex *>(MemoryContextAllocZero(questions.memory, sizeof(ElementIndex)));
  ElementIndex &indexes = *questions.indexes;
  for (int i = 0; i < indexes.count; ++i)
    if (indexes.arrays[i].array == array) return &indexes.arrays[i];
  ArrayIndex &made = indexes.arrays[indexes.next];
  if (made.entries) pfree(made.entries);
  made = {array, nullptr, 0};
  indexes.next = (indexes.next + 1) % most_indexes;
  indexes.count = std::min(indexes.count + 1, most_indexes);
  return nullptr;
}

bool has_element(JsonbContainer *array, const JsonbValue &value, ContextQuestions &questions) {
  ArrayIndex *index = value.type == jbvBinary ? nullptr : find_index(array, questions);
  if (!index) return search(array, value, questions);
  if (!index->entries) {
    MemoryContext before = MemoryContextSwitchTo(questions.memory);
    fill(*index, questions);
    MemoryContextSwitchTo(before);
    if (!index->entries) return false;
  }
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
