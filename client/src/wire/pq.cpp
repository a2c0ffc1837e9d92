// Sending a statement, reading numbers, writing array literals.
#include "wire/pq.hpp"

#include <insula/error.hpp>

#include <charconv>

namespace insula::wire {

namespace {

void append_element(std::string& out, std::string_view text) {
  out += '"';
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  out += '"';
}

template <class Values, class Append>
std::string join_array(const Values& values, Append append) {
  std::string out = "{";
  for (const auto& value : values) {
    if (out.size() > 1) out += ',';
    append(out, value);
  }
  return out + '}';
}

}  // namespace

std::int64_t Rows::integer(int row, int column) const {
  const std::string_view digits = text(row, column);
  std::int64_t value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

bool Statement::send(PGconn* conn) const {
  std::vector<const char*> values;
  std::vector<int> lengths;
  std::vector<int> formats;
  for (const Param& param : params) {
    const unsigned bit = 1U << values.size();
    values.push_back(param ? param->c_str() : nullptr);
    lengths.push_back(param ? static_cast<int>(param->size()) : 0);
    formats.push_back((binary_params & bit) != 0 ? 1 : 0);
  }
  return PQsendQueryParams(conn, sql, static_cast<int>(values.size()), nullptr, values.data(), lengths.data(),
                           formats.data(), binary ? 1 : 0) == 1;
}

void require_sendable(const Statement& statement) {
  for (std::size_t i = 0; i < statement.params.size(); ++i) {
    const Param& param = statement.params[i];
    const bool is_text = (statement.binary_params & (1U << i)) == 0;
    if (is_text && param && param->find('\0') != std::string::npos)
      throw error{errc::invalid, "a text holds a NUL character, which PostgreSQL cannot store"};
  }
}

std::string array_of(const std::vector<std::int64_t>& values) {
  return join_array(values, [](std::string& out, std::int64_t value) { out += std::to_string(value); });
}

std::string array_of(const std::vector<std::string>& values) {
  return join_array(values, [](std::string& out, const std::string& value) { append_element(out, value); });
}

}  // namespace insula::wire
