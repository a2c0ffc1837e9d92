// The processor time that shared processes spend for a tenant: visits of schedulers, and what a tenant's share of
// a call for several takes beyond what its tasks commonly do. It is counted at once, whatever becomes of the
// transaction. A tenant that takes more than insula.max_overhead of one core rests until it has taken no more on the
// average; a second in one go is everybody's.
//
// The counts are a cache, as all of shared memory is: after a start of the server they begin anew, and without shared
// memory each process has its own. A tenant that finds no room is not counted and does not rest.
#pragma once

#include "postgres.hpp"

namespace insula {

void define_overhead_settings();

// What a share takes for this many tasks is no overhead up to this time, in microseconds.
constexpr std::int64_t common_time(int tasks) { return std::int64_t{1000} * (1 + tasks); }

void charge_overhead(std::int32_t tenant, std::int64_t microseconds);
// How long the tenant's work is put off for, in microseconds; 0: it is not.
std::int64_t rest_of(std::int32_t tenant);
// Since the start of the server, in microseconds; -1: this process does not know.
std::int64_t overhead_of(std::int32_t tenant);

// ---- under the lock of shared memory ----

void forget_overhead(std::int32_t tenant);  // of this database
void forget_overheads_of(Oid database);

}  // namespace insula
