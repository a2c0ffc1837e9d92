// What a transaction has pending, by subtransaction: a rollback drops the entries of its own, a commit hands them to
// the parent.  Entries lie in TopTransactionContext, in the order in which they came, so those of the current
// subtransaction are the last ones.  A member `level` is the nesting level of their subtransaction.  For the files of
// this folder alone.
//
// PendingList keeps all that it is given.  Pending has at most one entry of a key in each subtransaction: the parent
// adds an entry that it is handed to its own of the same key.  Its entries have the members `key` (plain bytes) and
// `outer`, the place of the same key's entry in an outer subtransaction (-1: there is none).
#pragma once

#include <algorithm>

#include "postgres.hpp"

extern "C" {
#include "common/hashfn.h"
}

namespace insula {

template <typename Entry>
class PendingList {
 public:
  Entry *begin() const { return entries_; }
  Entry *end() const { return entries_ + count_; }
  bool empty() const { return count_ == 0; }
  int count() const { return count_; }

  // May fail for want of memory.
  Entry &add(const Entry &entry) {
    if (count_ == room_) grow();
    entries_[count_] = entry;
    entries_[count_].level = GetCurrentTransactionNestLevel();
    return entries_[count_++];
  }

  void drop_from(int first) { count_ = first; }

  // Where the entries of the current subtransaction begin.
  int first_here() const {
    const int level = GetCurrentTransactionNestLevel();
    int first = count_;
    while (first > 0 && entries_[first - 1].level >= level) --first;
    return first;
  }

  // The parent has the entries of the current subtransaction now.
  void hand_over() {
    for (int i = first_here(); i < count_; ++i) entries_[i].level = GetCurrentTransactionNestLevel() - 1;
  }

  // At the end of the transaction, which frees the memory.
  void forget() {
    entries_ = nullptr;
    count_ = room_ = 0;
  }

 protected:
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

template <typename Entry>
class Pending : private PendingList<Entry> {
  using Key = decltype(Entry::key);
  using List = PendingList<Entry>;
  using List::count_;
  using List::entries_;
  using List::room_;

 public:
  using List::begin;
  using List::count;
  using List::empty;
  using List::end;
  using List::first_here;

  // The key's entry in the current subtransaction, made if there is none.  May fail for want of memory.
  Entry &here(const Key &key) {
    const int level = GetCurrentTransactionNestLevel();
    if (is_last(key) && entries_[count_ - 1].level == level) return entries_[count_ - 1];
    if (count_ == room_) {
      this->grow();
      places_ = nullptr;
    }
    if (!places_ && count_ >= most_searched) make_places();
    int *placed = places_ ? place_of(key) : nullptr;
    const int at = placed ? *placed : find(key);
    if (at >= 0 && entries_[at].level == level) return entries_[at];
    if (placed) *placed = count_;
    entries_[count_] = {};
    entries_[count_].key = key;
    entries_[count_].level = level;
    entries_[count_].outer = at;
    return entries_[count_++];
  }

  // Visits the key's entries in the current subtransaction and those around it.
  template <typename Visit>
  void for_each_of(const Key &key, Visit visit) const {
    for (int at = find(key); at >= 0; at = entries_[at].outer) visit(entries_[at]);
  }

  void drop_if_last(const Entry &entry) {
    if (&entry == entries_ + count_ - 1) drop_from(count_ - 1);
  }

  void drop_from(int first) {
    for (int i = count_ - 1; i >= first && places_; --i) *place_of(entries_[i].key) = entries_[i].outer;
    count_ = first;
  }

  // The parent has the entries of the current subtransaction now: `add` adds one to what it has of the same key.
  template <typename Add>
  void hand_over(Add add) {
    const int level = GetCurrentTransactionNestLevel() - 1;
    int last = first_here();
    for (int i = last; i < count_; ++i) {
      const Entry &from = entries_[i];
      int at = from.outer;
      if (at >= 0 && entries_[at].level == level) {
        add(entries_[at], from);
      } else {
        at = last++;
        entries_[at] = from;
        entries_[at].level = level;
      }
      if (places_) *place_of(entries_[at].key) = at;
    }
    count_ = last;
  }

  // At the end of the transaction, which frees the memory.
  void forget() {
    List::forget();
    places_ = nullptr;
  }

 private:
  // A transaction with more entries than these finds them by a table of places, twice as long as there is room for
  // entries: a key's innermost entry is found at its hash or behind it; -1: free.  What lies behind a key came later,
  // and so has been dropped before it.
  static constexpr int most_searched = 16;

  bool is_last(const Key &key) const { return count_ > 0 && memcmp(&entries_[count_ - 1].key, &key, sizeof key) == 0; }

  int find(const Key &key) const {
    if (is_last(key)) return count_ - 1;
    if (places_) return *place_of(key);
    int at = count_ - 1;
    while (at >= 0 && memcmp(&entries_[at].key, &key, sizeof key) != 0) --at;
    return at;
  }

  // The key's place, or a free one that it may have.
  int *place_of(const Key &key) const {
    const auto last = 2 * static_cast<std::uint32_t>(room_) - 1;  // all bits set: the room is a power of two
    std::uint32_t at = hash_bytes(reinterpret_cast<const unsigned char *>(&key), sizeof key) & last;
    while (places_[at] >= 0 && memcmp(&entries_[places_[at]].key, &key, sizeof key) != 0) at = (at + 1) & last;
    return places_ + at;
  }

  void make_places() {
    const int count = 2 * room_;
    places_ = static_cast<int *>(MemoryContextAllocHuge(TopTransactionContext, sizeof(int) * static_cast<Size>(count)));
    std::fill(places_, places_ + count, -1);
    for (int i = 0; i < count_; ++i) *place_of(entries_[i].key) = i;
  }

  int *places_ = nullptr;
};

}  // namespace insula
