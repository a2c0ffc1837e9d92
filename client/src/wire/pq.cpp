// Sending a statement, reading numbers, writing array literals.
#include "wire/pq.hpp"

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
  values.reserve(params.size());
  for (const Param& param : params) values.push_back(param ? param->c_str() : nullptr);
  return PQsendQueryParams(conn, sql, static_cast<int>(values.size()), nullptr, values.data(), nullptr, nullptr,
                           binary ? 1 : 0) == 1;
}

std::string array_of(const std::vector<std::int64_t>& values) {
  return join_array(values, [](std::string& out, std::int64_t value) { out += std::to_string(value); });
}

std::string array_of(const std::vector<std::string>& values) {
  return join_array(values, [](std::string& out, const std::string& value) { append_element(out, value); });
}

std::string array_of(const std::vector<Param>& values) {
  return join_array(values, [](std::string& out, const Param& value) {
    if (value)
      append_element(out, *value);
    else
      out += "NULL";
  });
}

}  // namespace insula::wire
