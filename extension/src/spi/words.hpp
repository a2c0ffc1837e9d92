// SQL texts hold words in braces: names of tables, numbers that C++ knows by name, and phrases that several texts have
// in common.  A text is filled in once, when its plan is made.
#pragma once

#include <initializer_list>

#include "postgres.hpp"

namespace insula {

struct Word {
  const char *name;  // of letters, digits, _ and dots; without its braces
  const char *text;  // may hold words itself; nullptr: the number
  std::int64_t number = 0;
};

struct Words {
  const Word *words;
  int count;
};

// Replaces the words of a text; braces around anything but a name stay, and an unknown name is an error.
char *fill_in(const char *text, std::initializer_list<Words> words);

}  // namespace insula
