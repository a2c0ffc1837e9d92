// Random names and passwords, and the SCRAM verifier that is sent in a password's place.
// The randomness is the kernel's.
#pragma once

#include <libpq-fe.h>

#include <cstdint>
#include <string>

namespace insula::wire {

// 32 characters of [A-Za-z0-9], each as likely as any other.
std::string random_password();

std::uint64_t random_bits();

// "SCRAM-SHA-256$4096:..."; computed here, nothing is sent.
std::string scram_verifier(PGconn* conn, const std::string& user, const std::string& password);

}  // namespace insula::wire
