// A scheduler's memory of tenants' schedules, each with its next fire, so that a visit costs only
// what is due.  It is bounded: above the bound all whole agendas are forgotten, and each is read again
// when its tenant is due.  A tenant with many schedules has them read in several visits, each within
// its budget; few are half read at a time, and others of that kind wait for their places.
#pragma once

#include "schedule/spec.hpp"
#include "storage/schedules.hpp"

namespace insula {

struct AgendaItem {
  char name[NAMEDATALEN];
  std::int64_t number;
  TimestampTz since;  // it fires after this moment; a change of its times moves it
  core::FireRules rules;
  Overlap overlap;
  std::int64_t dealt_with;  // all fires up to this one are done, in seconds since 1970
  TimestampTz due;          // the next fire; DT_NOEND: none
  bool waits;               // an execution of an earlier fire must end first
  int failures;             // of the same fires, in a row
  bool failing;             // it has failed, and has made no fire since
};

struct Agenda {
  std::int32_t tenant;
  int count, room;
  AgendaItem *items;
  int turn;                      // the item that the next visit begins with
  bool incomplete;               // a schedule could not be read
  bool whole;                    // all have been read; else nothing of it can be used yet
  bool has_place;                // among those that are half read
  std::int64_t read_at;          // last, in passing time
  bool waits_for_place;          // it did not fit one visit, and too many others are half read
  bool stale;                    // they have changed since: the next visit begins anew
  char read_up_to[NAMEDATALEN];  // the last schedule that has been read, by name
};

// Reads the tenant's schedules if the agenda is unknown, or with `reload`, as far as the budget goes; what has been
// begun is read to its end first, so that a tenant that always changes some has its fires.  A schedule that cannot be
// read is left out, and `trouble` says why.
Agenda &agenda_of(const Tenant &tenant, bool reload, const char **trouble);
void forget_agenda(std::int32_t tenant);

// Plans the first fire after `dealt_with`.
void plan_next(AgendaItem &item);

}  // namespace insula
