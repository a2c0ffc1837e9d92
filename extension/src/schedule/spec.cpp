// Schedules to and from JSON; see spec.hpp.
#include "schedule/spec.hpp"

#include <algorithm>
#include <iterator>

#include "context/merge_patch.hpp"
#include "schedule/cron.hpp"
#include "schedule/zone.hpp"

extern "C" {
#include "utils/fmgrprotos.h"
}

namespace insula {

namespace {

// In the order of the enumerators.
const char *const catch_up_words[] = {"skip", "run_once", "run_all"};
const char *const overlap_words[] = {"allow", "skip", "queue", "cancel"};

template <typename Value, std::size_t Count>
bool read_word(const char *const (&words)[Count], const char *word, Value *value) {
  for (std::size_t i = 0; i < Count; ++i) {
    if (strcmp(words[i], word) != 0) continue;
    *value = static_cast<Value>(i);
    return true;
  }
  return false;
}

const JsonbValue *member(Jsonb *body, const char *key) {
  JsonbValue *value = getKeyJsonValueFromContainer(&body->root, key, static_cast<int>(strlen(key)), nullptr);
  return value && value->type != jbvNull ? value : nullptr;
}

const char *text_of(Jsonb *body, const char *key) {
  const JsonbValue *value = member(body, key);
  return value && value->type == jbvString ? pnstrdup(value->val.string.val, static_cast<Size>(value->val.string.len))
                                           : "";
}

std::int64_t number_of(Jsonb *body, const char *key, std::int64_t absent) {
  const JsonbValue *value = member(body, key);
  if (!value || value->type != jbvNumeric) return absent;
  return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
}

}  // namespace

bool read_catch_up(const char *word, core::CatchUp *catch_up) { return read_word(catch_up_words, word, catch_up); }

bool read_overlap(const char *word, Overlap *overlap) { return read_word(overlap_words, word, overlap); }

Jsonb *spec_as_json(const ScheduleSpec &spec) {
  JsonObject body = begin_object();
  add_member(body, "workflow", spec.workflow);
  add_member(body, "cron", spec.cron);
  add_member(body, "timezone", spec.timezone);
  add_member(body, "catch_up", catch_up_words[static_cast<int>(spec.catch_up)]);
  add_member(body, "max_catch_up", std::int64_t{spec.max_catch_up});
  if (spec.starts_at != DT_NOBEGIN) add_member(body, "starts_at", spec.starts_at);
  if (spec.ends_at != DT_NOEND) add_member(body, "ends_at", spec.ends_at);
  add_member(body, "overlap", overlap_words[static_cast<int>(spec.overlap)]);
  if (spec.jitter > 0) add_member(body, "jitter", spec.jitter);
  if (spec.paused) add_member(body, "paused", std::int64_t{1});
  return end_object(body);
}

ScheduleSpec spec_from_json(Jsonb *body) {
  ScheduleSpec spec = {};
  spec.workflow = text_of(body, "workflow");
  spec.cron = text_of(body, "cron");
  spec.timezone = text_of(body, "timezone");
  (void)read_catch_up(text_of(body, "catch_up"), &spec.catch_up);
  (void)read_overlap(text_of(body, "overlap"), &spec.overlap);
  spec.max_catch_up = static_cast<std::int32_t>(number_of(body, "max_catch_up", 1));
  spec.starts_at = number_of(body, "starts_at", DT_NOBEGIN);
  spec.ends_at = number_of(body, "ends_at", DT_NOEND);
  spec.jitter = number_of(body, "jitter", 0);
  spec.paused = number_of(body, "paused", 0) != 0;
  return spec;
}

core::FireRules fire_rules(const ScheduleSpec &spec, std::int64_t number) {
  core::FireRules rules;
  rules.cron = require_cron(spec.cron);
  rules.zone = require_zone(spec.timezone);
  rules.catch_up = spec.catch_up;
  rules.max_catch_up = spec.max_catch_up;
  if (spec.starts_at != DT_NOBEGIN) rules.starts_at = seconds_of(spec.starts_at + USECS_PER_SEC - 1);
  if (spec.ends_at != DT_NOEND) rules.ends_at = seconds_of(spec.ends_at);
  rules.jitter = spec.jitter;
  rules.seed = static_cast<std::uint64_t>(number);
  return rules;
}

}  // namespace insula
