// What a transaction has pending, by subtransaction: a rollback drops the entries of its own, a commit
// hands them to the parent.  Entries have a member `level`, the nesting level of their subtransaction, and
// lie in TopTransactionContext, in the order in which they came, so those of the current subtransaction
// are the last ones.  For the files of this folder alone.
#pragma once

#include <algorithm>

#include "postgres.hpp"

namespace insula {

template <typename Entry>
class Pending {
 public:
  Entry *begin() const { return entries_; }
  Entry *end() const { return entries_ + count_; }
  bool empty() const { return count_ == 0; }
  int count() const { return count_; }

  // The newest entry, if it is of the current subtransaction.
  Entry *last_here() const {
    return count_ > 0 && entries_[count_ - 1].level == GetCurrentTransactionNestLevel() ? &entries_[count_ - 1]
                                                                                        : nullptr;
  }

  // The entry of the current subtransaction that the predicate picks; nullptr: there is none.
  template <typename Is>
  Entry *find_here(Is is) const {
    const int level = GetCurrentTransactionNestLevel();
    for (int i = count_ - 1; i >= 0 && entries_[i].level == level; --i)
      if (is(entries_[i])) return &entries_[i];
    return nullptr;
  }

  // May fail for want of memory.
  Entry &add(const Entry &entry) {
    if (count_ == room_) grow();
    entries_[count_] = entry;
    entries_[count_].level = GetCurrentTransactionNestLevel();
    return entries_[count_++];
  }

  void drop_last() { --count_; }
  void drop_from(int first) { count_ = first; }

  // Where the entries of the current subtransaction begin.
  int first_here() const {
    const int level = GetCurrentTransactionNestLevel();
    int first = count_;
    while (first > 0 && entries_[first - 1].level >= level) --first;
    return first;
  }

  // The parent has them now, as entries of its own.
  void hand_over() {
    const int level = GetCurrentTransactionNestLevel();
    for (int i = first_here(); i < count_; ++i) entries_[i].level = level - 1;
  }

  // The same, but added to what the parent has under the same name.
  template <typename Same, typename Add>
  void hand_over(Same same, Add add) {
    const int level = GetCurrentTransactionNestLevel() - 1;
    int last = first_here();
    for (int i = last; i < count_; ++i) {
      Entry *known = std::find_if(entries_, entries_ + last,
                                  [&](const Entry &other) { return other.level == level && same(other, entries_[i]); });
      if (known != entries_ + last) {
        add(*known, entries_[i]);
        continue;
      }
      entries_[last] = entries_[i];
      entries_[last++].level = level;
    }
    count_ = last;
  }

  // At the end of the transaction, which frees the memory.
  void forget() {
    entries_ = nullptr;
    count_ = room_ = 0;
  }

 private:
  void grow() {
    const int room = room_ ? 2 * room_ : 4;
    const Size size = sizeof(Entry) * static_cast<Size>(room);
    entries_ = static_cast<Entry *>(entries_ ? repalloc_huge(entries_, size)
                                             : MemoryContextAlloc(TopTransactionContext, size));
    room_ = room;
  }

  Entry *entries_ = nullptr;
  int count_ = 0;
  int room_ = 0;
};

}  // namespace insula
