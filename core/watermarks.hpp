// The watermarks of one tenant's queue: the places at which claims begin to search.  Finished work
// leaves dead entries in the queue's index, which stay for as long as a snapshot may see them; all
// of them lie before the first claimable row.  So each filter of task keys has a watermark in each
// lane: no row below it is claimable.
//
// These rules make that true whenever no transaction is between its commit and its publication:
// - a search reads the watermarks before it takes its snapshot;
// - its result is published after its commit, never after an abort;
// - a transaction that makes a row claimable lowers the watermarks after its commit;
// - a transaction that has held rows which are claimable after its end makes all watermarks forgotten, since
//   searches may have skipped the rows that it held;
// - a raise says from where to where the search has looked, and goes no further than the lowest lowering
//   since the search has read; it counts once the watermark has reached its beginning.
// test/unit/watermarks_test.cpp explores all interleavings of small sets of transactions.
//
// Concurrent claims that begin at the same watermark walk over each other's rows.  So each claim
// may publish the place at which it means to end, and the next claim begins there.  That place is a
// hint: a claim that finds too little behind it searches from the watermark as well.
//
// Watermarks have no lock of their own and no pointers, since they lie in shared memory.  An
// unknown watermark makes the search begin at the lane's beginning.
#pragma once

#include <cstdint>
#include <limits>

namespace insula::core {

inline constexpr std::int64_t watermark_unknown = std::numeric_limits<std::int64_t>::min();
inline constexpr std::int64_t watermark_end = std::numeric_limits<std::int64_t>::max();  // no row is claimable

struct Watermark {
  std::uint64_t filter;
  std::int32_t lane;
  std::int64_t due;
  std::int64_t ahead;  // running claims take the rows before this
};

// The stretch of a lane that a search for a filter has looked through: no claimable row is left in
// it.
struct Searched {
  std::uint64_t filter;
  std::int32_t lane;
  std::int64_t from;
  std::int64_t to;  // not included
};

class Watermarks {
 public:
  static constexpr int room = 12;        // for watermarks of filters
  static constexpr int limits_room = 4;  // more, for those of single limits
  static constexpr int lowerings_kept = 32;
  static constexpr int stretches_kept = 8;

  // `version` must exceed any version of a search that may still publish.
  void start(std::uint64_t version) noexcept;

  // Counts lowerings; a search returns the version that it has read.
  std::uint64_t version() const noexcept { return version_; }

  void raise(Searched searched, std::uint64_t read_version, bool of_limit) noexcept;
  void lower(std::int64_t due) noexcept;
  void forget() noexcept;
  // Forgets the watermarks of filters for which `forgets` is true, and all of limits, which are
  // few.
  template <typename Forgets>
  void forget_if(Forgets forgets) noexcept {
    int kept = 0;
    for (int i = 0; i < count_; ++i)
      if (!forgets(marks_[i])) marks_[kept++] = marks_[i];
    forget();
    count_ = kept;
  }

  // The place at which a claim begins if it avoids others' rows; watermark_unknown: there is no
  // place to begin at.
  std::int64_t beginning(std::uint64_t filter, std::int32_t lane) const noexcept;
  // Moves the beginning of the next claim to `to`.  False: another claim has moved it first, or a
  // row before `to` has become claimable since this claim has read, so that it may not see the row.
  bool move_beginning(const Searched &planned, std::uint64_t read_version) noexcept;
  // Lets the next claims begin at the watermarks: a claim that moved the beginning has not
  // published its search, or has passed over rows that may become claimable without a word.
  void forget_beginnings() noexcept;
  void forget_beginning(std::uint64_t filter, std::int32_t lane) noexcept;

  template <typename Visit>
  void for_each(Visit visit) const {
    for (int i = 0; i < count_; ++i) visit(marks_[i]);
    for (int i = 0; i < limits_count_; ++i) visit(marks_[room + i]);
  }

 private:
  Watermark *find(std::uint64_t filter, std::int32_t lane) noexcept;
  Watermark &make_room(bool of_limit) noexcept;
  void join_stretches(Watermark &mark) noexcept;
  std::int64_t lowest_since(std::uint64_t read_version) const noexcept;

  std::uint64_t version_;
  std::int64_t lowerings_[lowerings_kept];  // the last ones, by version
  Watermark marks_[room + limits_room];     // those of filters, then those of limits
  int count_;
  int limits_count_;
  Searched stretches_[stretches_kept];  // stretches that begin above their watermark
  int stretch_count_;
  int next_;  // the next to be replaced when there is no room
  int next_limit_;
};

}  // namespace insula::core
