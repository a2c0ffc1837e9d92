// The protocol of watermarks, explored: some transactions submit, claim, roll back and give back, one step
// at a time, in every order that there is.  When all are done no row that can be claimed lies below its
// watermark.  Each rule of watermarks.hpp that is left out hides a row in some order.
#include "core/watermarks.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace insula::core {
namespace {

constexpr int max_rows = 4;
constexpr int max_submitters = 3;
constexpr int max_claimers = 3;

// Mistakes of a transaction, to see that the exploration would find them.
enum class Fault {
  none,
  reads_after_snapshot,    // a search reads the watermarks after it has taken its snapshot
  lowers_before_commit,    // a submission publishes before others can see its rows
  keeps_after_abort,       // a claim that is rolled back does not make the watermarks forgotten
  ignores_lowerings,       // a raise is not bounded by what was lowered since the search has read
  raises_over_a_gap,       // a claim begins behind rows that it does not see, and says that it has looked at them
  ends_where_planned,      // the same, and it does not look from the watermark on where it has found too little
  keeps_after_giving_back  // a claim that gives a row back does not lower the watermarks
};

struct Row {
  std::int64_t due;
  int submitter;
};

constexpr int backlog = max_submitters - 1;  // its rows are committed from the beginning

// The transactions of one exploration.
struct Cast {
  std::vector<Row> rows;
  std::vector<int> claims;  // how many rows each claimer wants
  Fault fault = Fault::none;
};

enum class End : std::uint8_t { open, committed, rolled_back };

struct Submitter {
  std::uint8_t step;
  End end;
};

enum class Claiming : std::uint8_t {
  reads,
  takes_snapshot,
  plans,
  looks,
  moves,
  walks,
  walks_back,
  ends,
  publishes,
  done
};

struct Claimer {
  Claiming step;
  End end;
  std::uint8_t taken;            // rows, by bits
  std::uint8_t seen_submitters;  // what the snapshot shows
  std::uint8_t seen_claimers;
  std::uint8_t gives_back;  // a row, from 1 on; 0: none
  std::uint8_t tries;
  std::uint64_t version;
  std::int64_t low;  // the watermark
  std::int64_t beginning;
  std::int64_t from;  // where the walk begins
  std::int64_t to;    // where it is planned to end
  std::int64_t at;    // it has come to entries from there on
  Searched searched;
};

struct State {
  Watermarks marks;
  Submitter submitters[max_submitters];
  Claimer claimers[max_claimers];
  std::int8_t held_by[max_rows];     // by claimer, also after its commit; -1: none
  std::int8_t changed_by[max_rows];  // by the claimer that gave the row back; -1: none
};

constexpr std::uint64_t filter = 1;
constexpr std::int32_t lane = 0;

// Rows of a walk lie below.
constexpr std::int64_t end_of_queue = watermark_end;

std::int64_t watermark_of(const Watermarks &marks) {
  std::int64_t due = watermark_unknown;
  marks.for_each([&](const Watermark &mark) { due = mark.due; });
  return due;
}

class Exploration {
 public:
  explicit Exploration(const Cast &cast) : cast_(cast) {}

  // Whether some order of steps ends with a hidden row; `watermark`: what is known at first.
  bool hides_a_row(std::int64_t watermark) {
    State state;
    std::memset(static_cast<void *>(&state), 0, sizeof state);
    state.marks.start(100);
    if (watermark != watermark_unknown) state.marks.raise({filter, lane, watermark_unknown, watermark}, 100, false);
    for (Submitter &submitter : state.submitters) submitter.step = 3;
    for (const Row &row : cast_.rows)
      if (row.submitter != backlog) state.submitters[row.submitter].step = 0;
    state.submitters[backlog].end = End::committed;
    std::memset(state.held_by, -1, sizeof state.held_by);
    std::memset(state.changed_by, -1, sizeof state.changed_by);
    return explore(state);
  }

 private:
  int claimers() const { return static_cast<int>(cast_.claims.size()); }

