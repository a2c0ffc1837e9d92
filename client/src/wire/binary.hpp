// PostgreSQL's binary format.  Read: numbers, and an array of records, which in the text format
// would be quoted and escaped twice over.  Whatever the bytes, nothing is read outside of them:
// what they do not hold reads as nothing, and the reader says so.  Written: arrays with NULLs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace insula::wire {

class BinaryReader {
 public:
  explicit BinaryReader(std::string_view bytes) : rest_(bytes) {}

  bool ok() const noexcept { return ok_; }
  std::int32_t int32();
  std::string_view bytes(std::int32_t size);

 private:
  std::string_view rest_;
  bool ok_ = true;
};

// Reads int2, int4, int8, boolean and timestamptz (microseconds).
std::int64_t binary_integer(std::string_view value);

// A field of a record; nullopt: NULL.
using BinaryField = std::optional<std::string_view>;
using BinaryRecord = std::vector<BinaryField>;

// The elements of an array of records; nullopt: these bytes are none.
std::optional<std::vector<BinaryRecord>> read_records(std::string_view array);

// An array of one dimension, of text or JSON; nullopt: NULL.
std::string binary_texts(const std::vector<std::optional<std::string>>& elements);
// Whether all that such an array's elements hold is ASCII.
bool has_ascii_elements(std::string_view array);
std::string binary_jsons(const std::vector<std::optional<std::string>>& elements);

}  // namespace insula::wire
