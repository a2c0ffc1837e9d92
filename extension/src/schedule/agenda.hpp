// The schedules of tenants as a scheduler keeps them in its memory, each with its next fire,
// so that a visit costs what is due and not what a tenant has.  Bounded: when too many are
// kept all are forgotten, to be read again as their tenants become due.
#pragma once

#include "schedule/spec.hpp"
#include "storage/schedules.hpp"

namespace insula {

struct AgendaItem {
  char name[NAMEDATALEN];
  std::int64_t number;
  TimestampTz since;  // after which it fires; another one means other times
  core::FireRules rules;
  Overlap overlap;
  std::int64_t dealt_with;  // all fires up to this one, in seconds since 1970
  TimestampTz due;          // of the next; DT_NOEND: none
  bool waits;               // for an execution of an earlier fire to end
  int failures;             // in a row, of the same fires
  bool failing;             // it has failed, and made none since
};

struct Agenda {
  std::int32_t tenant;
  int count;
  AgendaItem *items;
  int turn;         // the item that comes first
  bool incomplete;  // some could not be read
};

// Reads the tenant's schedules if they are not known, or with `reload`.  `trouble` says what
// is wrong with one that cannot be read, which is left out.
Agenda &agenda_of(const Tenant &tenant, bool reload, const char **trouble);
void forget_agenda(std::int32_t tenant);

// The item's next fire is the first after `dealt_with`.
void plan_next(AgendaItem &item);

}  // namespace insula
