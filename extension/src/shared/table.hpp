// A hash table of limited room in shared memory; for the files of this folder alone.  An entry begins with its key:
// plain bytes without gaps.  Under the lock that guards the table.
#pragma once

#include "postgres.hpp"

namespace insula {

// Memory for an item of each entry of a table, which may grow a little beyond what it was made for: to be taken before
// the lock is.
template <typename Item>
Item *palloc_for_all(int room) {
  return static_cast<Item *>(MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Item) * 2 * static_cast<Size>(room)));
}

template <typename Entry>
struct SharedTable {
  using Key = decltype(Entry::key);

  HTAB *table = nullptr;  // until shared memory is there
  HASHACTION enter = HASH_ENTER_NULL;

  static Size size(long room) { return hash_estimate_size(room, sizeof(Entry)); }

  void attach(const char *name, long room) {
    HASHCTL control = {};
    control.keysize = sizeof(Key);
    control.entrysize = sizeof(Entry);
    table = create_shared_table(name, room, &control, HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
  }

  // One that this process has alone.
  void make_own(const char *name, long size) {
    HASHCTL control = {};
    control.keysize = sizeof(Key);
    control.entrysize = sizeof(Entry);
    control.hcxt = TopMemoryContext;
    table = hash_create(name, size, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
    enter = HASH_ENTER;
  }

  explicit operator bool() const { return table != nullptr; }
  long count() const { return table ? hash_get_num_entries(table) : 0; }

  Entry *find(const Key &key) const { return static_cast<Entry *>(hash_search(table, &key, HASH_FIND, nullptr)); }

  // nullptr: there is no room.  A new entry has only zeros behind its key when `start` gets it.
  template <typename Start>
  Entry *find_or_make(const Key &key, Start start) const {
    bool found;
    auto *entry = static_cast<Entry *>(hash_search(table, &key, enter, &found));
    if (!entry || found) return entry;
    memset(reinterpret_cast<char *>(entry) + sizeof(Key), 0, sizeof(Entry) - sizeof(Key));
    start(*entry);
    return entry;
  }
  Entry *find_or_make(const Key &key) const {
    return find_or_make(key, [](Entry &) {});
  }

  void remove(const Entry &entry) const { (void)hash_search(table, &entry.key, HASH_REMOVE, nullptr); }

  // The first that the predicate picks.
  template <typename Picks>
  Entry *find_if(Picks picks) const {
    HASH_SEQ_STATUS scan;
    hash_seq_init(&scan, table);
    while (auto *entry = static_cast<Entry *>(hash_seq_search(&scan))) {
      if (!picks(*entry)) continue;
      hash_seq_term(&scan);
      return entry;
    }
    return nullptr;
  }

  // A visit may remove its entry.
  template <typename Visit>
  void for_each_in(Oid database, Visit visit) const {
    (void)find_if([&](Entry &entry) {
      if (entry.key.database == database) visit(entry);
      return false;
    });
  }

  // Tenant 0: of all tenants.
  void remove_of(Oid database, std::int32_t tenant = 0) const {
    for_each_in(database, [&](const Entry &entry) {
      if (tenant == 0 || entry.key.tenant == tenant) remove(entry);
    });
  }
};

}  // namespace insula
