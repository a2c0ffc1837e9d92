// What reads a definition's JSON: the problems found so far, and small readers of values.
// For the files of this folder alone.
#pragma once

#include "definition/definition.hpp"

namespace insula {

struct Problems {
  StringInfoData lines;
  int count;
};

struct Dependency {
  std::int32_t task;
  int place;  // in its list
  const char *id;
};

// A task that a trigger rule names.
struct RuleSubject {
  std::int32_t task;
  int node;
  const char *path;
  const char *id;
};

struct Reader {
  Problems problems;
  ParsedDefinition parsed;
  Dependency *dependencies;
  int dependency_count;
  int dependency_room;
  RuleSubject *subjects;
  int subject_count;
  int subject_room;
  HTAB *positions;  // task id to declared position
};

// Notes a problem, which begins with its JSON path.
__attribute__((format(printf, 2, 3))) void problem(Reader &reader, const char *format, ...);

bool key_is(const JsonbValue &key, const char *name);
char *string_of(const JsonbValue &value);
bool is_array(const JsonbValue &value);
bool is_object(const JsonbValue &value);

// A copy that lives as long as the definition.
JsonbValue copy_of(const JsonbValue &value);

// Each member of an object, each element of an array.
template <typename Visit>
void for_each_member(const JsonbValue &object, Visit visit) {
  JsonbIterator *members = JsonbIteratorInit(object.val.binary.data);
  JsonbValue key;
  JsonbValue member;
  (void)JsonbIteratorNext(&members, &key, true);
  while (JsonbIteratorNext(&members, &key, true) == WJB_KEY) {
    (void)JsonbIteratorNext(&members, &member, true);
    visit(key, member);
  }
}
template <typename Visit>
void for_each_element(const JsonbValue &array, Visit visit) {
  JsonbIterator *elements = JsonbIteratorInit(array.val.binary.data);
  JsonbValue element;
  (void)JsonbIteratorNext(&elements, &element, true);
  for (int place = 0; JsonbIteratorNext(&elements, &element, true) == WJB_ELEM; ++place) visit(place, element);
}

// The declared position of a task id; -1 if there is none.
std::int32_t position_of(const Reader &reader, const char *id);

// False, with the problem noted, where the value is not what is meant.
bool read_integer(Reader &reader, const char *path, const JsonbValue &value, std::int64_t least, std::int64_t most,
                  std::int64_t *result);
// An interval's text, in microseconds; a month counts 30 days.
bool read_duration(Reader &reader, const char *path, const JsonbValue &value, std::int64_t *result);

// ---- params.cpp ----

void read_params(Reader &reader, const JsonbValue &value);

// ---- parse_options.cpp ----

// False where it is no key of a task's options.
bool read_task_option(Reader &reader, std::int32_t task, const JsonbValue &key, const JsonbValue &value);

// What the definition says of the whole workflow's limit.
void read_limit(Reader &reader, const JsonbValue &value);

// ---- parse_rule.cpp ----

void read_trigger_rule(Reader &reader, std::int32_t task, const JsonbValue &value);
// To be looked up once all tasks are known.
void note_rule_subject(Reader &reader, std::int32_t task, int node, const char *path, const char *id);

}  // namespace insula
