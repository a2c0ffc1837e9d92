// Compares a tenant's relations with tenant/columns.hpp; see shape.hpp.
#include "tenant/shape.hpp"

#include <algorithm>
#include <iterator>

#include "shared/watermarks.hpp"
#include "spi/owner.hpp"
#include "tenant/columns.hpp"
#include "tenant/role_changes.hpp"

extern "C" {
#include "catalog/pg_am.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_sequence.h"
#include "catalog/pg_statistic_ext.h"
#include "utils/fmgroids.h"
#include "utils/typcache.h"
}

namespace insula {

namespace {

struct PartName {
  const char *name;
  char kind;
};

constexpr PartName parts[part_count] = {{"work", RELKIND_RELATION},    {"work_pkey", RELKIND_INDEX},
                                        {"work_queue", RELKIND_INDEX}, {"work_limits", RELKIND_INDEX},
                                        {"record", RELKIND_RELATION},  {"record_pkey", RELKIND_INDEX},
                                        {"id", RELKIND_SEQUENCE}};

const PartName &part_of(Part part) { return parts[static_cast<int>(part)]; }

// ---- columns ----

const char *fault_of_column(const FormData_pg_attribute *is, const ColumnType &made) {
  if (is->attisdropped || strcmp(NameStr(is->attname), made.name) != 0)
    return psprintf("lacks the column %s in its place", made.name);
  if (is->atttypid != made.type.oid || is->atttypmod != -1)
    return psprintf("has another type of the column %s", made.name);
  if (is->attnotnull != (made.nullable == Nullable::no))
    return psprintf("has another NOT NULL of the column %s", made.name);
  if (is->attcollation != made.type.collation) return psprintf("has another collation of the column %s", made.name);
  if (is->attgenerated) return psprintf("generates the column %s", made.name);
  if (is->attidentity || is->atthasdef) return psprintf("has a default of the column %s", made.name);
  if (is->attinhcount > 0) return psprintf("inherits the column %s", made.name);
  return nullptr;
}

// Behind ours there may be dropped columns, which are no part of any row.
const char *fault_of_columns(Relation relation, const ColumnType *made, std::size_t size) {
  const int count = static_cast<int>(size);
  const TupleDesc columns = RelationGetDescr(relation);
  if (relation->rd_rel->relam != HEAP_TABLE_AM_OID) return "is no heap";
  for (int i = 0; i < count; ++i) {
    if (i >= columns->natts) return psprintf("lacks the column %s in its place", made[i].name);
    if (const char *fault = fault_of_column(TupleDescAttr(columns, i), made[i])) return fault;
  }
  for (int i = count; i < columns->natts; ++i)
    if (!TupleDescAttr(columns, i)->attisdropped)
      return psprintf("has the column %s: drop it", NameStr(TupleDescAttr(columns, i)->attname));
  return nullptr;
}

// ---- indexes ----

bool is_lane(Node *node) {
  return IsA(node, Var) && reinterpret_cast<Var *>(node)->varattno == number_of(Column::lane);
}

bool is_for_queued(Node *condition) {
  if (!IsA(condition, NullTest)) return false;
  const auto *test = reinterpret_cast<NullTest *>(condition);
  return test->nulltesttype == IS_NOT_NULL && is_lane(reinterpret_cast<Node *>(test->arg));
}

bool is_for_limited(Node *condition) {
  if (!IsA(condition, OpExpr)) return false;
  auto *comparison = reinterpret_cast<OpExpr *>(condition);
  if (get_opcode(comparison->opno) != F_INT4LT || list_length(comparison->args) != 2) return false;
  auto *bound = static_cast<Node *>(lsecond(comparison->args));
  return is_lane(static_cast<Node *>(linitial(comparison->args))) && IsA(bound, Const) &&
         !reinterpret_cast<Const *>(bound)->constisnull &&
         DatumGetInt32(reinterpret_cast<Const *>(bound)->constvalue) == first_free_lane;
}

using Condition = bool (*)(Node *condition);

bool has_condition(Relation index, Condition condition) {
  List *conditions = RelationGetIndexPredicate(index);
  if (!condition) return conditions == NIL;
  return list_length(conditions) == 1 && condition(static_cast<Node *>(linitial(conditions)));
}

bool is_sound(const FormData_pg_index *index) { return index->indisvalid && index->indisready && index->indislive; }

// Whether the keys are ascending, NULLs last, in the default order of the columns' types.
bool has_keys(Relation index, const ColumnType *columns, std::initializer_list<int> numbers) {
  const Form_pg_index form = index->rd_index;
  if (form->indnatts != static_cast<int>(numbers.size()) || form->indnkeyatts != form->indnatts) return false;
  int key = 0;
  for (int number : numbers) {
    const ColumnType &column = columns[number - 1];
    if (form->indkey.values[key] != number || index->rd_indoption[key] != 0 ||
        index->rd_opcintype[key] != column.type.oid || index->rd_indcollation[key] != column.type.collation ||
        index->rd_opfamily[key] != lookup_type_cache(column.type.oid, TYPECACHE_BTREE_OPFAMILY)->btree_opf)
      return false;
    ++key;
  }
  return true;
}

const char *fault_of_index(Relation index, Part part, Oid table) {
  const Form_pg_index form = index->rd_index;
  const bool key = part == Part::work_key || part == Part::record_key;
  bool sound = form->indrelid == table && is_sound(form) && index->rd_rel->relam == BTREE_AM_OID &&
               form->indisprimary == key && form->indisunique == key && (!key || form->indimmediate);
  if (part == Part::work_key)
    sound = sound && has_keys(index, work_columns, {number_of(Column::id)}) && has_condition(index, nullptr);
  else if (part == Part::work_queue)
    sound = sound && has_keys(index, work_columns, {number_of(Column::lane), number_of(Column::due)}) &&
            has_condition(index, is_for_queued);
  else if (part == Part::work_limits)
    sound = sound &&
            has_keys(index, work_columns,
                     {number_of(Column::key), number_of(Column::limit_key), number_of(Column::lane),
                      number_of(Column::due)}) &&
            has_condition(index, is_for_limited);
  else
    sound = sound && has_keys(index, record_columns, {1, 2, 3, 4}) && has_condition(index, nullptr);
  return sound ? nullptr : "is another index";
}

const char *fault_of_sequence(Oid sequence) {
  HeapTuple row = SearchSysCache1(SEQRELID, ObjectIdGetDatum(sequence));
  if (!HeapTupleIsValid(row)) return "is no sequence";
  const auto *form = reinterpret_cast<Form_pg_sequence>(GETSTRUCT(row));
  const bool sound = form->seqtypid == INT8OID && form->seqincrement == 1 && form->seqmin == 1 &&
                     form->seqmax == PG_INT64_MAX && !form->seqcycle && form->seqcache == 1;
  ReleaseSysCache(row);
  return sound ? nullptr : "is another sequence";
}

bool is_our_index(Oid index) {
  const char *name = get_rel_name(index);
  return !name || std::any_of(parts, parts + part_count, [name](const PartName &part) {
    return part.kind == RELKIND_INDEX && strcmp(part.name, name) == 0;
  });
}

}  // namespace

static const char *foreign_code(Relation table);

const char *name_of(Part part) { return part_of(part).name; }
char kind_of(Part part) { return part_of(part).kind; }

const char *fault_of(Relation relation, Part part, Oid table) {
  if (relation->rd_rel->relkind != kind_of(part)) return "is of another kind";
  if (kind_of(part) == RELKIND_RELATION) {
    const char *fault = part == Part::work ? fault_of_columns(relation, work_columns, std::size(work_columns))
                                           : fault_of_columns(relation, record_columns, std::size(record_columns));
    // A parent without columns leaves no trace in ours.
    if (!fault && has_superclass(RelationGetRelid(relation))) fault = "inherits from another table";
    return fault ? fault : foreign_code(relation);
  }
  if (part == Part::sequence) return fault_of_sequence(RelationGetRelid(relation));
  return fault_of_index(relation, part, table);
}

const char *foreign_hook(Relation relation) {
  const Form_pg_class form = relation->rd_rel;
  if (relation->rd_rules) return "has a rule";
  if (relation->trigdesc) return psprintf("has the trigger %s", relation->trigdesc->triggers[0].tgname);
  if (form->relhassubclass && find_inheritance_children(RelationGetRelid(relation), NoLock) != NIL)
    return "has a child";
  if (form->relrowsecurity) return "has row level security";
  if (form->relispartition) return "is a partition";
  return nullptr;
}

const char *foreign_owner(Relation relation) {
  const Oid owner = relation->rd_rel->relowner;
  if (owner == owner_role()) {
    rely_on_role(owner);
    return nullptr;
  }
  const char *name = GetUserNameFromId(owner, true);
  return psprintf("belongs to %s", name ? name : "a role that is gone");
}

// ---- code of others ----

// Whether neither PostgreSQL nor a superuser has made the function.
static bool is_foreign_function(Oid function, void *) {
  if (function < FirstNormalObjectId) return false;
  HeapTuple row = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
  if (!HeapTupleIsValid(row)) return true;
  const Oid owner = reinterpret_cast<Form_pg_proc>(GETSTRUCT(row))->proowner;
  ReleaseSysCache(row);
  const bool foreign = owner != owner_role() && !superuser_arg(owner);
  if (!foreign) rely_on_role(owner);
  return foreign;
}

// A domain's checks are code, too.
static bool calls_foreign_function(Node *node, void *) {
  if (!node) return false;
  if (IsA(node, CoerceToDomain)) return true;
  if (check_functions_in_node(node, is_foreign_function, nullptr)) return true;
  return walk_expression(node, calls_foreign_function);
}

static bool index_runs_foreign_code(Oid oid) {
  Relation index = index_open(oid, AccessShareLock);
  bool foreign = calls_foreign_function(reinterpret_cast<Node *>(RelationGetIndexExpressions(index)), nullptr) ||
                 calls_foreign_function(reinterpret_cast<Node *>(RelationGetIndexPredicate(index)), nullptr);
  for (int i = 0; i < index->rd_index->indnkeyatts; ++i)
    foreign = foreign || index->rd_opfamily[i] >= FirstNormalObjectId;
  index_close(index, AccessShareLock);
  return foreign;
}

// Returns the name of statistics whose expressions call foreign functions, which ANALYZE would run;
// nullptr: there are none.
static const char *statistics_of_others(Oid statistics) {
  HeapTuple row = SearchSysCache1(STATEXTOID, ObjectIdGetDatum(statistics));
  if (!HeapTupleIsValid(row)) return nullptr;
  bool null;
  const Datum expressions = SysCacheGetAttr(STATEXTOID, row, Anum_pg_statistic_ext_stxexprs, &null);
  const char *name = nullptr;
  if (!null && calls_foreign_function(static_cast<Node *>(stringToNode(TextDatumGetCString(expressions))), nullptr))
    name = pstrdup(NameStr(reinterpret_cast<Form_pg_statistic_ext>(GETSTRUCT(row))->stxname));
  ReleaseSysCache(row);
  return name;
}

static const char *foreign_code(Relation table) {
  const TupleConstr *constraints = RelationGetDescr(table)->constr;
  for (int i = 0; constraints && i < constraints->num_check; ++i)
    if (calls_foreign_function(static_cast<Node *>(stringToNode(constraints->check[i].ccbin)), nullptr))
      return psprintf("has the check %s, which runs code of others", constraints->check[i].ccname);
  ListCell *cell;
  foreach (cell, RelationGetIndexList(table))
    if (!is_our_index(lfirst_oid(cell)) && index_runs_foreign_code(lfirst_oid(cell)))
      return psprintf("has the index %s, which runs code of others", get_rel_name(lfirst_oid(cell)));
  foreach (cell, RelationGetStatExtList(table))
    if (const char *name = statistics_of_others(lfirst_oid(cell)))
      return psprintf("has the extended statistics %s, which run code of others", name);
  return nullptr;
}

List *additions_to(Relation relation, Part part) {
  List *additions = NIL;
  if (kind_of(part) != RELKIND_RELATION) return NIL;
  if (relation->rd_rel->relpersistence != RELPERSISTENCE_PERMANENT)
    additions = lappend(additions, pstrdup("is not logged: a crash empties it"));
  if (OidIsValid(relation->rd_rel->reloftype)) additions = lappend(additions, pstrdup("is a table of a type"));
  const TupleConstr *constraints = RelationGetDescr(relation)->constr;
  for (int i = 0; constraints && i < constraints->num_check; ++i)
    additions = lappend(additions, psprintf("has the check %s", constraints->check[i].ccname));
  ListCell *cell;
  foreach (cell, RelationGetIndexList(relation))
    if (!is_our_index(lfirst_oid(cell)))
      additions = lappend(additions, psprintf("has the index %s", get_rel_name(lfirst_oid(cell))));
  if (RelationGetStatExtList(relation) != NIL) additions = lappend(additions, pstrdup("has extended statistics"));
  return additions;
}

}  // namespace insula
