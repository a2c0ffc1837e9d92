#include "dashboard/safety.hpp"

#include <arpa/inet.h>
#include <sys/random.h>

#include <algorithm>
#include <cctype>
#include <string_view>

#include "failure.hpp"

namespace insula::cli::dashboard {

namespace {

constexpr std::size_t longest_path = 512, longest_target = 4096, most_headers = 64;
constexpr std::size_t shortest_token = 32;
constexpr std::size_t most_sessions = 256, session_length = 64;
constexpr const char* cookie_name = "insula_session";

bool is_ip_address(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || (is_ip_address(address) && address.starts_with("127."));
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Without its port and the brackets of an IPv6 address; "" if it is none.
std::string name_of_host(const std::string& host) {
  std::string name = lower(host);
  std::string rest;
  if (name.starts_with('[')) {
    const auto end = name.find(']');
    if (end == std::string::npos) return {};
    rest = name.substr(end + 1);
    name = name.substr(1, end - 1);
  } else if (const auto colon = name.find(':'); colon != std::string::npos) {
    rest = name.substr(colon);
    name = name.substr(0, colon);
  }
  const bool is_port = rest.empty() || (rest.size() > 1 && rest.size() < 7 && rest[0] == ':' &&
                                        rest.find_first_not_of("0123456789", 1) == std::string::npos);
  return is_port ? name : std::string{};
}

// In a time that does not tell how much of it is right.
bool is_same_secret(const std::string& a, const std::string& b) {
  unsigned difference = a.size() == b.size() ? 0 : 1;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b.empty() ? 0 : b[i % b.size()]);
  return difference == 0 && !a.empty();
}

std::string random_hex() {
  std::array<unsigned char, session_length / 2> bytes;
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw Failure(Exit::failed, "no random numbers");
  std::string hex;
  for (const unsigned char byte : bytes) {
    hex += "0123456789abcdef"[byte >> 4];
    hex += "0123456789abcdef"[byte & 15];
  }
  return hex;
}

std::string cookie_of(const httplib::Request& request) {
  const std::string all = "; " + request.get_header_value("Cookie");
  const std::string key = std::string("; ") + cookie_name + "=";
  const auto at = all.find(key);
  if (at == std::string::npos) return {};
  const auto from = at + key.size();
  return all.substr(from, all.find(';', from) - from);
}

bool is_one(const httplib::Request& request, const char* header) { return request.get_header_value_count(header) == 1; }

}  // namespace

void check_options(const Options& options) {
  const auto colon = options.address.rfind(':');
  if (colon != std::string::npos && !is_ip_address(options.address)) {
    const std::string host = options.address.substr(0, colon);
    const bool in_brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
    const std::string address = in_brackets ? host.substr(1, host.size() - 2) : host;
    const std::string port = options.address.substr(colon + 1);
    if ((is_ip_address(address) || address == "localhost") && !port.empty() &&
        port.find_first_not_of("0123456789") == std::string::npos)
      throw Failure(Exit::usage, "--listen wants an IP address alone",
                    "HINT:  --listen " + address + " --port " + port + "\n");
  }
  if (!options.token.empty() && options.token.size() < shortest_token)
    throw Failure(Exit::usage, "the token has less than " + std::to_string(shortest_token) + " characters",
                  "HINT:  openssl rand -hex 24 makes one.\n");
  if (options.token.empty() && !is_loopback(options.address))
    throw Failure(Exit::usage, "an address other than that of this machine needs a token",
                  "HINT:  Put one into a file, and name it by --token-file, or into INSULA_DASHBOARD_TOKEN.\n");
  if (!is_ip_address(options.address) && options.address != "localhost")
    throw Failure(Exit::usage, "--listen wants an IP address, or localhost");
}

Gate::Gate(const Options& options) : options_(options) {}

// A page of another site whose name is made to mean this address (DNS rebinding) is told by the Host of its requests.
// An address in place of a name cannot be made to mean another one.
bool Gate::is_served_host(const std::string& host) const {
  const std::string name = name_of_host(host);
  if (name.empty()) return false;
  if (name == "localhost" || is_ip_address(name)) return true;
  return std::any_of(options_.hosts.begin(), options_.hosts.end(),
                     [&](const std::string& served) { return lower(served) == name; });
}

void Gate::check_request(const httplib::Request& request) const {
  if (!is_one(request, "Host") || !is_served_host(request.get_header_value("Host")))
    throw Refusal(421, "usage", "this host is not served here", "", "insula dashboard --host NAME serves it.");
  const bool is_change = request.method == "POST";
  if (!is_change && request.method != "GET" && request.method != "HEAD")
    throw Refusal(405, "usage", "only GET, HEAD and POST are served");
  if (request.path.size() > longest_path || request.target.size() > longest_target)
    throw Refusal(414, "usage", "the address is too long");
  if (request.headers.size() > most_headers) throw Refusal(431, "usage", "too many headers");
  // A part of an answer is made from the whole: many parts of a small file would be a large one.
  if (request.has_header("Range") || request.has_header("If-Range"))
    throw Refusal(400, "usage", "parts of an answer are not served");
  if (request.has_header("Transfer-Encoding") || request.has_header("Content-Encoding"))
    throw Refusal(415, "usage", "the body must come as it is");
  if (is_change && !is_one(request, "Content-Length")) throw Refusal(411, "usage", "Content-Length is missing");
  if (!is_change && request.has_header("Content-Length") && request.get_header_value("Content-Length") != "0")
    throw Refusal(400, "usage", "a GET has no body");
  const std::string site = request.get_header_value("Sec-Fetch-Site");
  const bool is_navigation = request.get_header_value("Sec-Fetch-Mode") == "navigate" && !is_change;
  if (!site.empty() && site != "same-origin" && site != "none" && !(is_navigation && request.path == "/"))
    throw Refusal(403, "usage", "another site asks");
}

void Gate::check_token(const httplib::Request& request) {
  if (!asks_for_token() || is_logged_in(cookie_of(request))) return;
  constexpr std::string_view scheme = "Bearer ";
  const std::string given = request.get_header_value("Authorization");
  if (!given.starts_with(scheme)) throw Refusal(401, "login", "this needs the token");
  check_guess(given.substr(scheme.size()));
}

bool Gate::is_logged_in(const std::string& cookie) {
  if (cookie.size() != session_length) return false;
  const std::scoped_lock lock(mutex_);
  std::erase_if(sessions_, [now = Clock::now()](const auto& one) { return one.second < now; });
  return std::any_of(sessions_.begin(), sessions_.end(),
                     [&](const auto& one) { return is_same_secret(cookie, one.first); });
}

// Wrong ones are not counted: behind a proxy all come from one address, and one that guesses would keep out the rest.
// The token's length is what stands against a guess.
void Gate::check_guess(const std::string& token) const {
  if (asks_for_token() && is_same_secret(token, options_.token)) return;
  throw Refusal(401, "login", "the token is wrong");
}

void Gate::check_change(const httplib::Request& request) const {
  if (request.get_header_value("X-Insula") != "1" ||
      !request.get_header_value("Content-Type").starts_with("application/json"))
    throw Refusal(403, "usage", "a change comes from this page alone");
  if (!request.has_header("Origin")) return;  // no browser: a page's script cannot leave it out
  const std::string origin = request.get_header_value("Origin");
  const std::string host = request.get_header_value("Host");
  if (!is_one(request, "Origin") || (origin != "http://" + host && origin != "https://" + host))
    throw Refusal(403, "usage", "another site asks");
}

std::string Gate::log_in(const std::string& token, const httplib::Request& request) {
  check_guess(token);
  std::string session = random_hex();
  {
    const std::scoped_lock lock(mutex_);
    if (sessions_.size() >= most_sessions)
      sessions_.erase(std::min_element(sessions_.begin(), sessions_.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; }));
    sessions_[session] = Clock::now() + options_.log_in_lasts;
  }
  const bool is_secure = request.get_header_value("Origin").starts_with("https://");
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(options_.log_in_lasts);
  return std::string(cookie_name) + "=" + session + "; Max-Age=" + std::to_string(seconds.count()) +
         "; HttpOnly; SameSite=Strict; Path=/" + (is_secure ? "; Secure" : "");
}

void Gate::add_headers(httplib::Response& response) {
  response.set_header("Content-Security-Policy",
                      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                      "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
  response.set_header("X-Frame-Options", "DENY");
  response.set_header("X-Content-Type-Options", "nosniff");
  response.set_header("Referrer-Policy", "no-referrer");
  response.set_header("Cross-Origin-Opener-Policy", "same-origin");
  response.set_header("Cross-Origin-Resource-Policy", "same-origin");
  response.set_header("Permissions-Policy", "camera=(), geolocation=(), microphone=()");
  if (!response.has_header("Cache-Control")) response.set_header("Cache-Control", "private, no-cache");
}

}  // namespace insula::cli::dashboard
