// Which tenant's turn it is, kept in a file, so that a scheduler's successor knows in whose turn it has been killed,
// even if the server went down with it. A tenant in whose turns schedulers have been killed three times is set aside
// before it has another one. The file need survive processes, not the machine: it is never flushed, and a base backup
// leaves it out.
#include <algorithm>

#include "scheduler/scheduler.hpp"

extern "C" {
#include "storage/fd.h"
}

#include <fcntl.h>
#include <unistd.h>

namespace insula {

namespace {

constexpr int most_deaths = 3;

struct Suspect {
  std::int32_t tenant;  // 0: a free place
  std::int32_t deaths;  // since its last turn that went well
};

struct Turns {
  std::int32_t current;  // the tenant whose turn it is; 0: none's
  Suspect suspects[15];
};

Turns turns = {};
int file = -1;

struct Path {
  char name[64];
};

Path path_of(Oid database) {
  Path path;
  snprintf(path.name, sizeof path.name, "%s/insula.%u.turn", PG_STAT_TMP_DIR, database);
  return path;
}

// What cannot be written is not remembered.
void write_turns() {
  if (file >= 0) (void)!pwrite(file, &turns, sizeof turns, 0);
}

Suspect *find_suspect(std::int32_t tenant) {
  Suspect *end = turns.suspects + lengthof(turns.suspects);
  Suspect *found = std::find_if(turns.suspects, end, [tenant](const Suspect &of) { return of.tenant == tenant; });
  return found < end ? found : nullptr;
}

void note_death(std::int32_t tenant) {
  Suspect *suspect = find_suspect(tenant);
  if (!suspect) suspect = find_suspect(0);
  if (!suspect)
    suspect = std::min_element(turns.suspects, turns.suspects + lengthof(turns.suspects),
                               [](const Suspect &a, const Suspect &b) { return a.deaths < b.deaths; });
  *suspect = {tenant, suspect->tenant == tenant ? suspect->deaths + 1 : 1};
}

}  // namespace

void read_turns() {
  if (file >= 0) return;
  file = BasicOpenFile(path_of(MyDatabaseId).name, O_RDWR | O_CREAT | PG_BINARY);
  if (file < 0) return;
  if (pread(file, &turns, sizeof turns, 0) != sizeof turns) turns = {};
  if (turns.current) note_death(turns.current);
  turns.current = 0;
  write_turns();
  for (const Suspect &suspect : turns.suspects)
    if (suspect.deaths >= most_deaths) set_aside_for_deaths(suspect.tenant, suspect.deaths);
}

void begin_turn(std::int32_t tenant) {
  turns.current = tenant;
  write_turns();
}

void end_turn(Turn how) {
  if (how == Turn::killed)
    note_death(turns.current);
  else if (Suspect *suspect = find_suspect(turns.current))
    *suspect = {};
  turns.current = 0;
  write_turns();
}

void forget_turns(Oid database) { (void)unlink(path_of(database).name); }

}  // namespace insula
