// Cron expressions from SQL.
#pragma once

#include "core/cron.hpp"

namespace insula {

// Raises 22023, naming the field and its fault, if the text is no cron expression.
core::Cron require_cron(const char *expression);

}  // namespace insula
