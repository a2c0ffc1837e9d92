// The words of SQL texts on a tenant's tables: the lists of codes.hpp, and what several statements have in common.
//
// How the texts are written: a row is found by an id from elsewhere as `w.id = ANY (ARRAY[u.id])`.  So the planner can
// only look rows up by id; a plain equality would let it scan the whole table, if the plan was made while that was
// small.  For the same reason elements are found from their groups in a LATERAL query with OFFSET 0, which the planner
// does not pull up.
#include "spi/words.hpp"
#include "storage/codes.hpp"

namespace insula {

namespace {

#define STATE_WORD(name, number) {"state." #name, nullptr, number},
#define LANE_WORD(name, number) {"lane." #name, nullptr, number},
#define KIND_WORD(name, letter) {"kind." #name, #letter},

constexpr Word words[] = {
    INSULA_STATES(STATE_WORD) INSULA_LANES(LANE_WORD) INSULA_KINDS(KIND_WORD){"lane.free", nullptr, lanes_free},

    // The lane of `w` when it becomes ready; the same, or where it is kept while it is paused.
    {"open_lane", "CASE WHEN w.limit_key IS NULL THEN -w.priority ELSE {lane.limited} - w.priority END"},
    {"ready_lane", "CASE WHEN w.paused_at IS NOT NULL THEN {lane.paused} ELSE {open_lane} END"},
    // Whether `w` is claimable.
    {"is_ready", "w.lane < {lane.later}"},

    // Finds one row of a lane, from a place on.
    {"probe", "SELECT 1 FROM {work} WHERE lane = $1 AND due >= $2"},

    // Groups `g` with their elements `e`.
    {"elements", R"({work} g, LATERAL (
      SELECT q.* FROM {work} q WHERE q.id >= g.first_element AND q.id < g.first_element + g.span OFFSET 0) e)"},

    // Whether a group can have elements which have not ended.
    {"open_groups", "g.state < {state.completed}"},

    // A task that is to run anew forgets its former runs.
    {"as_never_run", R"(lease = NULL, attempt = 0, started_at = NULL, finished_at = NULL, worker = NULL, error = NULL,
      output = NULL, paused_at = NULL, event = NULL, waits_for = NULL, child = NULL)"},

    // The columns of a TaskRow; see read_task_rows.
    {"task_header", R"(w.id, w.head, w.def, w.task, w.key, w.state, w.attempt, w.lease, w.started_at, w.worker, w.due,
      w.deadline, w.parent, w.parent_head, w.child, coalesce(w.element, -1), w.limit_key)"},
};

constexpr Words all_words = {words, lengthof(words)};

}  // namespace

const Words &storage_words() { return all_words; }

}  // namespace insula
