// A scheduler's memory of schedules; see agenda.hpp.
#include "schedule/agenda.hpp"

#include <algorithm>

#include "schedule/zone.hpp"
#include "tenant/in_subtransaction.hpp"

namespace insula {

namespace {

constexpr long most_items = 250000;

HTAB *agendas = nullptr;
MemoryContext memory = nullptr;
long items_kept = 0;

void start_anew() {
  if (memory)
    MemoryContextReset(memory);
  else
    memory = AllocSetContextCreate(TopMemoryContext, "insula agendas", ALLOCSET_DEFAULT_SIZES);
  HASHCTL control = {};
  control.keysize = sizeof(std::int32_t);
  control.entrysize = sizeof(Agenda);
  control.hcxt = memory;
  agendas = hash_create("insula agendas", 64, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  items_kept = 0;
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

void read_items(const Tenant &tenant, Agenda &agenda, const char **trouble) {
  int count;
  const ScheduleRow *rows = all_schedules(tenant, &count);
  agenda.items = static_cast<AgendaItem *>(
      MemoryContextAllocExtended(memory, sizeof(AgendaItem) * static_cast<Size>(std::max(count, 1)), MCXT_ALLOC_HUGE));
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const ScheduleSpec spec = spec_from_json(rows[i].body);
    if (spec.paused) continue;
    const char *error = nullptr;
    // The time zone may be gone since the schedule was made.
    if (in_subtransaction(
            tenant.number, [&] { agenda.items[agenda.count] = item_of(rows[i], spec); }, &error))
      ++agenda.count;
    else
      *trouble = psprintf("schedule \"%s\": %s", rows[i].name, error);
  }
  agenda.incomplete = *trouble != nullptr;
  items_kept += agenda.count;
}

}  // namespace

void plan_next(AgendaItem &item) {
  const std::int64_t next = core::next_allowed_fire(item.rules, item.dealt_with);
  item.due = next > core::last_instant ? DT_NOEND : time_of(0) + core::due_of_fire(item.rules, next);
}

Agenda &agenda_of(const Tenant &tenant, bool reload, const char **trouble) {
  if (!agendas || items_kept > most_items) start_anew();
  if (reload) forget_agenda(tenant.number);
  bool found;
  auto *agenda = static_cast<Agenda *>(hash_search(agendas, &tenant.number, HASH_ENTER, &found));
  if (!found) {
    agenda->count = agenda->turn = 0;
    agenda->items = nullptr;
    agenda->incomplete = false;
    read_items(tenant, *agenda, trouble);
  }
  return *agenda;
}

void forget_agenda(std::int32_t tenant) {
  if (!agendas) return;
  auto *agenda = static_cast<Agenda *>(hash_search(agendas, &tenant, HASH_FIND, nullptr));
  if (!agenda) return;
  items_kept -= agenda->count;
  if (agenda->items) pfree(agenda->items);
  hash_search(agendas, &tenant, HASH_REMOVE, nullptr);
}

}  // namespace insula
