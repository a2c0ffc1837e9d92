// Filling words into SQL texts; see words.hpp.
#include "spi/words.hpp"

namespace insula {

namespace {

bool is_of_name(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; }

// The length of the name between the braces that the text begins with; 0: there is none.
std::size_t name_length(const char *text) {
  std::size_t length = 0;
  while (is_of_name(text[1 + length])) ++length;
  return text[1 + length] == '}' ? length : 0;
}

// nullptr: the list does not have it.
const Word *find_word(const char *name, std::size_t length, const Words &list) {
  for (int i = 0; i < list.count; ++i)
    if (strncmp(list.words[i].name, name, length) == 0 && list.words[i].name[length] == '\0') return &list.words[i];
  return list.rest ? find_word(name, length, *list.rest) : nullptr;
}

void append_filled(StringInfo filled, const char *text, const Words &values, const Words &phrases) {
  check_stack_depth();
  while (*text) {
    const std::size_t length = *text == '{' ? name_length(text) : 0;
    if (length == 0) {
      appendStringInfoChar(filled, *text++);
      continue;
    }
    const Word *value = find_word(text + 1, length, values);
    const Word *word = value ? value : find_word(text + 1, length, phrases);
    if (!word) elog(ERROR, "insula: no word {%.*s} for SQL texts", static_cast<int>(length), text + 1);
    if (!word->text)
      appendStringInfo(filled, INT64_FORMAT, word->number);
    else if (value)
      appendStringInfoString(filled, word->text);
    else
      append_filled(filled, word->text, values, phrases);
    text += length + 2;
  }
}

}  // namespace

char *fill_in(const char *text, const Words &values, const Words &phrases) {
  StringInfoData filled;
  initStringInfo(&filled);
  append_filled(&filled, text, values, phrases);
  return filled.data;
}

}  // namespace insula
