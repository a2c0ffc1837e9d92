// SQLSTATE to insula::errc.
#include "wire/errors.hpp"

#include <algorithm>
#include <array>

namespace insula::wire {

namespace {

struct Rule {
  std::string_view prefix;  // of the SQLSTATE; the first match counts
  errc code;
  bool retryable;
};

constexpr std::array rules{
    Rule{"08", errc::unreachable, true},
    Rule{"57P01", errc::unreachable, true},
    Rule{"57P02", errc::unreachable, true},
    Rule{"57P03", errc::unreachable, true},
    Rule{"57P04", errc::unreachable, false},
    Rule{"57P05", errc::unreachable, true},
    Rule{"53300", errc::unreachable, true},
    Rule{"25006", errc::server, true},  // read-only: a standby, perhaps not for long
    Rule{"28", errc::authentication, false},
    Rule{"3D000", errc::not_found, false},
    Rule{"3F000", errc::extension_missing, false},
    Rule{"42883", errc::version_mismatch, false},
    Rule{"42P01", errc::version_mismatch, false},
    Rule{"42703", errc::version_mismatch, false},
    Rule{"42501", errc::permission, false},
    Rule{"42710", errc::already_exists, false},
    Rule{"42P06", errc::already_exists, false},
    Rule{"IS001", errc::not_found, false},
    Rule{"IS002", errc::not_found, false},
    Rule{"IS003", errc::not_found, false},
    Rule{"IS004", errc::invalid, false},
    Rule{"IS006", errc::limit, true},
    Rule{"IS007", errc::suspended, false},
    Rule{"IS008", errc::suspended, false},
    Rule{"IS009", errc::version_mismatch, false},
    Rule{"22", errc::invalid, false},
    Rule{"0A000", errc::invalid, false},
    Rule{"42602", errc::invalid, false},
    Rule{"42939", errc::invalid, false},
    Rule{"54", errc::limit, false},
    Rule{"53", errc::limit, true},
    Rule{"40", errc::server, true},
    Rule{"55", errc::server, true},
    Rule{"57014", errc::server, true},
};

const Rule* rule_for(std::string_view sqlstate) {
  const auto it =
      std::find_if(rules.begin(), rules.end(), [&](const Rule& r) { return sqlstate.starts_with(r.prefix); });
  return it == rules.end() ? nullptr : &*it;
}

error classify(std::string sqlstate, std::string message) {
  const Rule* rule = rule_for(sqlstate);
  return {rule ? rule->code : errc::server, std::move(message), std::move(sqlstate), rule && rule->retryable};
}

std::string trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  return std::string{text};
}

bool is_state(std::string_view text) {
  return text.size() == 5 &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'); });
}

}  // namespace

bool is_connection_state(std::string_view sqlstate) noexcept {
  return sqlstate.starts_with("08") || sqlstate.starts_with("57P0") || sqlstate == "53300";
}

error make_error(const PGresult* result) {
  const auto field = [&](int code) -> std::string {
    const char* text = PQresultErrorField(result, code);
    return text ? text : "";
  };
  std::string message = field(PG_DIAG_MESSAGE_PRIMARY);
  if (message.empty()) message = trimmed(PQresultErrorMessage(result));
  if (const std::string detail = field(PG_DIAG_MESSAGE_DETAIL); !detail.empty()) message += "\n" + detail;
  if (const std::string hint = field(PG_DIAG_MESSAGE_HINT); !hint.empty()) message += "\nHint: " + hint;
  std::string state = field(PG_DIAG_SQLSTATE);
  if (state.empty()) return {errc::unreachable, std::move(message), {}, true};
  return classify(std::move(state), std::move(message));
}

Refusal parse_refusal(std::string_view message) {
  Refusal refusal;
  // With several hosts each has its line; the last refusal is the one to report.
  for (std::size_t at = message.find(":  "); at != std::string_view::npos; at = message.find(":  ", at + 1)) {
    const std::string_view state = message.substr(std::min(at + 3, message.size()), 5);
    if (!is_state(state) || message.substr(at + 8, 2) != ": ") continue;
    refusal.sqlstate = state;
    const std::size_t begin = at + 10;
    refusal.message = message.substr(begin, message.find('\n', begin) - begin);
  }
  if (refusal.sqlstate.empty()) refusal.message = trimmed(message);
  return refusal;
}

error make_connection_error(const PGconn* conn, bool was_established) {
  Refusal refusal = parse_refusal(PQerrorMessage(conn));
  if (refusal.message.empty()) refusal.message = was_established ? "the connection broke" : "no connection";
  if (!refusal.sqlstate.empty()) return classify(std::move(refusal.sqlstate), std::move(refusal.message));
  // Without a state it was libpq that gave up: for want of a password, or of a server.
  if (!was_established && PQconnectionNeedsPassword(conn))
    return {errc::authentication, std::move(refusal.message), {}, false};
  return {errc::unreachable, std::move(refusal.message), {}, true};
}

}  // namespace insula::wire
