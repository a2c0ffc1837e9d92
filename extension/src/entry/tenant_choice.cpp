// Reading and asking a choice of tenants.
#include "entry/tenant_choice.hpp"

#include <algorithm>

#include "entry/arguments.hpp"
#include "tenant/tenant.hpp"

namespace insula {

namespace {

const std::int32_t *numbers_of(FunctionCallInfo fcinfo, int argument, const char *name, int *count) {
  const char **ids = text_array_argument(fcinfo, argument, name, false, count);
  if (!ids) {
    *count = 0;
    return nullptr;
  }
  auto *numbers = palloc_array_of<std::int32_t>(static_cast<std::size_t>(*count));
  for (int i = 0; i < *count; ++i) {
    const Tenant *tenant = find_tenant(ids[i]);
    numbers[i] = tenant ? tenant->number : 0;
  }
  std::sort(numbers, numbers + *count);
  return numbers;
}

}  // namespace

bool TenantChoice::admits(std::int32_t number) const {
  if (only && !std::binary_search(only, only + only_count, number)) return false;
  return !std::binary_search(except, except + except_count, number);
}

TenantChoice tenant_choice_arguments(FunctionCallInfo fcinfo, int only, int except) {
  TenantChoice choice = {};
  choice.only = numbers_of(fcinfo, only, "only_tenants", &choice.only_count);
  choice.except = numbers_of(fcinfo, except, "except_tenants", &choice.except_count);
  return choice;
}

void refuse_choice_for_one() {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                  errmsg("a choice of tenants has no meaning in a call for one tenant"),
                  errhint("It is for members of insula_runner, who name no tenant.")));
  pg_unreachable();
}

}  // namespace insula
