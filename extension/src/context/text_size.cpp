// The size of JSON as text; see text_size.hpp.
#include "context/text_size.hpp"

namespace insula {

// A smaller jsonb cannot be too long: the longest number has 147,456 digits and takes ten bytes at
// least.
constexpr std::size_t always_short = max_text_size / 147456 * 10;

// A numeric in its short form has some hundred digits at most, and is not counted.
static std::size_t digits_of(Numeric number) {
  std::uint16_t header;
  memcpy(&header, VARDATA_ANY(number), sizeof(header));
  constexpr std::uint16_t short_form = 0x8000;
  if (header & short_form) return 0;
  char *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(number)));
  const std::size_t digits = strlen(text);
  pfree(text);
  return digits;
}

bool is_too_long_as_text(Jsonb *json) {
  if (VARSIZE(json) < always_short) return false;
  std::size_t size = VARSIZE(json);
  JsonbIterator *iterator = JsonbIteratorInit(&json->root);
  JsonbValue value;
  for (JsonbIteratorToken token; (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE;) {
    if ((token != WJB_VALUE && token != WJB_ELEM) || value.type != jbvNumeric) continue;
    CHECK_FOR_INTERRUPTS();
    size += digits_of(value.val.numeric);
    if (size > max_text_size) return true;
  }
  return false;
}

}  // namespace insula
