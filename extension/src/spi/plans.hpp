// Statements and their saved plans.  A statement is a constant beside the one function that runs it.  The texts of
// statements on a tenant's tables are templates; the plans of all statements are kept in one bounded cache, so that a
// backend which serves ten thousand tenants does not hold ten thousand times each plan.
//
// Rules for the texts: every value is a parameter; an UPDATE calls no volatile function; arrays come sorted by id,
// and the nested loop over them locks rows in that order, which is the one global order.
#pragma once

#include "postgres.hpp"
#include "spi/words.hpp"

namespace insula {

struct Statement {
  const char *name;    // as errors show it
  const char *sql;     // {work} and {record} stand for the tenant's tables, other words for what define_words says
  Oid arguments[16];   // the types of $1, $2, ...; the rest is InvalidOid
  Words phrases = {};  // more words, which the statements of one file have in common
};

// A statement on the tables of a tenant needs this of it.
struct TenantTables {
  std::int32_t number;
  Oid work;
  char schema[NAMEDATALEN];
};

// The words of all statements on a tenant's tables, beside {work} and {record}; from _PG_init.
void define_words(const Words &words);

// To be run at once: it sets the planner up for it.  `tables` nullptr: it is on the extension's own tables.
SPIPlanPtr plan_of(const TenantTables *tables, const Statement &statement);

}  // namespace insula