  bool explore(const State &state) {
    const std::string_view bytes(reinterpret_cast<const char *>(&state), sizeof state);
    if (!seen_.insert(std::hash<std::string_view>()(bytes)).second) return false;
    bool over = true;
    for (int i = 0; i < max_submitters; ++i) {
      if (state.submitters[i].step == 3) continue;
      over = false;
      if (step_submitter(state, i)) return true;
    }
    for (int i = 0; i < claimers(); ++i) {
      if (state.claimers[i].step == Claiming::done) continue;
      over = false;
      if (step_claimer(state, i)) return true;
    }
    return over && hides(state);
  }

  bool hides(const State &state) const {
    for (std::size_t i = 0; i < cast_.rows.size(); ++i)
      if (state.submitters[cast_.rows[i].submitter].end == End::committed && state.held_by[i] < 0 &&
          cast_.rows[i].due < watermark_of(state.marks))
        return true;
    return false;
  }

  // Inserts, commits or rolls back, publishes.
  bool step_submitter(const State &before, int number) {
    State state = before;
    Submitter &self = state.submitters[number];
    const int step = self.step++;
    const bool early = cast_.fault == Fault::lowers_before_commit;
    if (step == 0) return explore(state);
    if (step == (early ? 1 : 2)) {
      if (early || self.end == End::committed) state.marks.lower(first_due_of(number));
      return explore(state);
    }
    self.end = End::committed;
    if (explore(state)) return true;
    self.end = End::rolled_back;
    return explore(state);
  }

  std::int64_t first_due_of(int submitter) const {
    std::int64_t due = watermark_end;
    for (const Row &row : cast_.rows)
      if (row.submitter == submitter) due = std::min(due, row.due);
    return due;
  }

  bool step_claimer(const State &before, int number) {
    State state = before;
    Claimer &self = state.claimers[number];
    const bool late = cast_.fault == Fault::reads_after_snapshot;
    switch (self.step) {
      case Claiming::reads:
        late ? take_snapshot(state, self) : read(state, self);
        self.step = Claiming::takes_snapshot;
        return explore(state);
      case Claiming::takes_snapshot:
        late ? read(state, self) : take_snapshot(state, self);
        self.step = Claiming::plans;
        return explore(state);
      case Claiming::plans:
      case Claiming::looks:
      case Claiming::moves:
        plan(state, number);
        return explore(state);
      case Claiming::walks:
      case Claiming::walks_back:
        walk(state, number);
        return explore(state);
      case Claiming::ends:
        return end(state, number);
      default:
        publish(state, self);
        self.step = Claiming::done;
        return explore(state);
    }
  }

  void read(const State &state, Claimer &self) const {
    self.version = state.marks.version();
    self.low = watermark_of(state.marks);
  }

  void take_snapshot(const State &state, Claimer &self) const {
    for (int i = 0; i < max_submitters; ++i)
      if (state.submitters[i].end == End::committed) self.seen_submitters |= static_cast<std::uint8_t>(1 << i);
    for (int i = 0; i < claimers(); ++i)
      if (state.claimers[i].end == End::committed) self.seen_claimers |= static_cast<std::uint8_t>(1 << i);
  }

  // Chooses the start of the walk: the watermark, or behind the claims that are under way.
  void plan(State &state, int number) const {
    Claimer &self = state.claimers[number];
    if (self.step == Claiming::plans) {
      self.beginning = state.marks.beginning(filter, lane);
      if (self.beginning == watermark_unknown || self.tries++ == 2) return begin_walk(self, self.low, self.low);
      self.step = Claiming::looks;
    } else if (self.step == Claiming::looks) {
      self.to = due_of_entry_behind(state, self.beginning, cast_.claims[number]);
      if (self.to == end_of_queue) return begin_walk(self, self.beginning, self.beginning);
      self.step = Claiming::moves;
    } else if (state.marks.move_beginning({filter, lane, self.beginning, self.to}, read_version(state, self))) {
      begin_walk(self, self.beginning, self.to);
    } else {
      self.step = Claiming::plans;
    }
  }

  std::uint64_t read_version(const State &state, const Claimer &self) const {
    const bool now = cast_.fault == Fault::raises_over_a_gap || cast_.fault == Fault::ends_where_planned;
    return now ? state.marks.version() : self.version;
  }

  static void begin_walk(Claimer &self, std::int64_t from, std::int64_t to) {
    self.from = self.at = from;
    self.to = to;
    self.step = Claiming::walks;
  }

