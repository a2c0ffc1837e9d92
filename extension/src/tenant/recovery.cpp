// Point-in-time recovery keeps the system identifier and the database, and after its end only a new
// timeline tells of it, as after a promotion.  So the postmaster looks for recovery.signal at its
// start and writes a random word to a file in the data directory; insula.home must hold that word.
// The file lives as long as the directory, and base backups copy it.
#include <sys/stat.h>

#include "tenant/home.hpp"

extern "C" {
#include "storage/fd.h"
}

namespace insula {

namespace {

const char file[] = "insula.recovery";
const char new_file[] = "insula.recovery.new";
constexpr int word_length = 32;

bool exists(const char *path) {
  struct stat status;
  return stat(path, &status) == 0;
}

}  // namespace

void note_recovery() {
  if (!exists("recovery.signal") || exists("standby.signal")) return;
  unsigned char bytes[word_length / 2];
  char word[word_length + 1];
  if (!pg_strong_random(bytes, sizeof bytes)) return;
  for (int i = 0; i < word_length / 2; ++i) snprintf(word + 2 * i, 3, "%02x", bytes[i]);
  FILE *out = AllocateFile(new_file, "w");
  const bool written = out && fwrite(word, 1, word_length, out) == word_length;
  if (out && FreeFile(out) == 0 && written && durable_rename(new_file, file, LOG) == 0) return;
  ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", file),
                errdetail("Insula will not know that this cluster was recovered to a point in time.")));
}

const char *last_recovery() {
  static char word[word_length + 1];
  static bool read = false;
  if (read) return word;
  if (FILE *in = AllocateFile(file, "r")) {
    if (fread(word, 1, word_length, in) != word_length) word[0] = '\0';
    FreeFile(in);
  }
  read = true;
  return word;
}

}  // namespace insula
