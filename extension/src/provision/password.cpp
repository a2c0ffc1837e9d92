// Passwords.  Clear text exists only in the caller's answer; the SCRAM verifier is made here, so
// that no statement text, log or WAL holds a password.
#include "provision/provision.hpp"

extern "C" {
#include "libpq/crypt.h"
#include "libpq/scram.h"
}

namespace insula {

bool is_scram_verifier(const char *text) { return get_password_type(text) == PASSWORD_TYPE_SCRAM_SHA_256; }

char *generate_password() {
  static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  constexpr int length = 32;
  auto *password = static_cast<char *>(palloc(length + 1));
  for (int i = 0; i < length;) {
    unsigned char byte;
    if (!pg_strong_random(&byte, 1))
      ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
    // 248 is the largest multiple of 62 in a byte: higher values would favour some letters.
    if (byte < 248) password[i++] = alphabet[byte % 62];
  }
  password[length] = '\0';
  return password;
}

char *make_verifier(const char *password) { return pg_be_scram_build_secret(password); }

}  // namespace insula
