// Membership of values in a context's arrays, for many questions about the same context: an array that is asked
// for a second time is indexed.  What the questions cost is counted, since a definition can hold ten thousand of
// them, and a context a million elements: without the counts there is no bound to their product.  What a rule is
// charged does not depend on the rules before it, nor on the indexes that they have left.
#pragma once

#include "postgres.hpp"

namespace insula {

// The indexes live in `memory`, as long as the context that they are of.
struct ElementIndex;
struct ContextQuestions {
  std::size_t left;  // bytes that may still be looked at; 0: the answers mean nothing
  MemoryContext memory;
  ElementIndex *indexes = nullptr;

  bool exhausted() const { return left == 0; }
  // False: that is too much.
  bool spend(std::size_t bytes) {
    left -= left < bytes ? left : bytes;
    return left > 0;
  }
};

// A rule begins to ask.
void begin_questions(ContextQuestions &questions, std::size_t most, MemoryContext memory);
bool has_element(JsonbContainer *array, const JsonbValue &value, ContextQuestions &questions);

}  // namespace insula
