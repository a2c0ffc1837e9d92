// Reading the arguments of SQL calls: NULL where none is meant is 22004, anything else
// that cannot be is 22023 or the SQLSTATE that PostgreSQL has for it.
#pragma once

#include "postgres.hpp"

namespace insula {

// A call that may write is refused, 25006, where nothing can be written, be there something to write or not.
void require_writable(const char *call);

void require_not_null(FunctionCallInfo fcinfo, int argument, const char *name);

// nullptr where NULL.
const char *text_argument(FunctionCallInfo fcinfo, int argument);
const char *required_text(FunctionCallInfo fcinfo, int argument, const char *name);
// What a person will read, an error or a reason: clipped at max_message bytes.
const char *message_argument(FunctionCallInfo fcinfo, int argument);
inline constexpr int max_message = 65536;
std::int32_t required_int32(FunctionCallInfo fcinfo, int argument, const char *name);
std::int64_t required_int64(FunctionCallInfo fcinfo, int argument, const char *name);
bool required_bool(FunctionCallInfo fcinfo, int argument, const char *name);

// A JSON object; nullptr where NULL.
Jsonb *object_argument(FunctionCallInfo fcinfo, int argument, const char *name);

// What is wrong with a context; nullptr: nothing.  It must be an object no larger than
// insula.max_context, of a thousand levels at most.
const char *context_problem(Jsonb *context);
// The SQLSTATE for that.
int context_problem_state(Jsonb *context);
// The same, raised; NULL passes.
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

// One-dimensional; elements may be NULL (nullptr) if `nullable`.  *count is -1 where the
// argument itself is NULL.
const char **text_array_argument(FunctionCallInfo fcinfo, int argument, const char *name, bool nullable, int *count);
Jsonb **jsonb_array_argument(FunctionCallInfo fcinfo, int argument, const char *name, int *count);

}  // namespace insula
