// Passwords.  Clear text exists only in the caller's answer; the SCRAM verifier is made here, so
// that no statement text, log or WAL holds a password.
#include "provision/provision.hpp"

extern "C" {
#include "common/scram-common.h"
#include "common/string.h"
#include "libpq/crypt.h"
#include "libpq/scram.h"
#if defined(USE_OPENSSL) && __has_include(<openssl/hmac.h>)
#define INSULA_HAS_OPENSSL
#include <openssl/evp.h>
#include <openssl/hmac.h>
#endif
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

#ifdef INSULA_HAS_OPENSSL

namespace {

constexpr int key_length = 32;

const char *base64(const unsigned char *bytes, int length) {
  auto *text = static_cast<unsigned char *>(palloc(static_cast<Size>(4 * ((length + 2) / 3) + 1)));
  (void)EVP_EncodeBlock(text, bytes, length);
  return reinterpret_cast<const char *>(text);
}

bool derive_key(const unsigned char *salted, const char *name, unsigned char *key) {
  return HMAC(EVP_sha256(), salted, key_length, reinterpret_cast<const unsigned char *>(name), strlen(name), key,
              nullptr) != nullptr;
}

// In a third of the time that the server's own code takes, which prepares the password anew for each round.  nullptr:
// not possible.
char *make_verifier_by_openssl(const char *password) {
  unsigned char salt[SCRAM_DEFAULT_SALT_LEN];
  unsigned char salted[key_length], client[key_length], stored[key_length], server[key_length];
  if (!pg_strong_random(salt, sizeof salt)) return nullptr;
  const int rounds = scram_rounds();
  if (PKCS5_PBKDF2_HMAC(password, static_cast<int>(strlen(password)), salt, sizeof salt, rounds, EVP_sha256(),
                        key_length, salted) != 1 ||
      !derive_key(salted, "Client Key", client) || !derive_key(salted, "Server Key", server) ||
      EVP_Digest(client, key_length, stored, nullptr, EVP_sha256(), nullptr) != 1)
    return nullptr;
  return psprintf("SCRAM-SHA-256$%d:%s$%s:%s", rounds, base64(salt, sizeof salt), base64(stored, key_length),
                  base64(server, key_length));
}

}  // namespace

#endif

char *make_verifier(const char *password) {
#ifdef INSULA_HAS_OPENSSL
  // SASLprep leaves ASCII as it is.  Nothing can cancel OpenSSL's rounds, a fraction of a second for this many.
  constexpr int most_rounds = 100000;
  if (pg_is_ascii(password) && scram_rounds() <= most_rounds)
    if (char *verifier = make_verifier_by_openssl(password)) return verifier;
#endif
  return pg_be_scram_build_secret(password);
}

}  // namespace insula
