// The parser's state (the problems found so far) and its readers of single values.  Only this
// folder includes it.
#pragma once

#include "definition/definition.hpp"

namespace insula {

struct Problems {
  StringInfoData lines;
  int count;
};

struct Dependency {
  std::int32_t task;
  int place;  // in the list of dependencies
  const char *id;
};

// A trigger rule's reference to a task.
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

// Notes a problem; the text begins with its JSON path.
__attribute__((format(printf, 2, 3))) void problem(Reader &reader, const char *format, ...);

bool key_is(const JsonbValue &key, const char *name);
char *string_of(const JsonbValue &value);
bool is_array(const JsonbValue &value);
bool is_object(const JsonbValue &value);

// The copy lives as long as the definition.
JsonbValue copy_of(const JsonbValue &value);

// Visits each member of an object or each element of an array.
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

// The declared position of a task id; -1: no task has it.
std::int32_t position_of(const Reader &reader, const char *id);

// False: the value is not of the kind that is wanted, and a problem is noted.
bool read_integer(Reader &reader, const char *path, const JsonbValue &value, std::int64_t least, std::int64_t most,
                  std::int64_t *result);
// Reads an interval's text as microseconds; a month counts 30 days.
bool read_duration(Reader &reader, const char *path, const JsonbValue &value, std::int64_t *result);

// ---- params.cpp ----

void read_params(Reader &reader, const JsonbValue &value);

// ---- parse_options.cpp ----

// False: the key is no task option.
bool read_task_option(Reader &reader, std::int32_t task, const JsonbValue &key, const JsonbValue &value);

// Reads the whole workflow's limit.
void read_limit(Reader &reader, const JsonbValue &value);

// ---- parse_rule.cpp ----

void read_trigger_rule(Reader &reader, std::int32_t task, const JsonbValue &value);
// Notes a task id that is looked up once all tasks are known.
void note_rule_subject(Reader &reader, std::int32_t task, int node, const char *path, const char *id);

}  // namespace insula
