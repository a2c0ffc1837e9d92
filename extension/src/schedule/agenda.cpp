// A scheduler's memory of schedules; see agenda.hpp.
#include "schedule/agenda.hpp"

#include <algorithm>

#include "schedule/zone.hpp"
#include "shared/clock.hpp"
#include "spi/budget.hpp"
#include "tenant/in_subtransaction.hpp"

namespace insula {

namespace {

constexpr long most_items = 250000;
constexpr int most_half_read = 25;
constexpr int most_of_one = 20000;                          // more than a tenant can have at a time
constexpr std::int64_t longest_pause = 60 * USECS_PER_SEC;  // of the visits of a tenant that is half read
constexpr int portion = 200;                                // schedules that are read between two looks at the budget

HTAB *agendas = nullptr;
MemoryContext memory = nullptr;
long items_kept = 0;
int half_read = 0;

void start() {
  if (!memory) memory = AllocSetContextCreate(TopMemoryContext, "insula agendas", ALLOCSET_DEFAULT_SIZES);
  HASHCTL control = {};
  control.keysize = sizeof(std::int32_t);
  control.entrysize = sizeof(Agenda);
  control.hcxt = memory;
  agendas = hash_create("insula agendas", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

// Those that are half read are read on: forgotten, they would be begun for ever.
void forget_whole_ones() {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, agendas);
  while (const auto *agenda = static_cast<Agenda *>(hash_seq_search(&scan)))
    if (agenda->whole) forget_agenda(agenda->tenant);
}

void set_place(Agenda &agenda, bool has_place) {
  half_read += has_place - agenda.has_place;
  agenda.has_place = has_place;
}

void empty(Agenda &agenda) {
  set_place(agenda, false);
  items_kept -= agenda.count;
  if (agenda.items) pfree(agenda.items);
  const std::int32_t tenant = agenda.tenant;
  agenda = {};
  agenda.tenant = tenant;
}

AgendaItem item_of(const ScheduleRow &row, const ScheduleSpec &spec) {
  AgendaItem item = {};
  strlcpy(item.name, row.name, sizeof item.name);
  item.number = row.number;
  item.since = row.since;
  item.rules = fire_rules(spec, row.number);
  item.overlap = spec.overlap;
  item.dealt_with = seconds_of(std::max(row.since, row.last_fire));
  plan_next(item);
  return item;
}

void make_room(Agenda &agenda, int more) {
  if (agenda.count + more <= agenda.room) return;
  agenda.room = std::max(agenda.count + more, 2 * agenda.room);
  const Size size = sizeof(AgendaItem) * static_cast<Size>(agenda.room);
  agenda.items = static_cast<AgendaItem *>(agenda.items ? repalloc_huge(agenda.items, size)
                                                        : MemoryContextAllocHuge(memory, size));
}

void read_portion(const Tenant &tenant, Agenda &agenda, MemoryContext caller, const char **trouble) {
  int count;
  const ScheduleRow *rows = schedules_after(tenant, agenda.read_up_to, portion, &count);
  // Names that are added faster than they are read end at some time, too.
  agenda.stale = agenda.stale || agenda.count > most_of_one;
  agenda.whole = count < portion || agenda.count > most_of_one;
  if (count == 0) return;
  make_room(agenda, count);
  strlcpy(agenda.read_up_to, rows[count - 1].name, sizeof agenda.read_up_to);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const ScheduleSpec spec = spec_from_json(rows[i].body);
    if (spec.paused) continue;
    const char *error = nullptr;
    // The time zone may be gone since the schedule was made.
    if (in_subtransaction(
            tenant.number, [&] { agenda.items[agenda.count] = item_of(rows[i], spec); }, &error)) {
      ++agenda.count;
      ++items_kept;
      continue;
    }
    agenda.incomplete = true;
    *trouble = MemoryContextStrdup(caller, psprintf("schedule \"%s\": %s", rows[i].name, error));
  }
}

void read_on(const Tenant &tenant, Agenda &agenda, const char **trouble) {
  MemoryContext caller = CurrentMemoryContext;
  MemoryContext scratch = AllocSetContextCreate(caller, "insula schedules", ALLOCSET_DEFAULT_SIZES);
  MemoryContextSwitchTo(scratch);
  do {
    in_stretch([&] { read_portion(tenant, agenda, caller, trouble); });
    MemoryContextReset(scratch);
  } while (!agenda.whole && !budget_is_spent());
  MemoryContextSwitchTo(caller);
  MemoryContextDelete(scratch);
}

// A tenant that has been dropped is visited no more.
void free_abandoned_places() {
  HASH_SEQ_STATUS scan;
  hash_seq_init(&scan, agendas);
  while (const auto *agenda = static_cast<Agenda *>(hash_seq_search(&scan)))
    if (agenda->has_place && agenda->read_at < passing_time() - longest_pause) forget_agenda(agenda->tenant);
}

// One of many schedules takes a place among those that are half read, or waits until one is free.
void read_more(const Tenant &tenant, Agenda &agenda, const char **trouble) {
  if (!agenda.has_place && half_read >= most_half_read) free_abandoned_places();
  const bool may_have_place = agenda.has_place || half_read < most_half_read;
  if (agenda.waits_for_place && !may_have_place) return;
  read_on(tenant, agenda, trouble);
  agenda.read_at = passing_time();
  if (agenda.whole || may_have_place) {
    agenda.waits_for_place = false;
    return set_place(agenda, !agenda.whole);
  }
  const bool incomplete = agenda.incomplete;
  empty(agenda);
  agenda.incomplete = incomplete;
  agenda.waits_for_place = true;
}

Agenda *find_agenda(std::int32_t tenant) {
  return agendas ? static_cast<Agenda *>(hash_search(agendas, &tenant, HASH_FIND, nullptr)) : nullptr;
}

}  // namespace

void plan_next(AgendaItem &item) {
  const std::int64_t next = core::next_allowed_fire(item.rules, item.dealt_with);
  item.due = next > core::last_instant ? DT_NOEND : time_of(0) + core::due_of_fire(item.rules, next);
}

Agenda &agenda_of(const Tenant &tenant, bool reload, const char **trouble) {
  if (!agendas) start();
  if (items_kept > most_items) forget_whole_ones();
  if (Agenda *known = find_agenda(tenant.number)) {
    known->stale = known->stale || (reload && !known->waits_for_place);
    if (known->whole && known->stale) forget_agenda(tenant.number);
  }
  bool found;
  auto *agenda = static_cast<Agenda *>(hash_search(agendas, &tenant.number, HASH_ENTER, &found));
  if (!found) {
    *agenda = {};
    agenda->tenant = tenant.number;
  }
  if (!agenda->whole) read_more(tenant, *agenda, trouble);
  return *agenda;
}

void forget_agenda(std::int32_t tenant) {
  Agenda *agenda = find_agenda(tenant);
  if (!agenda) return;
  empty(*agenda);
  hash_search(agendas, &tenant, HASH_REMOVE, nullptr);
}

}  // namespace insula
