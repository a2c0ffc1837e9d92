// JSON merge patches (RFC 7396) on jsonb.
#pragma once

#include "postgres.hpp"

namespace insula {

// `target` with `patch` applied; either may be nullptr, which counts as {}.  The patch is an
// object, or an array of such, applied one after the other.  The result may be one of
// the arguments.
Jsonb *merge_patch(Jsonb *target, Jsonb *patch);

// The same for many patches (nullptr: none), applied one after the other, in one pass.
Jsonb *merge_patches(Jsonb *target, Jsonb *const *patches, std::size_t count);

// The bytes of all of them; nullptr counts nothing.
std::size_t total_size(Jsonb *const *values, int count);

// What does `patches` and then `patch`: one object where merge patches can say it (they
// cannot say "replace whatever is there by this object"), else an array.
Jsonb *append_patch(Jsonb *patches, Jsonb *patch);

Jsonb *empty_object();
bool is_object(Jsonb *value);

// A JSON object made piece by piece.
struct JsonObject {
  JsonbParseState *state;
};
JsonObject begin_object();
void add_member(JsonObject &object, const char *key, const char *text);  // nullptr: null
void add_member(JsonObject &object, const char *key, std::int64_t number);
void add_member(JsonObject &object, const char *key, Jsonb *value);
void add_time(JsonObject &object, const char *key, TimestampTz time);  // 0: null
// The same in UTC, whatever the session's time zone.
void add_utc_time(JsonObject &object, const char *key, TimestampTz time);
Jsonb *end_object(JsonObject &object);

}  // namespace insula
