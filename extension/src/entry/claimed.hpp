// The answer of a claim: claimed tasks as rows of a set of insula.claimed_task, or packed.
//
// A packed answer is one bytea, an insula.claimed_task[] in the binary format of the protocol
// (array_send, record_send).  Those functions take a kilobyte of memory for each field, a tenth of the
// cost of a drain; packing here takes only the memory that the answer fills.
#pragma once

#include "operation/claim_call.hpp"

extern "C" {
#include "lib/stringinfo.h"
#include "utils/tuplestore.h"
}

namespace insula {

struct ClaimedRows {
  TupleDesc desc;        // of insula.claimed_task
  Tuplestorestate *set;  // nullptr: the tasks are packed
  StringInfoData packed;
  int count;
  int kept_count;  // the count, and the length of `packed`, at the last keep
  int kept_length;
  List *waiting;         // rows that were put since the last keep
  MemoryContext memory;  // holds those rows
};

ClaimedRows claimed_set(TupleDesc desc, Tuplestorestate *set);
// Packs in the present memory context, whichever is current later.
ClaimedRows claimed_packed();

ClaimOutput output_to(ClaimedRows *rows);

// The bytea of packed tasks.
Datum claimed_bytes(ClaimedRows *rows);

}  // namespace insula
