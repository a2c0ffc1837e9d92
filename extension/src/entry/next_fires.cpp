// insula.next_fires: the next times at which a cron expression fires.
#include "entry/answer.hpp"
#include "entry/arguments.hpp"
#include "schedule/cron.hpp"
#include "schedule/zone.hpp"

using namespace insula;

INSULA_FUNCTION(insula_next_fires);

Datum insula_next_fires(PG_FUNCTION_ARGS) {
  constexpr int most = 1000;
  const core::Cron cron = require_cron(required_text(fcinfo, 0, "cron"));
  const core::Zone zone = require_zone(required_text(fcinfo, 1, "timezone"));
  const std::int32_t count = required_int32(fcinfo, 2, "n");
  if (count < 1 || count > most)
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("n must be between 1 and %d", most)));
  std::int64_t after = seconds_of(required_time(fcinfo, 3, "after"));

  ReturnSetInfo *result = begin_values(fcinfo);
  for (int i = 0; i < count; ++i) {
    CHECK_FOR_INTERRUPTS();
    const auto fire = core::next_fire(cron, zone, after);
    if (!fire) break;
    put_row(result, {time_field(time_of(*fire))});
    after = *fire;
  }
  return Datum{0};
}
