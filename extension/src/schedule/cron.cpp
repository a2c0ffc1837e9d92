// Raises the error that core/cron.hpp finds in an expression.
#include "schedule/cron.hpp"

#include "postgres.hpp"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace insula {

namespace {

// An expression can be as long as any text; a message must be short.
constexpr int most_shown = 100;

const char *shown(std::string_view text) {
  const int length = static_cast<int>(text.size());
  const int clipped = pg_mbcliplen(text.data(), length, most_shown);
  return psprintf("%.*s%s", clipped, text.data(), clipped < length ? "..." : "");
}

[[noreturn]] void refuse(const char *expression, const core::CronError &error) {
  ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid cron expression \"%s\"", shown(expression)),
                  error.field ? errdetail("In the %s field, \"%s\" %s.", error.field, shown(error.part), error.problem)
                              : errdetail("\"%s\" %s.", shown(error.part), error.problem)));
  pg_unreachable();
}

}  // namespace

core::Cron require_cron(const char *expression) {
  core::Cron cron;
  core::CronError error;
  if (!core::parse_cron(expression, &cron, &error)) refuse(expression, error);
  return cron;
}

}  // namespace insula
