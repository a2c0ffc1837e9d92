// Usage: how much each workflow has done, hour by hour; see usage.cpp.
#pragma once

#include "spi/session.hpp"
#include "tenant/tenant.hpp"

namespace insula {

// Hours are counted from 1970, in UTC.

// Stores the usage of finished executions, before they are removed, and of a group's completed elements.  The caller
// holds the executions' locks, so that what is stored is what goes.
void store_usage(const Tenant &tenant, const std::int64_t *executions, int count);
void store_usage_of_elements(const Tenant &tenant, std::int64_t group);
// The same of a completed task that is to run again.
void store_usage_of_task(const Tenant &tenant, std::int64_t task);

// Merges stored usage, a bounded number of records; the caller holds the tenant's lock for retention.
void merge_usage(const Tenant &tenant);

struct Usage {
  const char *workflow;
  std::int64_t hour;
  std::int64_t started;
  std::int64_t completed;
  std::int64_t failed;
  std::int64_t cancelled;
  std::int64_t runs;
  Datum seconds;  // numeric
  std::int64_t bytes;
};
// From the first hour to the last, not included, by workflow and hour, all as of one moment; the rows of a batch are
// read with usage_row.
BatchedQuery begin_usage(const Tenant &tenant, std::int64_t first_hour, std::int64_t end_hour);
Usage usage_row(std::uint64_t row);

}  // namespace insula
