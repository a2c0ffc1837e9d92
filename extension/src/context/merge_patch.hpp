// JSON merge patches (RFC 7396) on jsonb.
#pragma once

#include "postgres.hpp"

namespace insula {

// Applies `patch` to `target`; nullptr counts as {} for either.  The patch is an object, or an
// array of objects that are applied in order.  The result may be one of the arguments.
Jsonb *merge_patch(Jsonb *target, Jsonb *patch);

// Applies many patches (nullptr: none) in order, in one pass.
Jsonb *merge_patches(Jsonb *target, Jsonb *const *patches, std::size_t count);

// More is not merged: the task or the execution fails.
inline constexpr std::size_t max_merged_size = std::size_t{64} << 20;

// The bytes of all values; nullptr counts nothing.
std::size_t total_size(Jsonb *const *values, int count);

// A patch that does the work of `patches` and then `patch`: one object if merge patches can say it
// (they cannot say "replace any value by this object"), else an array.
Jsonb *append_patch(Jsonb *patches, Jsonb *patch);

Jsonb *empty_object();
bool is_object(Jsonb *value);

// A JSON object made piece by piece.
struct JsonObject {
  JsonbMaker maker;
};
JsonObject begin_object();
void add_member(JsonObject &object, const char *key, const char *text);  // nullptr: null
void add_member(JsonObject &object, const char *key, std::int64_t number);
void add_member(JsonObject &object, const char *key, Jsonb *value);
void add_time(JsonObject &object, const char *key, TimestampTz time);  // 0: null
// The same in UTC, independent of the session's time zone.
void add_utc_time(JsonObject &object, const char *key, TimestampTz time);
Jsonb *end_object(JsonObject &object);

}  // namespace insula
