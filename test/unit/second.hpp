// The unit of the tests' times, in the microseconds of core/.
#pragma once

#include <cstdint>

constexpr std::int64_t second = 1'000'000;
