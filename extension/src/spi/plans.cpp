// The plan cache; see plans.hpp.  The plan that has not been used for longest makes room.
// Plans follow their relations by PostgreSQL's own invalidation, and no two tenants have had
// both their number and their table's Oid in common, so an entry can be old but never wrong.
#include "spi/plans.hpp"

#include "spi/owner.hpp"

namespace insula {

namespace {

constexpr long plan_limit = 440;

// A statement is known by its address.
struct PlanKey {
  Oid work;
  std::int32_t tenant;
  const Statement *statement;
};
static_assert(sizeof(PlanKey) == sizeof(Oid) + sizeof(std::int32_t) + sizeof(void *), "keys are compared as bytes");

struct PlanEntry {
  PlanKey key;
  SPIPlanPtr plan;
  std::uint64_t used;
};

HTAB *plans = nullptr;
std::uint64_t use_clock = 0;
Words defined_words = {};

SPIPlanPtr make_plan(const TenantTables *tables, const Statement &statement) {
  const char *sql = statement.sql;
  if (tables) {
    const Word names[] = {{"work", quote_qualified_identifier(tables->schema, "work")},
                          {"record", quote_qualified_identifier(tables->schema, "record")}};
    sql = fill_in(sql, {names, lengthof(names)}, {statement.phrases.words, statement.phrases.count, &defined_words});
  } else if (statement.phrases.count > 0) {
    sql = fill_in(sql, {}, statement.phrases);
  }
  int count = 0;
  while (OidIsValid(statement.arguments[count])) ++count;
  SPIPlanPtr plan = SPI_prepare(sql, count, const_cast<Oid *>(statement.arguments));
  if (!plan || SPI_keepplan(plan) != 0) elog(ERROR, "insula: preparing statement %s failed", statement.name);
  return plan;
}

void make_room() {
  if (hash_get_num_entries(plans) < plan_limit) return;
  HASH_SEQ_STATUS scan;
  PlanEntry *oldest = nullptr;
  hash_seq_init(&scan, plans);
  // The extension's own plans are few and stay: one of them can be running, under a trigger on its table.
  while (auto *entry = static_cast<PlanEntry *>(hash_seq_search(&scan)))
    if (OidIsValid(entry->key.work) && (!oldest || entry->used < oldest->used)) oldest = entry;
  if (!oldest) return;
  if (oldest->plan) SPI_freeplan(oldest->plan);
  PlanKey key = oldest->key;
  hash_search(plans, &key, HASH_REMOVE, nullptr);
}

}  // namespace

void define_words(const Words &words) { defined_words = words; }

SPIPlanPtr plan_of(const TenantTables *tables, const Statement &statement) {
  set_up_planner();
  if (!plans) {
    HASHCTL control = {};
    control.keysize = sizeof(PlanKey);
    control.entrysize = sizeof(PlanEntry);
    control.hcxt = CacheMemoryContext;
    plans = hash_create("insula plans", plan_limit, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  }
  const PlanKey key = {tables ? tables->work : InvalidOid, tables ? tables->number : 0, &statement};
  auto *entry = static_cast<PlanEntry *>(hash_search(plans, &key, HASH_FIND, nullptr));
  if (!entry) {
    SPIPlanPtr plan = make_plan(tables, statement);
    make_room();
    entry = static_cast<PlanEntry *>(hash_search(plans, &key, HASH_ENTER, nullptr));
    entry->plan = plan;
  }
  entry->used = ++use_clock;
  return entry->plan;
}

}  // namespace insula
