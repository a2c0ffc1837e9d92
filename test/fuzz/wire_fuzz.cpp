// Any bytes as what comes over the wire: rows of text for each reader of replies, and a
// connection string. Nothing is thrown but insula::error; no refusal of a connection string
// quotes a password; one that is taken is the same after it was written and read again.
//
// An input's first letter chooses; cells end at a tab, rows at a newline, but for an array of
// records in the binary format, which is all of the input.
#include "wire/admin_calls.hpp"
#include "wire/calls.hpp"
#include "wire/conninfo.hpp"
#include "wire/errors.hpp"
#include "wire/version.hpp"

#include <insula/error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using namespace insula::wire;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::string_view take(std::string_view* rest, char end) {
  const std::size_t size = std::min(rest->find(end), rest->size());
  const std::string_view taken = rest->substr(0, size);
  rest->remove_prefix(std::min(size + 1, rest->size()));
  return taken;
}

constexpr int columns = 16;  // more than any reader looks at

PGresult* empty_rows() {
  PGresult* result = PQmakeEmptyPGresult(nullptr, PGRES_TUPLES_OK);
  static char name[] = "column";
  PGresAttDesc attributes[columns] = {};
  for (PGresAttDesc& attribute : attributes) attribute.name = name;
  PQsetResultAttrs(result, columns, attributes);
  return result;
}

void read_binary(std::string_view input) {
  PGresult* result = empty_rows();
  for (int column = 0; column < 4; ++column) {
    std::string cell{column == 0 ? input : std::string_view{"\0\0\0\0\0\0\0\1", 8}};
    PQsetvalue(result, 0, column, cell.data(), static_cast<int>(cell.size()));
  }
  const Claims claims = read_claims(Rows{result});
  for (const Claimed& task : claims.tasks) require(task.context.size() + task.item.size() <= input.size());
}

// A cell \N is NULL, as those are that are not there.
Rows rows_of(std::string_view input) {
  PGresult* result = empty_rows();
  for (int row = 0; !input.empty(); ++row) {
    std::string_view line = take(&input, '\n');
    for (int column = 0; column < columns; ++column) {
      const bool is_null = line.empty() || line.substr(0, 2) == "\\N";
      std::string cell{take(&line, '\t')};
      PQsetvalue(result, row, column, is_null ? nullptr : cell.data(), is_null ? -1 : static_cast<int>(cell.size()));
    }
  }
  return Rows{result};
}

void read_rows(char choice, const Rows& rows) {
  switch (choice) {
    case 'b':
      require(read_results(rows).size() == static_cast<std::size_t>(rows.size()));
      break;
    case 'c':
      (void)read_not_completed(rows, 3);
      break;
    case 'd':
      (void)read_times(rows);
      break;
    case 'e':
      (void)read_stops(rows);
      break;
    case 'f':
      (void)read_explanations(rows);
      break;
    case 'g':
      (void)read_tenants(rows);
      break;
    case 'h':
      (void)read_activity(rows);
      break;
    case 'i':
      (void)read_capacity(rows);
      break;
    case 'j':
      (void)read_actions(rows);
      break;
    case 'k':
      (void)read_findings(rows);
      break;
    case 'l':
      (void)read_status(rows);
      break;
    case 'm':
      (void)check_version(rows);
      (void)idle_limit(rows);
      break;
    default:
      (void)read_accepted(rows);
      break;
  }
}

void read_conninfo(std::string_view text) {
  const ConnInfo conninfo{text};
  const auto options = conninfo.options("fuzz", 1);
  const ConnInfo again{write_conninfo(options)};
  for (const auto& [keyword, value] : options) {
    const std::string* found = again.find(keyword);
    require(found && *found == value);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const char choice = static_cast<char>(data[0]);
  try {
    if (choice == 'C')
      read_conninfo(input);
    else if (choice == 'a')
      read_binary(input);
    else if (choice == 'R')
      (void)parse_refusal(input);
    else
      read_rows(choice, rows_of(input));
  } catch (const insula::error&) {
  }
  // Passwords: what is refused is not quoted.
  try {
    ConnInfo{"password=s3cr3t " + std::string{input}};
  } catch (const insula::error& e) {
    require(std::string_view{e.what()}.find("s3cr3t") == std::string_view::npos);
  }
  return 0;
}
