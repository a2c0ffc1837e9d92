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

// What a transaction gets wrong, to see that the exploration would tell.
enum class Fault {
  none,
  reads_after_snapshot,    // a search reads the watermarks after it has taken its snapshot
  lowers_before_commit,    // a submission publishes before others can see its rows
  keeps_after_abort,       // a claim that is rolled back does not make the watermarks forgotten
  ignores_lowerings,       // a raise is not bounded by what was lowered since the search has read
  keeps_after_giving_back  // a claim that gives a row back does not lower the watermarks
};

struct Row {
  std::int64_t due;
  int submitter;
};

// The transactions of one exploration.
struct Cast {
  std::vector<Row> rows;
  int submitters;
  std::vector<int> claims;  // how many rows each claimer wants
  Fault fault = Fault::none;
};

enum class End : std::uint8_t { open, committed, rolled_back };

struct Submitter {
  std::uint8_t step;
  End end;
};

enum class Claiming : std::uint8_t { reads, takes_snapshot, walks, ends, publishes, done };

struct Claimer {
  Claiming step;
  End end;
  std::uint8_t taken;            // rows, by bits
  std::uint8_t seen_submitters;  // what the snapshot shows
  std::uint8_t seen_claimers;
  std::uint8_t gives_back;  // a row, from 1 on; 0: none
  std::uint64_t version;
  std::int64_t from;
  std::int64_t at;      // the walk has come to entries from there on
  std::int64_t raises;  // the watermark that it found
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
    if (watermark != watermark_unknown) state.marks.raise({filter, lane, watermark}, 100, false);
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
    for (int i = 0; i < cast_.submitters; ++i) {
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
        self.at = self.from;
        self.step = Claiming::walks;
        return explore(state);
      case Claiming::walks:
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
    self.from = watermark_of(state.marks);
  }

  void take_snapshot(const State &state, Claimer &self) const {
    for (int i = 0; i < cast_.submitters; ++i)
      if (state.submitters[i].end == End::committed) self.seen_submitters |= static_cast<std::uint8_t>(1 << i);
    for (int i = 0; i < claimers(); ++i)
      if (state.claimers[i].end == End::committed) self.seen_claimers |= static_cast<std::uint8_t>(1 << i);
  }

  // Goes on to the next entry that the index holds at this moment, and takes its row if it can.
  void walk(State &state, int number) const {
    Claimer &self = state.claimers[number];
    int row = -1;
    for (int i = 0; i < static_cast<int>(cast_.rows.size()); ++i) {
      const bool inserted = state.submitters[cast_.rows[i].submitter].step > 0;
      if (inserted && cast_.rows[i].due >= self.at && (row < 0 || cast_.rows[i].due < cast_.rows[row].due)) row = i;
    }
    if (row < 0) {
      self.raises = watermark_end;
      self.step = Claiming::ends;
      return;
    }
    self.at = cast_.rows[row].due + 1;
    if (!may_take(state, self, row)) return;
    state.held_by[row] = static_cast<std::int8_t>(number);
    self.taken |= static_cast<std::uint8_t>(1 << row);
    if (__builtin_popcount(self.taken) < cast_.claims[number]) return;
    self.raises = cast_.rows[row].due;
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
    if (self.raises != watermark_unknown)
      state.marks.raise({filter, lane, self.raises}, unbounded ? state.marks.version() : self.version, false);
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

int submitters_of(const std::vector<Row> &rows) {
  int last = 0;
  for (const Row &row : rows) last = std::max(last, row.submitter);
  return last + 1;
}

bool hides(const std::vector<std::vector<Row>> &ways, const std::vector<int> &claims, Fault fault) {
  for (const auto &rows : ways)
    for (const std::int64_t watermark : beginnings) {
      const Cast cast = {rows, submitters_of(rows), claims, fault};
      Exploration exploration(cast);
      if (exploration.hides_a_row(watermark)) return true;
    }
  return false;
}

TEST(Watermarks, HideNothingInAnyOrder) {
  EXPECT_FALSE(hides(ways_to_lie, {1, 2}, Fault::none));
  EXPECT_FALSE(hides(ways_to_lie, {2, 2}, Fault::none));
  EXPECT_FALSE(hides({{{10, 0}, {20, 0}}}, {1, 1, 1}, Fault::none));
}

TEST(Watermarks, NeedEachOfTheirRules) {
  for (const Fault fault : {Fault::reads_after_snapshot, Fault::lowers_before_commit, Fault::keeps_after_abort,
                            Fault::ignores_lowerings, Fault::keeps_after_giving_back})
    EXPECT_TRUE(hides(ways_to_lie, {1, 2}, fault)) << static_cast<int>(fault);
}

}  // namespace
}  // namespace insula::core
