// From where on claims search one tenant's queue.  Finished work leaves dead entries in the queue's index,
// which stay as long as a snapshot may see them; all of them lie before the first row that can be claimed.
// So for each filter of task keys and each lane there is a watermark: no row that lies below it is claimable.
//
// The rules, which make it true whenever no transaction is between its commit and its publication:
// - a search reads the watermarks before it takes its snapshot;
// - what it has found out is published after its commit, never after an abort;
// - a transaction that makes a row claimable lowers the watermarks after its commit;
// - a transaction that has held rows which are claimable after its end makes all watermarks forgotten, since
//   searches may have passed over the rows that it held;
// - a raise says from where to where the search has looked, and goes no further than the lowest lowering that
//   came after the search has read; it counts once the watermark has come to where it begins.
// test/unit/watermarks_test.cpp explores all interleavings of small sets of transactions.
//
// Claims that run at the same time and begin at the same watermark walk over each other's rows.  So each may say
// where it means to end, and the next begins there.  That place is a hint: a claim that finds too little behind it
// looks from the watermark on as well.
//
// It has no lock of its own and no pointers: it lies in shared memory.  Where nothing is known a search starts
// at the beginning.
#pragma once

#include <cstdint>
#include <limits>

namespace insula::core {

inline constexpr std::int64_t watermark_unknown = std::numeric_limits<std::int64_t>::min();
inline constexpr std::int64_t watermark_end = std::numeric_limits<std::int64_t>::max();  // nothing is claimable

struct Watermark {
  std::uint64_t filter;
  std::int32_t lane;
  std::int64_t due;
  std::int64_t ahead;  // claims under way take what lies before
};

// Of a filter and a lane, the stretch that a search has looked through: nothing claimable is left in it.
struct Searched {
  std::uint64_t filter;
  std::int32_t lane;
  std::int64_t from;
  std::int64_t to;  // not included
};

class Watermarks {
 public:
  static constexpr int room = 12;        // for watermarks of filters
  static constexpr int limits_room = 4;  // besides, for those of single limits
  static constexpr int lowerings_kept = 32;
  static constexpr int stretches_kept = 8;

  // `version`: beyond what any search has read that may still publish.
  void start(std::uint64_t version) noexcept;

  // Counts lowerings; a search hands back what it has read.
  std::uint64_t version() const noexcept { return version_; }

  void raise(Searched searched, std::uint64_t read_version, bool of_limit) noexcept;
  void lower(std::int64_t due) noexcept;
  void forget() noexcept;
  // Those that `forgets` says, and all of limits, which are few.
  template <typename Forgets>
  void forget_if(Forgets forgets) noexcept {
    int kept = 0;
    for (int i = 0; i < count_; ++i)
      if (!forgets(marks_[i])) marks_[kept++] = marks_[i];
    forget();
    count_ = kept;
  }

  // Where a claim begins that does not want to walk over others' rows; watermark_unknown: there is nothing to begin
  // behind.
  std::int64_t beginning(std::uint64_t filter, std::int32_t lane) const noexcept;
  // The next claim begins at `to`; false: another claim has said so first, or since this one has read a row before
  // `to` has become claimable, which it may not see.
  bool move_beginning(const Searched &planned, std::uint64_t read_version) noexcept;
  // The next claims begin at the watermarks: a claim that has moved the beginning has not told what it searched.
  void forget_beginnings() noexcept;

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
  std::int64_t lowerings_[lowerings_kept];  // the last of them, by version
  Watermark marks_[room + limits_room];     // of filters, then of limits
  int count_;
  int limits_count_;
  Searched stretches_[stretches_kept];  // that begin above their watermark
  int stretch_count_;
  int next_;  // to be replaced, where there is no room
  int next_limit_;
};

}  // namespace insula::core
