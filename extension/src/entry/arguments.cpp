// Reads the arguments of SQL calls; see arguments.hpp.
#include "entry/arguments.hpp"

#include "context/text_size.hpp"
#include "shared/shared.hpp"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace insula {

void require_writable(const char *call) {
  PreventCommandDuringRecovery(call);
  PreventCommandIfReadOnly(call);
}

void require_not_null(FunctionCallInfo fcinfo, int argument, const char *name) {
  if (PG_ARGISNULL(argument))
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not be null", name)));
}

const char *text_argument(FunctionCallInfo fcinfo, int argument) {
  return PG_ARGISNULL(argument) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

const char *required_text(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  return text_argument(fcinfo, argument);
}

const char *message_argument(FunctionCallInfo fcinfo, int argument) {
  if (PG_ARGISNULL(argument)) return nullptr;
  text *message = PG_GETARG_TEXT_PP(argument);
  const char *data = VARDATA_ANY(message);
  const int length = static_cast<int>(VARSIZE_ANY_EXHDR(message));
  return pnstrdup(data, static_cast<Size>(pg_mbcliplen(data, length, max_message)));
}

void check_idempotency_key(const char *key) {
  if (key && (key[0] == '\0' || strlen(key) > 255))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("an idempotency key must have 1 to 255 bytes")));
}

const char *idempotency_key_argument(FunctionCallInfo fcinfo, int argument) {
  const char *key = text_argument(fcinfo, argument);
  check_idempotency_key(key);
  return key;
}

const char *required_worker(FunctionCallInfo fcinfo, int argument) {
  const char *worker = required_text(fcinfo, argument, "worker");
  check_worker_name(worker);
  return worker;
}

void refuse_name(const char *message) {
  ereport(ERROR,
          (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message),
           errdetail("A name has 1 to 63 characters of A-Z, a-z, 0-9, _ and -, and starts with a letter or _.")));
  pg_unreachable();
}

std::int32_t required_int32(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  return PG_GETARG_INT32(argument);
}

std::int64_t required_int64(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  return PG_GETARG_INT64(argument);
}

bool required_bool(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  return PG_GETARG_BOOL(argument);
}

Jsonb *object_argument(FunctionCallInfo fcinfo, int argument, const char *name) {
  if (PG_ARGISNULL(argument)) return nullptr;
  Jsonb *value = PG_GETARG_JSONB_P(argument);
  if (!JB_ROOT_IS_OBJECT(value))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be a JSON object", name)));
  return value;
}

static int max_context = 4096;

void define_argument_settings() {
  DefineCustomIntVariable("insula.max_context", "The largest context of an execution or patch of a task.",
                          "It bounds the size as jsonb, and that as text.", &max_context, 4096, 1, 65536, PGC_SIGHUP,
                          GUC_UNIT_KB, nullptr, nullptr, nullptr);
}

enum class ContextSize { fits, too_large, too_long_as_text };

static ContextSize size_of_context(Jsonb *context) {
  const std::size_t most = static_cast<std::size_t>(max_context) * 1024;
  if (VARSIZE(context) > most) return ContextSize::too_large;
  return text_size(context) > most ? ContextSize::too_long_as_text : ContextSize::fits;
}

// Contexts are merged level by level, in recursion, so their depth must fit any process's stack.
constexpr int max_depth = 1000;

static bool is_too_deep(Jsonb *context) {
  // A level takes eight bytes at least.
  if (VARSIZE(context) < max_depth * 8) return false;
  JsonbIterator *iterator = JsonbIteratorInit(&context->root);
  JsonbValue value;
  int depth = 0;
  for (;;) {
    switch (JsonbIteratorNext(&iterator, &value, false)) {
      case WJB_BEGIN_OBJECT:
      case WJB_BEGIN_ARRAY:
        if (++depth > max_depth) return true;
        break;
      case WJB_END_OBJECT:
      case WJB_END_ARRAY:
        --depth;
        break;
      case WJB_DONE:
        return false;
      default:
        break;
    }
  }
}

const char *context_problem(Jsonb *context) {
  if (!JB_ROOT_IS_OBJECT(context)) return "context must be a JSON object";
  if (is_too_deep(context)) return "context is nested too deeply";
  switch (size_of_context(context)) {
    case ContextSize::too_large:
      return "context is larger than insula.max_context";
    case ContextSize::too_long_as_text:
      return "context is larger than insula.max_context as text";
    default:
      return nullptr;
  }
}

int context_problem_state(Jsonb *context) {
  return JB_ROOT_IS_OBJECT(context) ? ERRCODE_PROGRAM_LIMIT_EXCEEDED : ERRCODE_INVALID_PARAMETER_VALUE;
}

