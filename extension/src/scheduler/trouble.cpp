// Tenants that are set aside because their visit has failed. insula.tenant_error keeps the error,
// and each failure lengthens the pause before the next visit, so that such a tenant costs the
// others nothing.  The count of failures is stored too, so that the next scheduler keeps the pause.
// A tenant can fail and mend itself as often as it likes: the log tells of each of these acts once an
// hour.
#include <algorithm>

#include "schedule/agenda.hpp"
#include "scheduler/scheduler.hpp"
#include "shared/clock.hpp"
#include "shared/overhead.hpp"
#include "tenant/tenant.hpp"

namespace insula {

namespace {

constexpr std::int64_t longest_backoff = 300 * USECS_PER_SEC;
// A scheduler's death counts for the next ones until the tenant has been served for so long.
constexpr std::int64_t deaths_are_remembered = USECS_PER_HOUR;
constexpr int most_failures = 1000;  // higher counts change nothing

struct Trouble {
  std::int32_t tenant;
  int failures;  // visits that failed in a row
  bool logged;   // the log has told, or has a scheduler before
  bool for_deaths;
  bool over;            // its visits succeed again, but deaths are remembered
  TimestampTz died_at;  // or the end of the pause after it; DT_NOBEGIN: none has
  TimestampTz until;
};

// The first failure may be that of one schedule: a visit at once can serve the others.
std::int64_t backoff_after(int failures) {
  return failures < 2 ? 0 : std::min(longest_backoff, USECS_PER_SEC << std::min(failures - 2, 20));
}

HTAB *troubles = nullptr;

Trouble *find_trouble(std::int32_t tenant) {
  return troubles ? static_cast<Trouble *>(hash_search(troubles, &tenant, HASH_FIND, nullptr)) : nullptr;
}

Trouble *make_trouble(std::int32_t tenant) {
  if (!troubles) {
    HASHCTL control = {};
    control.keysize = sizeof(std::int32_t);
    control.entrysize = sizeof(Trouble);
    control.hcxt = TopMemoryContext;
    troubles = hash_create("insula troubled tenants", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  }
  bool found;
  auto *trouble = static_cast<Trouble *>(hash_search(troubles, &tenant, HASH_ENTER, &found));
  if (!found) {
    trouble->failures = 0;
    trouble->logged = trouble->for_deaths = trouble->over = false;
    trouble->died_at = trouble->until = DT_NOBEGIN;
  }
  return trouble;
}

// For a tenant of which shared memory remembers nothing, or nothing yet.
bool may_log_by_this_process(std::int32_t tenant, LogSubject subject) {
  struct Logged {
    std::int32_t tenant;
    std::int64_t at[log_subjects];  // in passing time
  };
  static HTAB *logged = nullptr;
  if (!logged) {
    HASHCTL control = {};
    control.keysize = sizeof(std::int32_t);
    control.entrysize = sizeof(Logged);
    control.hcxt = TopMemoryContext;
    logged = hash_create("insula tenants in the log", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
  }
  bool found;
  auto *entry = static_cast<Logged *>(hash_search(logged, &tenant, HASH_ENTER, &found));
  if (!found) std::fill(entry->at, entry->at + log_subjects, PG_INT64_MIN / 2);
  std::int64_t *at = &entry->at[static_cast<int>(subject)];
  if (passing_time() - *at < between_logs) return false;
  *at = passing_time();
  return true;
}

bool is_to_log(std::int32_t tenant, LogSubject subject) {
  return may_log(tenant, subject) && may_log_by_this_process(tenant, subject);
}

// An error that stays the same is written again after a minute.
void put_error(std::int32_t tenant, TimestampTz now, const char *message, int failures) {
  static constexpr Statement put_error = {
      "put_error",
      R"(
        INSERT INTO insula.tenant_error
        SELECT tenant_no, $2, $3, $4
        FROM insula.tenant
        WHERE tenant_no = $1 AND NOT EXISTS (
          SELECT
          FROM insula.tenant_error e
          WHERE e.tenant_no = $1 AND e.error = $3 AND e.failures = $4 AND e.at <= $2 AND e.at > $2 - interval '1 min')
        ON CONFLICT (tenant_no) DO UPDATE SET
          at = EXCLUDED.at, error = EXCLUDED.error, failures = EXCLUDED.failures)",
      {INT4OID, TIMESTAMPTZOID, TEXTOID, INT4OID},
  };
  const Session session = open_session();
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant)).add(TimestampTzGetDatum(now)).add_text(message).add(Int32GetDatum(failures));
  (void)run(put_error, arguments);
  close_session(session);
}

constexpr Statement delete_error = {
    "delete_error",
    "DELETE FROM insula.tenant_error WHERE tenant_no = $1",
    {INT4OID},
};

constexpr Statement forget_failures = {
    "forget_failures",
    "UPDATE insula.tenant_error SET failures = 0 WHERE tenant_no = $1",
    {INT4OID},
};

void run_for(std::int32_t tenant, const Statement &statement) {
  const Session session = open_session();
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant));
  (void)run(statement, arguments);
  close_session(session);
}

}  // namespace

void read_troubled_tenants() {
  static constexpr Statement read_errors = {
      "read_errors",
      "SELECT tenant_no, at, failures, until, greatest(died_at, until) FROM insula.tenant_error",
      {},
  };
  const Session session = open_session();
  const auto rows = run(read_errors);
  for (std::uint64_t i = 0; i < rows; ++i) {
    Trouble *trouble = make_trouble(get_int32(i, 1));
    trouble->failures = get_int32(i, 3);
    trouble->logged = true;
    const TimestampTz at = DatumGetTimestampTz(get_datum(i, 2));
    const TimestampTz pause = is_null(i, 4) ? DT_NOBEGIN : DatumGetTimestampTz(get_datum(i, 4));
    trouble->for_deaths = pause > clock_now();
    trouble->died_at = is_null(i, 5) ? DT_NOBEGIN : DatumGetTimestampTz(get_datum(i, 5));
    trouble->over = trouble->failures == 0 && !trouble->for_deaths;
    trouble->until = trouble->for_deaths ? pause : at + backoff_after(trouble->failures);
  }
  close_session(session);
}

