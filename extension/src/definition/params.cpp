// Declared parameters: the values that an execution's input must hold, and the defaults that it
// gets.
#include "context/text_size.hpp"
#include "definition/reader.hpp"
#include "errors.hpp"

extern "C" {
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
}

namespace insula {

namespace {

constexpr int max_params = 1000;
constexpr std::size_t max_defaults_size = std::size_t{1} << 20;

const char *const type_names[] = {"string", "integer", "number", "boolean", "object", "array"};

bool is_whole(const JsonbValue &value) {
  if (numeric_is_nan(value.val.numeric) || numeric_is_inf(value.val.numeric)) return false;
  const Datum number = NumericGetDatum(value.val.numeric);
  return DatumGetBool(
      DirectFunctionCall2(numeric_eq, number, DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0))));
}

bool is_of_type(const JsonbValue &value, ParamType type) {
  switch (type) {
    case ParamType::string:
      return value.type == jbvString;
    case ParamType::integer:
      return value.type == jbvNumeric && is_whole(value);
    case ParamType::number:
      return value.type == jbvNumeric;
    case ParamType::boolean:
      return value.type == jbvBool;
    case ParamType::object:
      return is_object(value);
    case ParamType::array:
      return is_array(value);
  }
  return false;
}

std::size_t size_of(const JsonbValue &value) {
  if (value.type == jbvString) return static_cast<std::size_t>(value.val.string.len);
  if (value.type == jbvBinary) return static_cast<std::size_t>(value.val.binary.len);
  return value.type == jbvNumeric ? VARSIZE(value.val.numeric) : 0;
}

bool read_type(Reader &reader, const char *path, const JsonbValue &value, Param &param) {
  for (std::size_t i = 0; i < lengthof(type_names); ++i) {
    if (value.type != jbvString || strcmp(string_of(value), type_names[i]) != 0) continue;
    param.type = static_cast<ParamType>(i);
    return true;
  }
  problem(reader, "%s: must be string, integer, number, boolean, object or array", path);
  return false;
}

void read_param(Reader &reader, const JsonbValue &name, const JsonbValue &value) {
  Param &param = reader.parsed.params[reader.parsed.param_count++];
  param = {};
  param.name = string_of(name);
  param.length = name.val.string.len;
  const char *path = psprintf("$.params.%s", param.name);
  if (!is_object(value)) return problem(reader, "%s: must be an object", path);
  bool has_type = false;
  for_each_member(value, [&](const JsonbValue &key, const JsonbValue &member) {
    const char *place = psprintf("%s.%s", path, string_of(key));
    if (key_is(key, "type"))
      has_type = read_type(reader, place, member, param) || true;
    else if (key_is(key, "required") && member.type == jbvBool)
      param.required = member.val.boolean;
    else if (key_is(key, "required"))
      problem(reader, "%s: must be true or false", place);
    else if (key_is(key, "default")) {
      param.has_default = true;
      param.default_value = copy_of(member);
    } else {
      problem(reader, "%s: unknown key", place);
    }
  });
  if (!has_type) return problem(reader, "%s.type: is missing", path);
  if (param.has_default && !is_of_type(param.default_value, param.type))
    problem(reader, "%s.default: is no %s", path, type_names[static_cast<int>(param.type)]);
}

}  // namespace

void read_params(Reader &reader, const JsonbValue &value) {
  if (!is_object(value)) return problem(reader, "$.params: must be an object");
  const int count = static_cast<int>(JsonContainerSize(value.val.binary.data));
  if (count > max_params) return problem(reader, "$.params: must have at most %d members", max_params);
  reader.parsed.params = palloc_array_of<Param>(static_cast<std::size_t>(count));
  std::size_t size = 0;
  for_each_member(value, [&](const JsonbValue &key, const JsonbValue &member) {
    read_param(reader, key, member);
    const Param &param = reader.parsed.params[reader.parsed.param_count - 1];
    if (param.has_default) size += size_of(param.default_value);
  });
  // Each execution's input stores the defaults that it lacked.
  if (size > max_defaults_size) problem(reader, "$.params: the defaults take more than 1 MB together");
}

void check_defaults(const ParsedDefinition &parsed) {
  std::size_t size = 0;
  for (int i = 0; i < parsed.param_count; ++i)
    if (parsed.params[i].has_default) size += text_size(parsed.params[i].default_value);
  if (size > max_defaults_size)
    ereport(ERROR, (errcode(INSULA_BAD_DEFINITION), errmsg("invalid workflow definition"),
                    errdetail("$.params: the defaults take more than 1 MB together as text")));
}

Jsonb *apply_params(const Definition &definition, Jsonb *input, StringInfo problems) {
  JsonbMaker missing = {};
  bool any_missing = false;
  for (int i = 0; i < definition.param_count; ++i) {
    const Param &param = definition.params[i];
    JsonbValue buffer;
    const JsonbValue *value = getKeyJsonValueFromContainer(&input->root, param.name, param.length, &buffer);
    const bool given = value && value->type != jbvNull;
    if (given && !is_of_type(*value, param.type))
      appendStringInfo(problems, "%sparameter \"%s\" must be of type %s", problems->len ? "\n" : "", param.name,
                       type_names[static_cast<int>(param.type)]);
    else if (!given && param.required && !param.has_default)
      appendStringInfo(problems, "%sparameter \"%s\" is missing", problems->len ? "\n" : "", param.name);
    if (given || !param.has_default) continue;
    if (!any_missing) push_json(missing, WJB_BEGIN_OBJECT);
    any_missing = true;
    JsonbValue key;
    key.type = jbvString;
    key.val.string.val = const_cast<char *>(param.name);
    key.val.string.len = param.length;
    JsonbValue default_value = param.default_value;
    push_json(missing, WJB_KEY, &key);
    push_json(missing, WJB_VALUE, &default_value);
  }
  if (!any_missing || problems->len > 0) return input;
  // A merge patch would drop a default's nulls, which are values.
  push_json(missing, WJB_END_OBJECT);
  Jsonb *defaults = JsonbValueToJsonb(missing.result);
  return datum_jsonb(DirectFunctionCall2(jsonb_concat, PointerGetDatum(input), PointerGetDatum(defaults)));
}

}  // namespace insula
