// Lists of entries in shared memory.  An entry has a link for each list that it may be in, so that it leaves
// the list without a search.  A list is plain data under the lock of what is listed.
#pragma once

namespace insula::core {

template <typename Entry>
struct Link {
  Link *previous;
  Link *next;
  Entry *entry;

  void remove() {
    previous->next = next;
    next->previous = previous;
  }
};

// Plain data; `clear` makes it a list.
template <typename Entry>
struct List {
  Link<Entry> ends;

  void clear() { ends.previous = ends.next = &ends; }
  bool empty() const { return ends.next == &ends; }
  Entry *first() const { return empty() ? nullptr : ends.next->entry; }

  void append(Entry *entry, Link<Entry> *link) {
    *link = {ends.previous, &ends, entry};
    ends.previous->next = link;
    ends.previous = link;
  }

  // `visit` may remove the entry.
  template <typename Visit>
  void for_each(Visit visit) {
    for (Link<Entry> *link = ends.next, *next; link != &ends; link = next) {
      next = link->next;
      visit(link->entry);
    }
  }

  // Until `visit` returns true; then its entry.
  template <typename Visit>
  Entry *find(Visit visit) const {
    for (const Link<Entry> *link = ends.next; link != &ends; link = link->next)
      if (visit(*link->entry)) return link->entry;
    return nullptr;
  }
};

}  // namespace insula::core
