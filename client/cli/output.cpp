#include "output.hpp"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <clocale>
#include <cstdlib>
#include <cwchar>
#include <nlohmann/json.hpp>
#include <ostream>

namespace insula::cli {

namespace {

unsigned char byte_at(std::string_view text, std::size_t at) { return static_cast<unsigned char>(text[at]); }

// The length of the character of UTF-8 that begins there; 0: none does.
std::size_t length_of_character(std::string_view text, std::size_t at) {
  const unsigned char lead = byte_at(text, at);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xc2 ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (at + length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    // Neither a longer form of another character, nor a surrogate, nor beyond the last one.
    const unsigned char least = i > 1 ? 0x80 : lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char most = i > 1 ? 0xbf : lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (byte_at(text, at + i) < least || byte_at(text, at + i) > most) return 0;
  }
  return length;
}

// U+0080 to U+009F are control characters too: U+009B begins a sequence as ESC [ does.  U+202A to U+202E and U+2066 to
// U+2069 change the order of all that comes behind them.
bool is_obeyed(std::string_view character) {
  const unsigned char first = byte_at(character, 0);
  if (character.size() == 1) return first < 32 || first == 127;
  const unsigned char last = byte_at(character, character.size() - 1);
  if (character.size() == 2) return first == 0xc2 && last < 0xa0;
  const std::string_view start = character.substr(0, 2);
  return character.size() == 3 && ((start == "\xe2\x80" && last >= 0xaa && last <= 0xae) ||
                                   (start == "\xe2\x81" && last >= 0xa6 && last <= 0xa9));
}

// JSON's escape of a character of at most three bytes.
std::string escaped(std::string_view character) {
  unsigned code = byte_at(character, 0);
  if (character.size() > 1) code &= character.size() == 2 ? 0x1f : 0x0f;
  for (std::size_t i = 1; i < character.size(); ++i) code = code << 6 | (byte_at(character, i) & 0x3f);
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) text += digits[code >> shift & 15];
  return text;
}

}  // namespace

// A terminal of one-byte characters obeys a byte from 80 to 9F alone, so that one that belongs to no character goes
// too.
std::string inert(std::string text) {
  std::string shown;
  shown.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = length_of_character(text, at);
    const std::string_view character = std::string_view(text).substr(at, std::max<std::size_t>(length, 1));
    const unsigned char first = byte_at(character, 0);
    const bool stays = first == '\n' || first == '\t' || (length > 0 ? !is_obeyed(character) : first >= 0xa0);
    if (stays)
      shown += character;
    else
      shown += '?';
    at += character.size();
  }
  return shown;
}

std::string plain(const std::string& text) {
  std::string line = inert(text);
  std::replace(line.begin(), line.end(), '\n', ' ');
  std::replace(line.begin(), line.end(), '\t', ' ');
  return line;
}

std::string plain_json(const std::string& json) {
  std::string text;
  text.reserve(json.size());
  for (std::size_t at = 0; at < json.size();) {
    const std::size_t length = length_of_character(json, at);
    if (length == 0) {
      text += "\\ufffd";
      ++at;
      continue;
    }
    const std::string_view character = std::string_view(json).substr(at, length);
    // Line breaks and tabs lie between values.
    if (character != "\n" && character != "\t" && is_obeyed(character))
      text += escaped(character);
    else
      text += character;
    at += length;
  }
  return text;
}

namespace {

// Types whose text is JSON already: boolean, int8, int2, int4, json, float4, float8, numeric, jsonb.
bool is_number(Oid type) {
  return type == 20 || type == 21 || type == 23 || type == 1700 || type == 700 || type == 701;
}

std::string json_of(const Column& column, const Cell& cell) {
  if (!cell) return "null";
  if (column.type == 16) return *cell == "t" ? "true" : "false";
  if (column.type == 114 || column.type == 3802) return plain_json(*cell);
  if (is_number(column.type) && *cell != "NaN" && cell->find("Inf") == std::string::npos) return *cell;
  return plain_json(nlohmann::json(*cell).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
}

void print_json(std::ostream& out, const Table& table) {
  out << "[";
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    out << (row ? ",\n " : "");
    for (std::size_t i = 0; i < table.columns.size(); ++i)
      out << (i ? ", " : "{") << nlohmann::json(table.columns[i].name).dump() << ": "
          << json_of(table.columns[i], table.rows[row][i]);
    out << "}";
  }
  out << "]\n";
}

void print_field(std::ostream& out, const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) {
    out << text;
    return;
  }
  out << '"';
  for (const char character : text) out << (character == '"' ? "\"\"" : std::string(1, character));
  out << '"';
}

void print_csv(std::ostream& out, const Table& table, const Terminal& terminal) {
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    if (i) out << ',';
    print_field(out, table.columns[i].name);
  }
  out << '\n';
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      if (i) out << ',';
      if (row[i]) print_field(out, terminal.is_terminal ? inert(*row[i]) : *row[i]);
    }
    out << '\n';
  }
}

bool is_status(const std::string& column) { return column == "status" || column == "level"; }

constexpr std::size_t least_width = 8;  // of a column that gives way

