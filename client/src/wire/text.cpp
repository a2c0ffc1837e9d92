// Looking at bytes as UTF-8.
#include "wire/text.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace insula::wire {

namespace {

// How long the character is that begins there; 0: no UTF-8 that the server takes.
std::size_t length_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned lead = byte(at);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xC2 ? 0
                             : lead < 0xE0 ? 2
                             : lead < 0xF0 ? 3
                             : lead < 0xF5 ? 4
                                           : 0;
  bool good = length > 0 && lead != 0;
  for (std::size_t k = 1; k < length; ++k) good = good && (byte(at + k) & 0xC0U) == 0x80U;
  // Overlong forms, surrogates, and what lies beyond Unicode.
  if (length == 3) good = good && !(lead == 0xE0 && byte(at + 1) < 0xA0) && !(lead == 0xED && byte(at + 1) > 0x9F);
  if (length == 4) good = good && !(lead == 0xF0 && byte(at + 1) < 0x90) && !(lead == 0xF4 && byte(at + 1) > 0x8F);
  return good ? length : 0;
}

char32_t decode(std::string_view character) {
  const auto lead = static_cast<unsigned char>(character[0]);
  if (character.size() == 1) return lead;
  char32_t code = lead & (0x7FU >> character.size());
  for (const char c : character.substr(1)) code = code << 6U | (static_cast<unsigned char>(c) & 0x3FU);
  return code;
}

}  // namespace

std::string storable(std::string text) {
  constexpr std::size_t limit = 8'192;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = length_at(text, i);
    if (length == 0) text[i] = '?';
    const std::size_t next = i + std::max<std::size_t>(length, 1);
    if (next > limit) {
      text.resize(i);
      break;
    }
    i = next;
  }
  return text;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view character = text.substr(i, std::max<std::size_t>(length_at(text, i), 1));
    i += character.size();
    if (is_ascii(character))
      out += character;
    else if (const auto code = static_cast<std::uint32_t>(decode(character)); code <= 0xFFFF)
      out += fmt::format("\\u{:04x}", code);
    else
      out += fmt::format("\\U{:08x}", code);
  }
  return out;
}

bool is_ascii(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

std::string plain(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c <= ' ' || c > '~'; }, '_');
  return text;
}

}  // namespace insula::wire
