// The formats are those of array_send, array_recv and record_send in the server.
#include "wire/binary.hpp"

#include <algorithm>

namespace insula::wire {

std::string_view BinaryReader::bytes(std::int32_t size) {
  if (size < 0 || static_cast<std::size_t>(size) > rest_.size()) {
    ok_ = false;
    rest_ = {};
    return {};
  }
  const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(size));
  rest_.remove_prefix(taken.size());
  return taken;
}

std::int32_t BinaryReader::int32() { return static_cast<std::int32_t>(binary_integer(bytes(4))); }

std::int64_t binary_integer(std::string_view value) {
  if (value.empty()) return 0;
  // The first byte has the sign.
  std::uint64_t bits = static_cast<std::uint64_t>(static_cast<std::int64_t>(static_cast<signed char>(value[0])));
  for (const char c : value.substr(1)) bits = bits << 8U | static_cast<unsigned char>(c);
  return static_cast<std::int64_t>(bits);
}

namespace {

BinaryRecord read_record(std::string_view bytes, bool* ok) {
  BinaryReader reader{bytes};
  BinaryRecord record;
  record.reserve(16);
  for (std::int32_t left = reader.int32(); left > 0 && reader.ok(); --left) {
    (void)reader.int32();  // the type's Oid
    const std::int32_t size = reader.int32();
    record.push_back(size < 0 ? BinaryField{} : BinaryField{reader.bytes(size)});
  }
  *ok = *ok && reader.ok();
  return record;
}

// The types' Oids, which never change.
constexpr std::int32_t text_type = 25;
constexpr std::int32_t jsonb_type = 3802;

void append_int32(std::string& out, std::int32_t value) {
  const auto bits = static_cast<std::uint32_t>(value);
  for (const unsigned shift : {24U, 16U, 8U, 0U}) out += static_cast<char>(bits >> shift & 0xFFU);
}

// `head` comes first in each element.
std::string write_array(std::int32_t type, std::string_view head,
                        const std::vector<std::optional<std::string>>& elements) {
  std::string out;
  append_int32(out, elements.empty() ? 0 : 1);  // dimensions
  append_int32(out, 1);                         // there may be NULLs
  append_int32(out, type);
  if (elements.empty()) return out;
  append_int32(out, static_cast<std::int32_t>(elements.size()));
  append_int32(out, 1);  // the first subscript
  for (const auto& element : elements) {
    append_int32(out, element ? static_cast<std::int32_t>(head.size() + element->size()) : -1);
    if (element) out.append(head).append(*element);
  }
  return out;
}

}  // namespace

std::string binary_texts(const std::vector<std::optional<std::string>>& elements) {
  return write_array(text_type, "", elements);
}

// Each with the version of jsonb's format.
std::string binary_jsons(const std::vector<std::optional<std::string>>& elements) {
  return write_array(jsonb_type, "\1", elements);
}

bool has_ascii_elements(std::string_view array) {
  BinaryReader reader{array};
  const std::int32_t dimensions = reader.int32();
  (void)reader.int32();  // whether there are NULLs
  (void)reader.int32();  // the elements' type
  const std::int32_t count = dimensions == 1 ? reader.int32() : 0;
  if (dimensions == 1) (void)reader.int32();  // the first subscript
  const auto is_ascii = [](char c) { return static_cast<unsigned char>(c) < 0x80; };
  for (std::int32_t i = 0; i < count && reader.ok(); ++i) {
    const std::int32_t size = reader.int32();
    const std::string_view bytes = size > 0 ? reader.bytes(size) : std::string_view{};
    if (!std::all_of(bytes.begin(), bytes.end(), is_ascii)) return false;
  }
  return true;
}

std::optional<std::vector<BinaryRecord>> read_records(std::string_view array) {
  BinaryReader reader{array};
  const std::int32_t dimensions = reader.int32();
  (void)reader.int32();  // whether there are NULLs
  (void)reader.int32();  // the elements' type
  std::vector<BinaryRecord> records;
  bool ok = dimensions == 0 || dimensions == 1;
  if (dimensions == 1) {
    const std::int32_t count = reader.int32();
    (void)reader.int32();  // the first subscript
    for (std::int32_t i = 0; i < count && ok; ++i) {
      records.push_back(read_record(reader.bytes(reader.int32()), &ok));
      ok = ok && reader.ok();
    }
  }
  if (!ok || !reader.ok()) return std::nullopt;
  return records;
}

}  // namespace insula::wire
