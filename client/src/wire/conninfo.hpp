// Connection strings: reading them, what the library adds to them, and writing the one a
// new tenant connects with.  Pure but for libpq's own reading of the environment and its
// service file.  No error message repeats the string, since it may hold a password.
#pragma once

#include "wire/pq.hpp"

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace insula::wire {

class ConnInfo {
 public:
  // Keywords or URI, as libpq takes it; empty: all from the environment.
  // Throws error{invalid}.
  explicit ConnInfo(std::string_view text);

  // nullptr if the string does not say.
  const std::string* find(std::string_view keyword) const;

  // Begins to connect, without waiting; see PQconnectStart.  `name` is the
  // application_name unless the string or the environment gives one.  Of several hosts, those
  // before the `first` come last; it may be any number.  It always speaks UTF-8.
  PgConn start(const std::string& name, std::size_t first = 0) const;

  // How many hosts there are to try; for tests, the options as they are given to libpq.
  std::size_t hosts() const;
  std::vector<std::pair<std::string, std::string>> options(const std::string& name, std::size_t first = 0) const;

 private:
  std::vector<std::pair<std::string, std::string>> options_;
};

// The string for another user of the server and database that `conn`, made from `admin`,
// is connected to.  Complete: nothing of this process's environment is needed to use it.
// The admin's own options (password, client certificate ...) are left out.
std::string connection_string_for(PGconn* conn, const std::string& user, const std::string& password);

// "key='value' ..." with what needs it escaped; for tests.
std::string write_conninfo(const std::vector<std::pair<std::string, std::string>>& options);

}  // namespace insula::wire