std::vector<std::size_t> widths_of(const Table& table) {
  std::vector<std::size_t> widths;
  for (const Column& column : table.columns) widths.push_back(width_of(column.name));
  for (const auto& row : table.rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(plain(row[i].value_or(""))));
  return widths;
}

void print_aligned(std::ostream& out, const Table& table, const Terminal& terminal) {
  std::vector<std::size_t> widths = widths_of(table);
  // Where it does not fit, the widest column gives way first.
  const auto all = [&] {
    std::size_t sum = 0;
    for (const std::size_t width : widths) sum += width + 2;
    return sum;
  };
  while (terminal.width > 0 && !widths.empty() && all() > static_cast<std::size_t>(terminal.width) + 2) {
    auto widest = std::max_element(widths.begin(), widths.end());
    if (*widest <= least_width) break;
    --*widest;
  }
  const auto put = [&](std::size_t column, const std::string& text, const std::string& shown, bool right) {
    const bool is_last = column + 1 == widths.size();
    const std::string fill(widths[column] - std::min(widths[column], width_of(text)), ' ');
    out << (right ? fill : "") << shown << (right || is_last ? "" : fill) << (is_last ? "\n" : "  ");
  };
  for (std::size_t i = 0; i < table.columns.size(); ++i) {
    const std::string name = cut(table.columns[i].name, widths[i]);
    put(i, name, terminal.colours ? bold(name) : name, is_number(table.columns[i].type));
  }
  for (const auto& row : table.rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string text = cut(plain(row[i].value_or("")), widths[i]);
      const bool colour = terminal.colours && is_status(table.columns[i].name);
      put(i, text, colour ? coloured(text) : text, is_number(table.columns[i].type));
    }
  }
}

}  // namespace

Terminal terminal() {
  Terminal terminal;
  terminal.is_terminal = isatty(STDOUT_FILENO);
  const char* no_colour = std::getenv("NO_COLOR");
  const char* kind = std::getenv("TERM");
  terminal.colours = terminal.is_terminal && !(no_colour && *no_colour) && !(kind && std::string_view(kind) == "dumb");
  winsize size = {};
  if (terminal.is_terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = size.ws_col;
    terminal.height = size.ws_row;
  }
  return terminal;
}

std::string bold(std::string_view text) { return "\033[1m" + std::string(text) + "\033[0m"; }

std::string coloured(std::string_view status) {
  constexpr std::array good = {"completed", "active", "ok", "parked", "busy"};
  constexpr std::array bad = {"failed", "error", "dead", "suspended"};
  const auto among = [&](const auto& words) { return std::find(words.begin(), words.end(), status) != words.end(); };
  const char* colour = among(good) ? "\033[32m" : among(bad) ? "\033[31m" : "\033[33m";
  return colour + std::string(status) + "\033[0m";
}

std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  std::mbstate_t state = {};
  for (std::size_t at = 0; at < text.size();) {
    wchar_t character;
    const std::size_t length = std::mbrtowc(&character, text.data() + at, text.size() - at, &state);
    if (length == 0 || length > text.size() - at) {  // no character of this locale
      state = {};
      ++width;
      ++at;
      continue;
    }
    width += static_cast<std::size_t>(std::max(0, wcwidth(character)));
    at += length;
  }
  return width;
}

std::string cut(std::string_view text, std::size_t most) {
  if (width_of(text) <= most) return std::string(text);
  while (!text.empty() && width_of(text) + 1 > most) {
    do text.remove_suffix(1);
    while (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0x80);
    if (!text.empty() && (static_cast<unsigned char>(text.back()) & 0xC0) == 0xC0) text.remove_suffix(1);
  }
  return std::string(text) + "…";
}

bool fits(const Table& table, const Terminal& terminal) {
  if (terminal.width == 0) return true;
  std::size_t sum = 0;
  for (const std::size_t width : widths_of(table)) sum += std::min(width, least_width) + 2;
  return sum <= static_cast<std::size_t>(terminal.width) + 2;
}

void print(std::ostream& out, const Table& table, Format format, const Terminal& terminal) {
  if (format == Format::json)
    print_json(out, table);
  else if (format == Format::csv)
    print_csv(out, table, terminal);
  else if (fits(table, terminal))
    print_aligned(out, table, terminal);
  else
    print_record(out, table, format, terminal);
}

void print_record(std::ostream& out, const Table& table, Format format, const Terminal& terminal) {
  if (format == Format::json) return print_json(out, table);
  if (format == Format::csv) return print_csv(out, table, terminal);
  std::size_t widest = 0;
  for (const Column& column : table.columns) widest = std::max(widest, width_of(column.name));
  for (const auto& row : table.rows) {
    if (&row != &table.rows.front()) out << '\n';
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string text = plain(row[i].value_or(""));
      const bool colour = terminal.colours && is_status(table.columns[i].name);
      out << table.columns[i].name << std::string(widest - width_of(table.columns[i].name) + 2, ' ')
          << (colour ? coloured(text) : text) << '\n';
    }
  }
}

}  // namespace insula::cli
