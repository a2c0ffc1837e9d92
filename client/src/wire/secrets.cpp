// Random names and passwords; SCRAM.
#include "wire/secrets.hpp"

#include <insula/error.hpp>

#include <sys/random.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

namespace insula::wire {

namespace {

void fill_random(void* to, std::size_t size) {
  auto* bytes = static_cast<unsigned char*>(to);
  while (size > 0) {
    const ssize_t n = getrandom(bytes, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw error{errc::server, std::string{"the system gives no randomness: "} + std::strerror(errno)};
    bytes += n;
    size -= static_cast<std::size_t>(n);
  }
}

}  // namespace

std::string random_password() {
  constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  // Bytes above the largest multiple would make some characters likelier: drawn again.
  constexpr unsigned limit = 256 / alphabet.size() * alphabet.size();
  std::string password;
  std::array<unsigned char, 64> bytes;
  while (password.size() < 32) {
    fill_random(bytes.data(), bytes.size());
    for (unsigned char byte : bytes)
      if (byte < limit && password.size() < 32) password += alphabet[byte % alphabet.size()];
  }
  return password;
}

std::uint64_t random_bits() {
  std::uint64_t bits = 0;
  fill_random(&bits, sizeof bits);
  return bits;
}

std::string scram_verifier(PGconn* conn, const std::string& user, const std::string& password) {
  const std::unique_ptr<char, void (*)(void*)> verifier{
      PQencryptPasswordConn(conn, password.c_str(), user.c_str(), "scram-sha-256"), PQfreemem};
  if (!verifier) throw error{errc::invalid, "the password cannot be turned into a SCRAM verifier"};
  return verifier.get();
}

}  // namespace insula::wire
