// SQL texts hold words in braces: names of tables, numbers that C++ knows by name, and phrases that several texts have
// in common.  A text is filled in once, when its plan is made.
#pragma once

#include "postgres.hpp"

namespace insula {

struct Word {
  const char *name;  // of letters, digits, _ and dots; without its braces
  const char *text;  // nullptr: the number
  std::int64_t number = 0;
};

struct Words {
  const Word *words = nullptr;
  int count = 0;
  const Words *rest = nullptr;
};

// Replaces the words of a text; braces around anything but a name stay, and an unknown name is an error.
// A value is put in as it is, since it can be a name that a user has chosen, with braces; a phrase may
// hold words itself.
char *fill_in(const char *text, const Words &values, const Words &phrases);

}  // namespace insula
