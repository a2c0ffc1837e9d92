// Comments on a tenant's views and tables, which \d+ shows.  They are inserted into the catalog directly, since eighty
// COMMENT statements would make a tenant dearer by a third.  Columns are listed in their order, those of `work` in
// tenant/columns.hpp: sql/tenants.sql shows each column with its comment.
#include <algorithm>
#include <iterator>
#include <span>
#include <string_view>

#include "provision/provision.hpp"
#include "tenant/columns.hpp"

extern "C" {
#include "catalog/indexing.h"
#include "catalog/pg_class.h"
#include "catalog/pg_description.h"
#include "commands/comment.h"
}

namespace insula {

namespace {

struct ColumnComment {
  std::string_view column;
  const char *text;
};

constexpr ColumnComment executions[] = {
    {"execution_id", "The id that insula.submit returned."},
    {"workflow", "The name of the workflow."},
    {"version", "The version of the workflow that the execution was submitted with."},
    {"status", "pending, running, paused, completed, failed or cancelled."},
    {"context", "The input, with the defaults of declared params."},
    {"final_context", "The input with the patches of all completed tasks; NULL until the execution ends."},
    {"error", "The reason why it failed or was cancelled; NULL: none."},
    {"priority", "Tasks of executions with a higher priority are claimed first."},
    {"created_at", "The time of its submission."},
    {"started_at", "The first start of its tasks, also by runs that failed, lapsed or waited; NULL: none has started."},
    {"finished_at", "The time of its end; NULL: it has not ended."},
    {"parent_task_id", "The task that waits for it as its child; NULL: none."}};

constexpr ColumnComment tasks[] = {
    {"task_id", "The id that insula.claim returns with the task."},
    {"execution_id", "The execution of the task."},
    {"workflow", "The name of the workflow."},
    {"task", "The id of the task in the workflow; element n of a for_each task ends in [n]."},
    {"status", "pending, ready, running, waiting, completed, failed, skipped or cancelled."},
    {"attempt", "The number of the present or the last run; 0: none yet."},
    {"worker", "The worker of the present or the last run."},
    {"error", "The error of the last run that failed, or the reason of the end."},
    {"run_at", "The time before which the task does not run."},
    {"started_at", "The start of the present or the last run."},
    {"finished_at", "The time of its end; NULL: it has not ended."},
    {"progress", "How far its runs have come, from 0 to 1, as they have said; NULL: they have not."},
    {"note", "What its runs have said of that."},
    {"checkpoint", "What its runs have saved for later runs."}};

constexpr ColumnComment events[] = {{"event_id", "The id of the event, unique in the tenant."},
                                    {"execution_id", "The execution that the event is about."},
                                    {"task_id", "The task that the event is about; NULL: the execution itself."},
                                    {"event", "The name of the event, task_failed for one."},
                                    {"at", "The time of the event."},
                                    {"detail", "Details of the event, such as attempt, worker or error; NULL: none."}};

constexpr ColumnComment schedule_columns[] = {
    {"name", "The name of the schedule."},
    {"workflow", "The workflow that it submits."},
    {"cron", "The cron expression; see insula.next_fires."},
    {"timezone", "The time zone of the expression."},
    {"status", "active, paused, or ended: it fires no more."},
    {"next_fire_at", "The next fire, without its jitter; NULL unless the schedule is active."},
    {"last_fire_at", "The newest fire that submitted an execution; NULL: none yet."},
    {"schedule_id", "The id that insula.schedule returned."},
    {"context", "The input of its executions, to which each fire adds its time."},
    {"catch_up", "The policy for missed fires: skip, run_once or run_all."},
    {"max_catch_up", "The most missed or waiting fires that are made."},
    {"starts_at", "The schedule does not fire before this time; NULL: no bound."},
    {"ends_at", "The schedule does not fire after this time; NULL: no bound."},
    {"overlap", "The policy while an earlier execution runs: allow, skip, queue or cancel."},
    {"jitter", "Each fire is made later by its own share of this time."}};

#define WORK_COMMENT(name, type, null, meaning) {#name, meaning},
constexpr ColumnComment work[] = {INSULA_WORK_COLUMNS(WORK_COMMENT)};
#undef WORK_COMMENT

struct RelationComment {
  const char *name;
  const char *text;
  std::span<const ColumnComment> columns;
};

constexpr RelationComment comments[] = {
    {"workflow_executions", "The tenant's executions.", executions},
    {"task_executions", "The tasks of the tenant's executions.", tasks},
    {"execution_events", "The history of the tenant's executions.", events},
    {"schedules", "The tenant's schedules.", schedule_columns},
    {"work", "Executions and tasks; a workflow of one task has one row for both. Insula alone writes it.", work},
    {"record",
     "Versions of workflows, keys, events, schedules, fires, history and stored usage. Insula alone writes it.",
     {}}};

void insert_comment(Relation description, CatalogIndexState indexes, Oid relation, int column, const char *text) {
  Datum values[Natts_pg_description];
  bool nulls[Natts_pg_description] = {};
  values[Anum_pg_description_objoid - 1] = ObjectIdGetDatum(relation);
  values[Anum_pg_description_classoid - 1] = ObjectIdGetDatum(RelationRelationId);
  values[Anum_pg_description_objsubid - 1] = Int32GetDatum(column);
  values[Anum_pg_description_description - 1] = CStringGetTextDatum(text);
  HeapTuple row = heap_form_tuple(RelationGetDescr(description), values, nulls);
  CatalogTupleInsertWithInfo(description, row, indexes);
  heap_freetuple(row);
}

}  // namespace

void comment_on(const char *schema, const char *name) {
  const RelationComment *relation =
      std::find_if(std::begin(comments), std::end(comments),
                   [name](const RelationComment &it) { return strcmp(it.name, name) == 0; });
  if (relation == std::end(comments)) return;
  const Oid oid = get_relname_relid(name, get_namespace_oid(schema, false));
  DeleteComments(oid, RelationRelationId, 0);
  Relation description = table_open(DescriptionRelationId, RowExclusiveLock);
  CatalogIndexState indexes = CatalogOpenIndexes(description);
  insert_comment(description, indexes, oid, 0, relation->text);
  int number = 0;
  for (const ColumnComment &column : relation->columns)
    insert_comment(description, indexes, oid, ++number, column.text);
  CatalogCloseIndexes(indexes);
  table_close(description, RowExclusiveLock);
}

}  // namespace insula