  // Entries stay where a row has been taken; one that was given back has another entry.
  std::int64_t due_of_entry_behind(const State &state, std::int64_t from, int others) const {
    std::vector<std::int64_t> dues;
    for (std::size_t i = 0; i < cast_.rows.size(); ++i) {
      if (state.submitters[cast_.rows[i].submitter].step == 0 || cast_.rows[i].due < from) continue;
      dues.insert(dues.end(), state.changed_by[i] < 0 ? 1 : 2, cast_.rows[i].due);
    }
    std::sort(dues.begin(), dues.end());
    return others < static_cast<int>(dues.size()) ? dues[static_cast<std::size_t>(others)] : end_of_queue;
  }

  // Goes on to the next entry that the index holds at this moment, and takes its row if it can.
  void walk(State &state, int number) const {
    Claimer &self = state.claimers[number];
    const bool back = self.step == Claiming::walks_back;
    const int row = next_row(state, self.at, back ? self.from : end_of_queue);
    if (row < 0) return end_walk(self);
    self.at = cast_.rows[row].due + 1;
    if (!may_take(state, self, row)) return;
    state.held_by[row] = static_cast<std::int8_t>(number);
    self.taken |= static_cast<std::uint8_t>(1 << row);
    if (__builtin_popcount(self.taken) < cast_.claims[number]) return;
    const bool gap = back || cast_.fault == Fault::raises_over_a_gap;
    self.searched = {filter, lane, gap ? self.low : self.from,
                     back ? cast_.rows[row].due : std::max(cast_.rows[row].due, self.to)};
    self.step = Claiming::ends;
  }

  int next_row(const State &state, std::int64_t from, std::int64_t to) const {
    int next = -1;
    for (int i = 0; i < static_cast<int>(cast_.rows.size()); ++i) {
      const std::int64_t due = cast_.rows[i].due;
      const bool inserted = state.submitters[cast_.rows[i].submitter].step > 0;
      if (inserted && due >= from && due < to && (next < 0 || due < cast_.rows[next].due)) next = i;
    }
    return next;
  }

  void end_walk(Claimer &self) const {
    if (self.step == Claiming::walks && self.from > self.low && cast_.fault != Fault::ends_where_planned) {
      self.at = self.low;
      self.step = Claiming::walks_back;
      return;
    }
    self.searched = {filter, lane, self.low, watermark_end};
    self.step = Claiming::ends;
  }

  bool may_take(const State &state, const Claimer &self, int row) const {
    if (!(self.seen_submitters >> cast_.rows[row].submitter & 1) || state.held_by[row] >= 0) return false;
    return state.changed_by[row] < 0 || (self.seen_claimers >> state.changed_by[row] & 1);
  }

  bool end(State &state, int number) {
    Claimer &self = state.claimers[number];
    self.step = Claiming::publishes;
    self.end = End::committed;
    if (explore(state)) return true;
    if (!self.taken) return false;
    State gives_back = state;
    const int row = __builtin_ctz(self.taken);
    gives_back.claimers[number].gives_back = static_cast<std::uint8_t>(row + 1);
    gives_back.held_by[row] = -1;
    gives_back.changed_by[row] = static_cast<std::int8_t>(number);
    if (explore(gives_back)) return true;
    self.end = End::rolled_back;
    for (int i = 0; i < max_rows; ++i)
      if (self.taken >> i & 1) state.held_by[i] = -1;
    return explore(state);
  }

  void publish(State &state, const Claimer &self) const {
    if (self.end == End::rolled_back) {
      if (cast_.fault != Fault::keeps_after_abort) state.marks.forget();
      return;
    }
    const bool unbounded = cast_.fault == Fault::ignores_lowerings;
    state.marks.raise(self.searched, unbounded ? state.marks.version() : self.version, false);
    if (self.gives_back && cast_.fault != Fault::keeps_after_giving_back)
      state.marks.lower(cast_.rows[self.gives_back - 1].due);
  }

