// Cron expressions from SQL.
#pragma once

#include "core/cron.hpp"

namespace insula {

// 22023, with the field and what is wrong there, where it is none.
core::Cron require_cron(const char *expression);

}  // namespace insula
