// The size of JSON as text; see text_size.hpp.
#include "context/text_size.hpp"

#include <algorithm>

namespace insula {

namespace {

// The characters of a number, as numeric_out writes them, or up to three more.  A Numeric is a header with its sign
// and form, the number of digits after the point and the place of the first digit, to the base of ten thousand; see
// PostgreSQL's numeric.c.
std::size_t digits_of(Numeric number) {
  constexpr std::uint16_t forms = 0xC000;
  constexpr std::uint16_t negative = 0x4000;
  constexpr std::uint16_t short_form = 0x8000;
  std::uint16_t header[2];
  memcpy(header, VARDATA_ANY(number), sizeof(header[0]));
  bool has_sign;
  int after_point;
  int first;
  if ((header[0] & forms) == forms) return 0;
  if (header[0] & short_form) {
    has_sign = header[0] & 0x2000;
    after_point = (header[0] & 0x1F80) >> 7;
    first = (header[0] & 0x003F) - (header[0] & 0x0040);
  } else {
    memcpy(header, VARDATA_ANY(number), sizeof(header));
    has_sign = (header[0] & forms) == negative;
    after_point = header[0] & 0x3FFF;
    first = static_cast<std::int16_t>(header[1]);
  }
  const int before_point = std::max(4 * (first + 1), 1);
  return static_cast<std::size_t>(before_point + (after_point ? 1 + after_point : 0) + (has_sign ? 1 : 0));
}

// As text, a control character without an escape of its own takes six bytes.
bool is_escaped_by_number(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 && byte != '\b' && byte != '\f' && byte != '\n' && byte != '\r' && byte != '\t';
}

// The bytes that a value takes as text beyond those that it takes as jsonb, its entry of four bytes with them.
std::size_t excess(const JsonbValue &value) {
  if (value.type == jbvString) {
    const char *text = value.val.string.val;
    return 5 * static_cast<std::size_t>(std::count_if(text, text + value.val.string.len, is_escaped_by_number));
  }
  if (value.type != jbvNumeric) return 0;
  const std::size_t digits = digits_of(value.val.numeric);
  return digits - std::min(digits, VARSIZE_ANY(value.val.numeric) + sizeof(JEntry));
}

std::size_t excess(JsonbContainer *container) {
  std::size_t size = 0;
  JsonbIterator *iterator = JsonbIteratorInit(container);
  JsonbValue value;
  for (JsonbIteratorToken token; (token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE;) {
    if (token != WJB_KEY && token != WJB_VALUE && token != WJB_ELEM) continue;
    CHECK_FOR_INTERRUPTS();
    size += excess(value);
  }
  return size;
}

}  // namespace

std::size_t text_size(Jsonb *json) { return VARSIZE(json) + excess(&json->root); }

std::size_t text_size(const JsonbValue &value) {
  switch (value.type) {
    case jbvString:
      return static_cast<std::size_t>(value.val.string.len) + excess(value);
    case jbvNumeric:
      return VARSIZE_ANY(value.val.numeric) + excess(value);
    case jbvBinary:
      return static_cast<std::size_t>(value.val.binary.len) + excess(value.val.binary.data);
    default:
      return 0;
  }
}

bool is_too_long_as_text(Jsonb *json) { return text_size(json) > max_text_size; }

}  // namespace insula
