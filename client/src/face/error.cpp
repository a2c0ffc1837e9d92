// insula::error and the names of its codes.  The state is shared between copies and
// never changes, so that a copy neither throws nor locks.
#include <insula/error.hpp>

#include <ostream>

namespace insula {

struct error::State {
  errc code;
  std::string message;
  std::string sqlstate;
  bool retryable;
  bool outcome_unknown;
};

std::string_view name(errc code) noexcept {
  switch (code) {
    case errc::unreachable:
      return "unreachable";
    case errc::authentication:
      return "authentication";
    case errc::extension_missing:
      return "extension_missing";
    case errc::version_mismatch:
      return "version_mismatch";
    case errc::not_found:
      return "not_found";
    case errc::already_exists:
      return "already_exists";
    case errc::invalid:
      return "invalid";
    case errc::permission:
      return "permission";
    case errc::limit:
      return "limit";
    case errc::suspended:
      return "suspended";
    case errc::would_deadlock:
      return "would_deadlock";
    case errc::shut_down:
      return "shut_down";
    case errc::server:
      return "server";
    case errc::failed:
      return "failed";
  }
  return "unknown";
}

std::ostream& operator<<(std::ostream& out, errc code) { return out << name(code); }

error::error(errc code, std::string message) : error(code, std::move(message), {}, code == errc::unreachable) {}

error::error(errc code, std::string message, std::string sqlstate, bool retryable, bool outcome_unknown)
    : state_(std::make_shared<const State>(
          State{code, std::move(message), std::move(sqlstate), retryable, outcome_unknown})) {}

errc error::code() const noexcept { return state_->code; }
const std::string& error::sqlstate() const noexcept { return state_->sqlstate; }
bool error::retryable() const noexcept { return state_->retryable; }
bool error::outcome_unknown() const noexcept { return state_->outcome_unknown; }
const char* error::what() const noexcept { return state_->message.c_str(); }

}  // namespace insula
