#include "dashboard/json.hpp"

#include <nlohmann/json.hpp>

namespace insula::cli::dashboard {

namespace {

constexpr Oid bool_type = 16, int2_type = 21, int4_type = 23, float4_type = 700, float8_type = 701;

bool is_finite(const std::string& number) { return number.find_first_not_of("0123456789+-.eE") == std::string::npos; }

std::string json_cell(const Column& column, const Cell& cell) {
  if (!cell) return "null";
  switch (column.type) {
    case bool_type:
      return *cell == "t" ? "true" : "false";
    case int2_type:
    case int4_type:
    case float4_type:
    case float8_type:
      return is_finite(*cell) ? *cell : "null";
    default:
      return json_text(*cell);
  }
}

}  // namespace

std::string json_text(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string cut_text(std::string_view text, std::size_t most) {
  std::string valid = nlohmann::json::parse(json_text(text)).get<std::string>();
  if (valid.size() <= most) return valid;
  while (most > 0 && (static_cast<unsigned char>(valid[most]) & 0xc0) == 0x80) --most;
  valid.resize(most);
  return valid;
}

std::string json_rows(const Table& table) {
  std::vector<std::string> names;
  for (const Column& column : table.columns) names.push_back(json_text(column.name) + ":");
  std::string out = "[";
  for (std::size_t row = 0; row < table.rows.size(); ++row) {
    out += row ? ",\n{" : "{";
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (i) out += ',';
      out += names[i];
      out += json_cell(table.columns[i], table.rows[row][i]);
    }
    out += '}';
  }
  return out + "]";
}

}  // namespace insula::cli::dashboard
