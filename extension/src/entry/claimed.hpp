// Claimed tasks on their way to the caller: as rows of a set of insula.claimed_task, or packed.
//
// Packed is what insula.claimed_task[] looks like in the binary format of the protocol
// (array_send, record_send), as one bytea.  Written here it takes the memory that it fills,
// where those functions take a kilobyte for each field, which is a tenth of what a drain costs.
#pragma once

#include "operation/operations.hpp"

extern "C" {
#include "lib/stringinfo.h"
#include "utils/tuplestore.h"
}

namespace insula {

struct ClaimedRows {
  TupleDesc desc;        // of insula.claimed_task
  Tuplestorestate *set;  // nullptr: they are packed
  StringInfoData packed;
  int count;
  List *waiting;         // rows that are not in the set yet
  MemoryContext memory;  // where these are
};

ClaimedRows claimed_set(TupleDesc desc, Tuplestorestate *set);
// Packed in the current memory context, whichever they are put in.
ClaimedRows claimed_packed();

// What a task's lease and deadline come to is `lease_expires` at most.
// *bytes: what it takes.  False: it is to be packed, and the client's encoding lacks some of its text.
bool put_claimed(ClaimedRows *rows, const Tenant &tenant, const ClaimedTask &task, TimestampTz lease_expires,
                 std::size_t *bytes);

// To take back what was put since, or for a set since it was told to keep what it has been given.
struct ClaimedMark {
  int count;
  int length;
};
ClaimedMark announce_claimed_rows(const ClaimedRows &rows);
void take_back(ClaimedRows *rows, const ClaimedMark &mark);
void keep_claimed(ClaimedRows *rows);

// The packed tasks.
Datum claimed_bytes(ClaimedRows *rows);

}  // namespace insula
