// The tenant whose turn it is, in a small file for each database.  Shared memory would not do: where a scheduler is
// killed or crashes the server starts anew, with none of it.  The file is written twice a visit and never flushed,
// since it needs to outlive processes alone, and lies where PostgreSQL keeps what no backup copies.
//
// A scheduler that an immediate shutdown or the crash of another process ends has not died of its tenant, and neither
// has one that outlives the postmaster.
#include "scheduler/scheduler.hpp"

extern "C" {
#include <unistd.h>

#include "common/file_perm.h"
#include "storage/fd.h"
#include "storage/pmsignal.h"
}

namespace insula {

namespace {

struct Turn {
  std::uint32_t kind;
  std::int32_t tenant;  // 0: nobody's
};
constexpr std::uint32_t kind_of_turn = 0x494e5355;

int file = -1;
std::int32_t in_hand = 0;
char path[MAXPGPATH];

// Also called by a signal's handler.
void write_turn(std::int32_t tenant) {
  in_hand = tenant;
  const Turn turn = {kind_of_turn, tenant};
  if (file < 0 || pwrite(file, &turn, sizeof turn, 0) == sizeof turn) return;
  (void)unlink(path);  // it would name a tenant whose turn has ended
  (void)close(file);
  file = -1;
}

void quit(INSULA_SIGNAL_PARAMETERS) {
  write_turn(0);
  _exit(2);
}

}  // namespace

std::int32_t open_turns() {
  // An error has ended the turn of this process.
  if (file >= 0) return in_hand;
  snprintf(path, sizeof path, "%s/insula_turn.%u", PG_STAT_TMP_DIR, MyDatabaseId);
  file = BasicOpenFilePerm(path, O_RDWR | O_CREAT | PG_BINARY, pg_file_create_mode);
  if (file < 0) ereport(LOG, (errcode_for_file_access(), errmsg("could not open file \"%s\": %m", path)));
  Turn turn = {};
  const bool known = file >= 0 && pread(file, &turn, sizeof turn, 0) == sizeof turn && turn.kind == kind_of_turn;
  pqsignal(SIGQUIT, quit);
  return known ? turn.tenant : 0;
}

void begin_turn(std::int32_t tenant) { write_turn(tenant); }

void end_turn() { write_turn(0); }

void close_turns() {
  if (file < 0 || (in_hand != 0 && PostmasterIsAlive())) return;
  (void)unlink(path);
  file = -1;
}

}  // namespace insula
