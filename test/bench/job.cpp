// The jobs themselves; see queue.hpp.
#include "queue.hpp"

#include <fmt/format.h>

#include <random>

namespace bench {

namespace {

constexpr std::size_t job_size = 200;

}  // namespace

std::string job(long n) {
  static std::minstd_rand random;
  std::string text = fmt::format(R"({{"n": {}, "payload": ")", n);
  while (text.size() < job_size - 2) text += "0123456789abcdef"[random() >> 8U & 15U];
  return text + "\"}";
}

std::string jobs_array(long first, int count) {
  std::string text = "{";
  for (int i = 0; i < count; ++i) {
    text += i ? ",\"" : "\"";
    for (const char c : job(first + i)) {
      if (c == '"') text += '\\';
      text += c;
    }
    text += '"';
  }
  return text + "}";
}

}  // namespace bench