void check_json(Jsonb *json, const char *name) {
  if (is_too_deep(json))
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s is nested too deeply", name),
                    errdetail("It may have %d levels.", max_depth)));
  const ContextSize size = size_of_context(json);
  if (size == ContextSize::too_large)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s is too large", name),
                    errdetail("It takes %zu bytes, more than insula.max_context = %d kB allows.",
                              std::size_t{VARSIZE(json)}, max_context)));
  if (size == ContextSize::too_long_as_text)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("%s is too large", name),
                    errdetail("Its text takes %zu bytes, more than insula.max_context = %d kB allows.", text_size(json),
                              max_context)));
}

void check_context(Jsonb *context, const char *name) {
  if (!JB_ROOT_IS_OBJECT(context))
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be a JSON object", name)));
  check_json(context, name);
}

Jsonb *context_argument(FunctionCallInfo fcinfo, int argument) {
  if (PG_ARGISNULL(argument)) return nullptr;
  Jsonb *context = PG_GETARG_JSONB_P(argument);
  check_context(context, "context");
  return context;
}

std::int64_t required_duration(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  const Interval *interval = PG_GETARG_INTERVAL_P(argument);
  constexpr std::int64_t limit = std::int64_t{36500} * USECS_PER_DAY;
  const std::int64_t days = std::int64_t{interval->month} * DAYS_PER_MONTH + interval->day;
  std::int64_t length;
  if (days < -36500 || days > 36500 || interval->time > limit || interval->time < -limit ||
      (length = days * USECS_PER_DAY + interval->time) < 0)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must be between 0 and 100 years", name)));
  return length;
}

std::int64_t required_lease(FunctionCallInfo fcinfo, int argument) {
  const std::int64_t length = required_duration(fcinfo, argument, "lease_for");
  if (length < USECS_PER_SEC || length > USECS_PER_DAY)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("lease_for must be between 1 second and 1 day")));
  return length;
}

TimestampTz required_time(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  const TimestampTz time = PG_GETARG_TIMESTAMPTZ(argument);
  if (TIMESTAMP_NOT_FINITE(time))
    ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE), errmsg("%s must be finite", name)));
  return time;
}

static ArrayType *plain_array(FunctionCallInfo fcinfo, int argument, const char *name) {
  ArrayType *array = PG_GETARG_ARRAYTYPE_P(argument);
  if (ARR_NDIM(array) > 1)
    ereport(ERROR, (errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR), errmsg("%s must be one-dimensional", name)));
  return array;
}

static void refuse_null_element(const char *name) {
  ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("%s must not contain nulls", name)));
}

Int64Array required_int64_array(FunctionCallInfo fcinfo, int argument, const char *name) {
  require_not_null(fcinfo, argument, name);
  ArrayType *array = plain_array(fcinfo, argument, name);
  if (array_contains_nulls(array)) refuse_null_element(name);
  return {reinterpret_cast<const std::int64_t *>(ARR_DATA_PTR(array)),
          ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array))};
}

void require_same_length(int a, int b, const char *names) {
  if (a != b) ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s must have the same length", names)));
}

static Datum *elements_of(ArrayType *array, Oid type, bool **nulls, int *count) {
  Datum *elements;
  deconstruct_array(array, type, -1, false, TYPALIGN_INT, &elements, nulls, count);
  return elements;
}

const char **text_array_argument(FunctionCallInfo fcinfo, int argument, const char *name, bool nullable, int *count) {
  *count = -1;
  if (PG_ARGISNULL(argument)) return nullptr;
  bool *nulls;
  const Datum *elements = elements_of(plain_array(fcinfo, argument, name), TEXTOID, &nulls, count);
  auto **texts = palloc_array_of<const char *>(static_cast<std::size_t>(*count));
  for (int i = 0; i < *count; ++i) {
    if (nulls[i] && !nullable) refuse_null_element(name);
    texts[i] = nulls[i] ? nullptr : TextDatumGetCString(elements[i]);
  }
  return texts;
}

Jsonb **jsonb_array_argument(FunctionCallInfo fcinfo, int argument, const char *name, int *count) {
  *count = -1;
  if (PG_ARGISNULL(argument)) return nullptr;
  bool *nulls;
  const Datum *elements = elements_of(plain_array(fcinfo, argument, name), JSONBOID, &nulls, count);
  auto **values = palloc_array_of<Jsonb *>(static_cast<std::size_t>(*count));
  for (int i = 0; i < *count; ++i) values[i] = nulls[i] ? nullptr : datum_jsonb(elements[i]);
  return values;
}

}  // namespace insula
