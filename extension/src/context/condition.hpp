// Conditions on a value of a context, as trigger rules have them.
#pragma once

#include "postgres.hpp"

namespace insula {

enum class Comparison {
  equals,
  not_equals,
  greater_than,
  greater_or_equal,
  less_than,
  less_or_equal,
  contains,
  not_contains,
  exists,
  not_exists,
};

struct PathStep {
  const char *key;  // nullptr: an array's element
  int length;
  std::uint32_t index;
};

struct ContextCondition {
  const PathStep *steps;
  int step_count;
  Comparison comparison;
  JsonbValue value;  // unset for exists and not_exists
};

// Numbers compare as numbers.
bool same_value(const JsonbValue &a, const JsonbValue &b);

// Parses a plain key of the context, or a path like $.order.lines[0]['net price']. False: it is
// neither.
bool parse_path(const char *text, ContextCondition *condition);

// nullptr: the context has no such value.
Jsonb *value_at(const ContextCondition &path, Jsonb *context);
// The context without the value.
Jsonb *without_value(const ContextCondition &path, Jsonb *context);

// False: the name is no comparison.
bool parse_comparison(const char *name, Comparison *comparison);

// A missing key equals, contains and is greater than nothing; null is a value.  Numbers compare as
// numbers, texts byte by byte; other values are never greater or less.  A text contains its parts,
// an array its elements, an object its keys.
// *left: how many bytes may still be looked at, since a rule can have ten thousand conditions on an array of a million
// elements; 0: that was too much, and the answer means nothing.
bool condition_holds(const ContextCondition &condition, Jsonb *context, std::size_t *left);

}  // namespace insula
