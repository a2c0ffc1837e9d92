// Which tenants a worker of all of them wants to be served now.
#pragma once

#include <cstdint>

#include "postgres.hpp"

namespace insula {

struct TenantChoice {
  const std::int32_t *only;  // nullptr: any
  int only_count;
  const std::int32_t *except;
  int except_count;

  bool admits(std::int32_t number) const;
  bool is_any() const { return !only && except_count == 0; }
};

// Of two arrays of tenant ids, NULL for none; ids of no tenant stand for nobody.
TenantChoice tenant_choice_arguments(FunctionCallInfo fcinfo, int only, int except);

// A call for one tenant has nobody to choose among.
[[noreturn]] void refuse_choice_for_one();

}  // namespace insula