  const Cast &cast_;
  std::unordered_set<std::size_t> seen_;  // hashes of states
};

// One transaction's rows lie before, between or behind those of another.
const std::vector<std::vector<Row>> ways_to_lie = {
    {{10, 0}, {20, 1}, {30, 0}}, {{10, 0}, {20, 0}, {30, 1}}, {{20, 0}, {10, 1}, {30, 1}}, {{20, 0}, {30, 0}, {10, 1}}};
const std::int64_t beginnings[] = {watermark_unknown, 15, watermark_end};

bool hides(const std::vector<Row> &rows, std::int64_t watermark, const std::vector<int> &claims, Fault fault) {
  const Cast cast = {rows, claims, fault};
  return Exploration(cast).hides_a_row(watermark);
}

bool hides(const std::vector<std::vector<Row>> &ways, const std::vector<int> &claims, Fault fault) {
  for (const auto &rows : ways)
    for (const std::int64_t watermark : beginnings)
      if (hides(rows, watermark, claims, fault)) return true;
  return false;
}

TEST(Watermarks, HideNothingInAnyOrder) { EXPECT_FALSE(hides(ways_to_lie, {1, 2}, Fault::none)); }

TEST(Watermarks, HideNothingFromClaimsOfMore) {
  if (!getenv("INSULA_SOAK")) GTEST_SKIP() << "a minute long: for INSULA_SOAK=1";
  EXPECT_FALSE(hides(ways_to_lie, {2, 2}, Fault::none));
  EXPECT_FALSE(hides({{10, backlog}, {20, 0}, {30, backlog}}, 10, {1, 1, 1}, Fault::none));
}

// Claims of a backlog begin behind each other, and end in any order.
TEST(Watermarks, HideNothingOfABacklog) {
  const std::vector<Row> rows = {{10, backlog}, {20, backlog}, {30, backlog}, {40, backlog}};
  EXPECT_FALSE(hides(rows, 10, {1, 1, 1}, Fault::none));
}

// Four claims, of which the one that is rolled back frees what the others have begun behind.
TEST(Watermarks, ForgetStretches) {
  Watermarks marks = {};
  marks.start(100);
  marks.raise({filter, lane, watermark_unknown, 10}, 100, false);
  marks.raise({filter, lane, 20, 30}, 100, false);
  marks.forget();
  const std::uint64_t version = marks.version();
  marks.raise({filter, lane, watermark_unknown, 20}, version, false);
  EXPECT_EQ(watermark_of(marks), 20);
}

// A claim that has moved the beginning and cannot tell what it has searched.
TEST(Watermarks, BeginAgainWhereNothingWasTold) {
  Watermarks marks = {};
  marks.start(100);
  marks.raise({filter, lane, watermark_unknown, 10}, 100, false);
  ASSERT_TRUE(marks.move_beginning({filter, lane, 10, 20}, 100));
  EXPECT_EQ(marks.beginning(filter, lane), 20);
  EXPECT_FALSE(marks.move_beginning({filter, lane, 10, 30}, 100)) << "another claim begins there";
  for (int i = 0; i <= Watermarks::lowerings_kept; ++i) marks.lower(40);
  EXPECT_FALSE(marks.move_beginning({filter, lane, 20, 30}, 100)) << "nothing tells what has become claimable";
  marks.raise({filter, lane, 10, 20}, 100, false);
  EXPECT_EQ(marks.beginning(filter, lane), 10);
  ASSERT_TRUE(marks.move_beginning({filter, lane, 10, 20}, marks.version()));
  marks.forget_beginning(filter, lane);
  EXPECT_EQ(marks.beginning(filter, lane), 10) << "a claim has left rows that it was refused";
  const std::uint64_t version = marks.version();
  marks.lower(15);
  EXPECT_FALSE(marks.move_beginning({filter, lane, 10, 20}, version)) << "a row in between is not seen";
}

TEST(Watermarks, NeedEachOfTheirRules) {
  for (const Fault fault :
       {Fault::reads_after_snapshot, Fault::lowers_before_commit, Fault::keeps_after_abort, Fault::ignores_lowerings,
        Fault::raises_over_a_gap, Fault::ends_where_planned, Fault::keeps_after_giving_back})
    EXPECT_TRUE(hides(ways_to_lie, {1, 2}, fault)) << static_cast<int>(fault);
}

}  // namespace
}  // namespace insula::core