bool is_set_aside(std::int32_t tenant) {
  const Trouble *trouble = find_trouble(tenant);
  return trouble && !trouble->over;
}

bool is_aside_for_deaths(std::int32_t tenant) {
  const Trouble *trouble = find_trouble(tenant);
  return trouble && trouble->for_deaths;
}

void read_trouble_again(std::int32_t tenant) {
  ErrorData *error;
  const Trouble before = *find_trouble(tenant);
  hash_search(troubles, &tenant, HASH_REMOVE, nullptr);
  if (!in_transaction(read_troubled_tenants, &error)) *make_trouble(tenant) = before;
}

TimestampTz set_aside_until(std::int32_t tenant) {
  const Trouble *trouble = find_trouble(tenant);
  // A pause longer than the longest dates from before the clock was set back.
  const std::int64_t longest = trouble && trouble->for_deaths ? USECS_PER_DAY + USECS_PER_HOUR : longest_backoff;
  return trouble && trouble->until <= clock_now() + longest ? trouble->until : DT_NOBEGIN;
}

void note_trouble(std::int32_t tenant, const char *message) {
  Trouble *trouble = make_trouble(tenant);
  if (!trouble->logged && is_to_log(tenant, LogSubject::failing_schedule)) {
    ereport(LOG, (errmsg("a schedule of tenant %s fails: %s", tenant_in_log(tenant), message)));
    trouble->logged = true;
  }
  trouble->failures = 1;
  trouble->over = false;
  put_error(tenant, clock_now(), message, trouble->failures);
}

TimestampTz set_aside(std::int32_t tenant, const ErrorData *error) {
  forget_agenda(tenant);
  Trouble *trouble = make_trouble(tenant);
  const TimestampTz now = clock_now();
  if (!trouble->logged && is_to_log(tenant, LogSubject::set_aside)) {
    ereport(LOG,
            (errcode(error->sqlerrcode), errmsg("tenant %s is set aside: %s", tenant_in_log(tenant), error->message)));
    trouble->logged = true;
  }
  trouble->failures = std::min(trouble->failures + 1, most_failures);
  trouble->until = now + backoff_after(trouble->failures);
  const int failures = trouble->failures;
  const char *message = error->message;
  ErrorData *another;
  (void)in_transaction([&] { put_error(tenant, now, message, failures); }, &another);
  trouble->for_deaths = trouble->over = false;
  return trouble->until;
}

void note_death(std::int32_t tenant) {
  static constexpr Statement put_death = {
      "put_death",
      R"(
        INSERT INTO insula.tenant_error AS e (tenant_no, at, error, failures, deaths, died_at)
        SELECT tenant_no, $2, 'a scheduler has died in its turn', 0, 1, $2
        FROM insula.tenant
        WHERE tenant_no = $1
        ON CONFLICT (tenant_no) DO UPDATE SET
          at = EXCLUDED.at, error = EXCLUDED.error, died_at = EXCLUDED.died_at,
          (deaths, until) = (
            SELECT d, CASE WHEN d >= 3
              THEN EXCLUDED.died_at + least(interval '5 min' * power(2, least(d - 3, 20)), interval '24 h') END
            FROM (
              SELECT CASE WHEN greatest(e.died_at, e.until) > EXCLUDED.died_at - interval '1 h'
                THEN e.deaths + 1 ELSE 1 END) x(d))
        RETURNING deaths, until::text)",
      {INT4OID, TIMESTAMPTZOID},
  };
  if (!find_tenant(tenant)) return;
  const Session session = open_session();
  Arguments arguments;
  arguments.add(Int32GetDatum(tenant)).add(TimestampTzGetDatum(clock_now()));
  if (run(put_death, arguments) > 0 && !is_null(0, 2)) {
    ereport(LOG, (errmsg("tenant %s is set aside until %s: %d schedulers have died in its turn", tenant_in_log(tenant),
                         get_text(0, 2), get_int32(0, 1)),
                  errhint("With insula.resume_tenant() it has its turns again at once.")));
    invalidate_tenants();
  } else {
    ereport(LOG, (errmsg("a scheduler has died in the turn of tenant %s", tenant_in_log(tenant))));
  }
  close_session(session);
}

TimestampTz deaths_are_forgotten_at(std::int32_t tenant) {
  const Trouble *trouble = find_trouble(tenant);
  return trouble && trouble->over ? trouble->died_at + deaths_are_remembered : DT_NOEND;
}

void no_longer_aside(std::int32_t tenant) {
  Trouble *trouble = find_trouble(tenant);
  if (!trouble) return;
  const bool was_over = trouble->over;
  if (!was_over && trouble->logged && is_to_log(tenant, LogSubject::served_again))
    ereport(LOG, (errmsg("tenant %s is served again", tenant_in_log(tenant))));
  trouble->over = true;
  trouble->for_deaths = trouble->logged = false;
  trouble->failures = 0;
  trouble->until = DT_NOBEGIN;
  ErrorData *error;
  if (trouble->died_at > clock_now() - deaths_are_remembered) {
    if (!was_over) (void)in_transaction([&] { run_for(tenant, forget_failures); }, &error);
    return;
  }
  (void)in_transaction([&] { run_for(tenant, delete_error); }, &error);
  hash_search(troubles, &tenant, HASH_REMOVE, nullptr);
}

}  // namespace insula
