// Reads the arguments of SQL calls.  A NULL that has no meaning raises 22004; any other bad value
// raises 22023, or the SQLSTATE that PostgreSQL has for it.
#pragma once

#include "postgres.hpp"

namespace insula {

// Refuses a call that may write, 25006, in a read-only transaction and in recovery, whether or not
// this call would have written.
void require_writable(const char *call);

void require_not_null(FunctionCallInfo fcinfo, int argument, const char *name);

// nullptr where NULL.
const char *text_argument(FunctionCallInfo fcinfo, int argument);
const char *required_text(FunctionCallInfo fcinfo, int argument, const char *name);
// A text for people, an error or a reason: clipped at max_message bytes.
const char *message_argument(FunctionCallInfo fcinfo, int argument);
inline constexpr int max_message = 65536;
// nullptr where NULL.
const char *idempotency_key_argument(FunctionCallInfo fcinfo, int argument);
void check_idempotency_key(const char *key);
const char *required_worker(FunctionCallInfo fcinfo, int argument);
// Raises 22023 with this message, and says what a name looks like.
[[noreturn]] void refuse_name(const char *message);
std::int32_t required_int32(FunctionCallInfo fcinfo, int argument, const char *name);
std::int64_t required_int64(FunctionCallInfo fcinfo, int argument, const char *name);
bool required_bool(FunctionCallInfo fcinfo, int argument, const char *name);

// A JSON object; nullptr where NULL.
Jsonb *object_argument(FunctionCallInfo fcinfo, int argument, const char *name);

// Says why a context cannot be stored; nullptr: it can.  It must be an object no larger than
// insula.max_context, as jsonb and as text, of a thousand levels at most.
const char *context_problem(Jsonb *context);
// The SQLSTATE of that problem.
int context_problem_state(Jsonb *context);
// Raises the problem; NULL passes.
Jsonb *context_argument(FunctionCallInfo fcinfo, int argument);
void check_context(Jsonb *context, const char *name);
// Any JSON no larger and no deeper than a context may be.
void check_json(Jsonb *json, const char *name);
void define_argument_settings();

// A duration in microseconds; a month counts 30 days.
std::int64_t required_duration(FunctionCallInfo fcinfo, int argument, const char *name);
// A lease: 1 s to 1 day.
std::int64_t required_lease(FunctionCallInfo fcinfo, int argument);
TimestampTz required_time(FunctionCallInfo fcinfo, int argument, const char *name);

struct Int64Array {
  const std::int64_t *values;
  int count;
};
// One-dimensional, without NULLs.
Int64Array required_int64_array(FunctionCallInfo fcinfo, int argument, const char *name);

void require_same_length(int a, int b, const char *names);

// One-dimensional; elements may be NULL (nullptr) if `nullable`.  *count is -1 where the
// argument itself is NULL.
const char **text_array_argument(FunctionCallInfo fcinfo, int argument, const char *name, bool nullable, int *count);
Jsonb **jsonb_array_argument(FunctionCallInfo fcinfo, int argument, const char *name, int *count);

}  // namespace insula
