// Connection strings.
#include "wire/conninfo.hpp"

#include <insula/error.hpp>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace insula::wire {

namespace {

struct OptionsDeleter {
  void operator()(PQconninfoOption* p) const noexcept { PQconninfoFree(p); }
};
using Options = std::unique_ptr<PQconninfoOption, OptionsDeleter>;

// The options that the tenant's connection takes over from the admin's: the server's address
// and how to talk to it.
constexpr std::array<std::string_view, 22> shared_options{"host",
                                                          "hostaddr",
                                                          "port",
                                                          "dbname",
                                                          "sslmode",
                                                          "sslrootcert",
                                                          "sslcrl",
                                                          "sslcrldir",
                                                          "sslsni",
                                                          "sslcompression",
                                                          "channel_binding",
                                                          "ssl_min_protocol_version",
                                                          "ssl_max_protocol_version",
                                                          "gssencmode",
                                                          "connect_timeout",
                                                          "keepalives",
                                                          "keepalives_idle",
                                                          "keepalives_interval",
                                                          "keepalives_count",
                                                          "tcp_user_timeout",
                                                          "target_session_attrs",
                                                          "requirepeer"};

// libpq's message about a string that it cannot read may quote any part of it.
bool may_hold_secret(std::string_view text) {
  std::string lower{text};
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c); });
  return lower.find("pass") != std::string::npos || lower.find("://") != std::string::npos;
}

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts{""};
  for (char c : list) {
    if (c == ',')
      parts.emplace_back();
    else
      parts.back() += c;
  }
  return parts;
}

// A list of `count` with the one at `first` in front; one that is for all stays.
std::string rotated(const std::string& list, std::size_t count, std::size_t first) {
  std::vector<std::string> parts = split(list);
  if (parts.size() != count) return list;
  std::rotate(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(first), parts.end());
  std::string joined;
  for (const std::string& part : parts) joined += (&part == &parts.front() ? "" : ",") + part;
  return joined;
}

}  // namespace

ConnInfo::ConnInfo(std::string_view text) {
  char* problem = nullptr;
  const std::string copy{text};
  const Options options{PQconninfoParse(copy.c_str(), &problem)};
  const std::unique_ptr<char, void (*)(void*)> owned{problem, PQfreemem};
  if (!options || text.find('\0') != std::string_view::npos) {
    std::string message = "the connection string cannot be read";
    if (problem && !may_hold_secret(text)) message += ": " + std::string{problem};
    while (message.back() == '\n') message.pop_back();
    throw error{errc::invalid, std::move(message)};
  }
  for (const PQconninfoOption* option = options.get(); option->keyword; ++option)
    if (option->val) options_.emplace_back(option->keyword, option->val);
}

const std::string* ConnInfo::find(std::string_view keyword) const {
  const auto it = std::find_if(options_.begin(), options_.end(), [&](const auto& o) { return o.first == keyword; });
  return it == options_.end() ? nullptr : &it->second;
}

std::size_t ConnInfo::hosts() const {
  std::size_t most = 1;
  for (const char* keyword : {"host", "hostaddr"})
    if (const std::string* list = find(keyword)) most = std::max(most, split(*list).size());
  return most;
}

std::vector<std::pair<std::string, std::string>> ConnInfo::options(const std::string& name, std::size_t first) const {
  auto options = options_;
  const std::size_t count = hosts();
  for (auto& [keyword, value] : options)
    if (count > 1 && (keyword == "host" || keyword == "hostaddr" || keyword == "port"))
      value = rotated(value, count, first % count);
  // Our texts are UTF-8, whatever the string says.
  std::erase_if(options, [](const auto& option) { return option.first == "client_encoding"; });
  options.emplace_back("client_encoding", "UTF8");
  const auto add = [&](const char* keyword, const std::string& value) {
    if (!find(keyword)) options.emplace_back(keyword, value);
  };
  add("fallback_application_name", name);
  // So that a peer that vanished is noticed in a minute, not in two hours.
  add("keepalives_idle", "30");
  add("keepalives_interval", "10");
  add("keepalives_count", "3");
  add("tcp_user_timeout", "60000");
  // Among a primary and its standbys, choose the one that can be written to.
  if (count > 1 && !std::getenv("PGTARGETSESSIONATTRS")) add("target_session_attrs", "read-write");
  return options;
}

PgConn ConnInfo::start(const std::string& name, std::size_t first) const {
  const auto all = options(name, first);
  std::vector<const char*> keywords;
  std::vector<const char*> values;
  for (const auto& [keyword, value] : all) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  PgConn conn{PQconnectStartParams(keywords.data(), values.data(), 0)};
  if (!conn) throw std::bad_alloc{};
  PQsetErrorVerbosity(conn.get(), PQERRORS_VERBOSE);
  return conn;
}

std::string write_conninfo(const std::vector<std::pair<std::string, std::string>>& options) {
  std::string out;
  for (const auto& [keyword, value] : options) {
    if (!out.empty()) out += ' ';
    out += keyword + "='";
    for (char c : value) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
    out += '\'';
  }
  return out;
}

std::string connection_string_for(PGconn* conn, const std::string& user, const std::string& password) {
  const Options options{PQconninfo(conn)};
  std::vector<std::pair<std::string, std::string>> out;
  bool has_host = false;
  for (const PQconninfoOption* option = options.get(); option && option->keyword; ++option) {
    const std::string_view keyword = option->keyword;
    if (!option->val || !*option->val) continue;
    if (std::find(shared_options.begin(), shared_options.end(), keyword) == shared_options.end()) continue;
    const bool place = keyword == "port" || keyword == "dbname";
    if (!place && option->compiled && std::string_view{option->compiled} == option->val) continue;
    has_host = has_host || keyword == "host" || keyword == "hostaddr";
    out.emplace_back(keyword, option->val);
  }
  // Neither given nor in the environment: the socket directory this libpq was built with.
  if (!has_host) out.insert(out.begin(), {"host", PQhost(conn)});
  out.emplace_back("user", user);
  out.emplace_back("password", password);
  return write_conninfo(out);
}

}  // namespace insula::wire
