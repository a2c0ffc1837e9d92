// Finding a value by its path and comparing it; see condition.hpp.
#include "context/condition.hpp"

#include <algorithm>

extern "C" {
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
}

namespace insula {

namespace {

constexpr int max_steps = 64;
// Each counts as this number of bytes that are looked at.
constexpr std::size_t cost_of_condition = 256;
constexpr std::size_t cost_of_element = 16;

bool is_name_char(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         (c & 0x80) != 0;
}

// Each reader reads one step at `at` and moves `at` on; false: the text is no such step.
bool read_member(const char *&at, PathStep *step) {
  const char *start = ++at;
  while (is_name_char(*at)) ++at;
  *step = {start, static_cast<int>(at - start), 0};
  return step->length > 0;
}

bool read_bracket(const char *&at, PathStep *step) {
  ++at;
  if (*at == '\'' || *at == '"') {
    const char *start = at + 1;
    const char *end = strchr(start, *at);
    if (!end || end[1] != ']') return false;
    *step = {start, static_cast<int>(end - start), 0};
    at = end + 2;
    return true;
  }
  std::uint32_t index = 0;
  const char *start = at;
  for (; *at >= '0' && *at <= '9' && at - start < 9; ++at) index = index * 10 + static_cast<std::uint32_t>(*at - '0');
  if (at == start || *at != ']') return false;
  ++at;
  *step = {nullptr, 0, index};
  return true;
}

const JsonbValue *find_step(JsonbContainer *container, const PathStep &step, JsonbValue *buffer) {
  if (!step.key)
    return JsonContainerIsArray(container) ? getIthJsonbValueFromContainer(container, step.index) : nullptr;
  if (!JsonContainerIsObject(container)) return nullptr;
  return getKeyJsonValueFromContainer(container, step.key, step.length, buffer);
}

// nullptr: the context has no such value.
const JsonbValue *find_value(const ContextCondition &condition, Jsonb *context, JsonbValue *buffer) {
  JsonbContainer *container = &context->root;
  const JsonbValue *value = buffer;
  buffer->type = jbvBinary;
  buffer->val.binary.data = container;
  buffer->val.binary.len = static_cast<int>(VARSIZE(context) - VARHDRSZ);
  for (int i = 0; i < condition.step_count; ++i) {
    if (value->type != jbvBinary) return nullptr;
    container = value->val.binary.data;
    JsonbValue *next = static_cast<JsonbValue *>(palloc(sizeof(JsonbValue)));
    value = find_step(container, condition.steps[i], next);
    if (!value) return nullptr;
  }
  return value;
}

bool same_text(const JsonbValue &a, const JsonbValue &b) {
  return a.val.string.len == b.val.string.len &&
         memcmp(a.val.string.val, b.val.string.val, static_cast<Size>(a.val.string.len)) == 0;
}

int compare_numbers(const JsonbValue &a, const JsonbValue &b) {
  return DatumGetInt32(
      DirectFunctionCall2(numeric_cmp, NumericGetDatum(a.val.numeric), NumericGetDatum(b.val.numeric)));
}

// Sets *order; false: the two cannot be compared.
bool compare(const JsonbValue &a, const JsonbValue &b, int *order) {
  if (a.type == jbvNumeric && b.type == jbvNumeric) {
    *order = compare_numbers(a, b);
    return true;
  }
  if (a.type != jbvString || b.type != jbvString) return false;
  const int shorter = std::min(a.val.string.len, b.val.string.len);
  *order = memcmp(a.val.string.val, b.val.string.val, static_cast<Size>(shorter));
  if (*order == 0) *order = a.val.string.len - b.val.string.len;
  return true;
}

bool look_at(std::size_t bytes, std::size_t *left) {
  *left -= std::min(bytes, *left);
  return *left > 0;
}

std::size_t size_of(const JsonbValue &value) {
  if (value.type == jbvString) return static_cast<std::size_t>(value.val.string.len);
  return value.type == jbvBinary ? static_cast<std::size_t>(value.val.binary.len) : 0;
}

bool has_element(JsonbContainer *array, const JsonbValue &part, std::size_t *left) {
  const std::size_t size = size_of(part);
  JsonbIterator *elements = JsonbIteratorInit(array);
  JsonbValue element;
  (void)JsonbIteratorNext(&elements, &element, true);
  while (JsonbIteratorNext(&elements, &element, true) == WJB_ELEM) {
    CHECK_FOR_INTERRUPTS();
    if (!look_at(cost_of_element + std::min(size, size_of(element)), left)) return false;
    if (same_value(element, part)) return true;
  }
  return false;
}

bool contains(const JsonbValue &whole, const JsonbValue &part, std::size_t *left) {
  if (whole.type == jbvString && part.type == jbvString) {
    if (!look_at(size_of(whole), left)) return false;
    return part.val.string.len == 0 || memmem(whole.val.string.val, static_cast<Size>(whole.val.string.len),
                                              part.val.string.val, static_cast<Size>(part.val.string.len)) != nullptr;
  }
  if (whole.type != jbvBinary) return false;
  JsonbContainer *container = whole.val.binary.data;
  if (JsonContainerIsArray(container)) return has_element(container, part, left);
  JsonbValue buffer;
  return part.type == jbvString &&
         getKeyJsonValueFromContainer(container, part.val.string.val, part.val.string.len, &buffer) != nullptr;
}

}  // namespace

bool same_value(const JsonbValue &a, const JsonbValue &b) {
  if (a.type != b.type) return false;
  switch (a.type) {
    case jbvNull:
      return true;
    case jbvString:
      return same_text(a, b);
    case jbvNumeric:
      return compare_numbers(a, b) == 0;
    case jbvBool:
      return a.val.boolean == b.val.boolean;
    case jbvBinary:
      return compareJsonbContainers(a.val.binary.data, b.val.binary.data) == 0;
    default:
      return false;
  }
}

bool parse_path(const char *text, ContextCondition *condition) {
  PathStep steps[max_steps];
  int count = 0;
  if (text[0] == '\0' || strlen(text) > 1000) return false;
  if (text[0] != '$') {
    steps[count++] = {text, static_cast<int>(strlen(text)), 0};
  } else {
    for (const char *at = text + 1; *at;) {
      if (count == max_steps) return false;
      PathStep *step = &steps[count++];
      if (*at == '.' ? !read_member(at, step) : *at == '[' ? !read_bracket(at, step) : true) return false;
    }
  }
  auto *kept = palloc_array_of<PathStep>(static_cast<std::size_t>(count));
  std::copy(steps, steps + count, kept);
  condition->steps = kept;
  condition->step_count = count;
  return true;
}

bool parse_comparison(const char *name, Comparison *comparison) {
  static const char *const names[] = {"equals",        "not_equals", "greater_than", "greater_or_equal", "less_than",
                                      "less_or_equal", "contains",   "not_contains", "exists",           "not_exists"};
  for (std::size_t i = 0; i < lengthof(names); ++i) {
    if (strcmp(name, names[i]) != 0) continue;
    *comparison = static_cast<Comparison>(i);
    return true;
  }
  return false;
}

Jsonb *value_at(const ContextCondition &path, Jsonb *context) {
  JsonbValue buffer;
  const JsonbValue *value = find_value(path, context, &buffer);
  return value ? JsonbValueToJsonb(const_cast<JsonbValue *>(value)) : nullptr;
}

Jsonb *without_value(const ContextCondition &path, Jsonb *context) {
  Datum steps[max_steps];
  for (int i = 0; i < path.step_count; ++i)
    steps[i] = PointerGetDatum(path.steps[i].key ? cstring_to_text_with_len(path.steps[i].key, path.steps[i].length)
                                                 : cstring_to_text(psprintf("%u", path.steps[i].index)));
  const Datum array = PointerGetDatum(construct_array(steps, path.step_count, TEXTOID, -1, false, TYPALIGN_INT));
  return DatumGetJsonbP(DirectFunctionCall2(jsonb_delete_path, PointerGetDatum(context), array));
}

bool condition_holds(const ContextCondition &condition, Jsonb *context, std::size_t *left) {
  CHECK_FOR_INTERRUPTS();
  if (!look_at(cost_of_condition, left)) return false;
  JsonbValue buffer;
  const JsonbValue *found = find_value(condition, context, &buffer);
  int order = 0;
  const bool ordered = found && compare(*found, condition.value, &order);
  switch (condition.comparison) {
    case Comparison::equals:
      return found && same_value(*found, condition.value);
    case Comparison::not_equals:
      return !found || !same_value(*found, condition.value);
    case Comparison::greater_than:
      return ordered && order > 0;
    case Comparison::greater_or_equal:
      return ordered && order >= 0;
    case Comparison::less_than:
      return ordered && order < 0;
    case Comparison::less_or_equal:
      return ordered && order <= 0;
    case Comparison::contains:
      return found && contains(*found, condition.value, left);
    case Comparison::not_contains:
      return !found || !contains(*found, condition.value, left);
    case Comparison::exists:
      return found != nullptr;
    case Comparison::not_exists:
      return found == nullptr;
  }
  return false;
}

}  // namespace insula
