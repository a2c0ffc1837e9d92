// Legal deletion in another's hands: what is not one's own is neither emptied nor told, hostile paths and values are
// plain errors, and the administrators' log learns nothing of what was erased.
#include "attack.hpp"

namespace attacks {

namespace {

// Mallory's own execution, ended, with this context.
std::string own_ended(const std::string& context) {
  return "SELECT insula.cancel(insula.submit('w', '" + context + "'))";
}

// Each path either works or is refused in the caller's own words, as a dry run and in earnest.
Attack with_hostile_paths() {
  return bounded("EraseWithHostilePaths", Who::tenant,
                 {own_ended(R"({"a": {"b": [1, "x", null, {"c": 2}]}, "n": "x"})"),
                  R"x(DO $do$ DECLARE path text; dry boolean; BEGIN
         FOREACH path IN ARRAY ARRAY['', '$', '$.a.', '$.a ? (@ == $x)', '$.a ? (@ == $value)', '$value', '$.a) ? (@ == $value',
           '$.a ? (@ == 1) ? (@ == 1', '$.a == 1', '$.a + $.b', '-$.a', '+$.**', 'exists($.a)', '$.a starts with "x"', '1', '"x"', 'null',
           'strict $.a.b[99999999]', 'lax $.a[4294967296 to last]', '$.a[-1]', '$.a[last + 9223372036854775807]', '$.a ? (@ like_regex "(((")',
           '$.a ? (@ like_regex "(a*)*b" flag "zz")', '$.**{2147483647}', '$.**{0 to last}', '$.n.double()', '$.n.datetime("?")', '$.a.b.size()',
           '$.a.keyvalue()', '$.a / 0', '$.a % $.n', '$."\u0000"', '$.a; DROP TABLE x', '$.a /* ', '$.a -- ', '$''', '@', '@.a', 'last',
           repeat('(', 100000), '$' || repeat('.a', 20000), '$' || repeat(' ? (@ == 1)', 5000), repeat('(', 20000) || '$' || repeat(')', 20000),
           '$' || repeat('.**', 5), '$.a ? (' || repeat('!(', 20000)] LOOP
           FOREACH dry IN ARRAY ARRAY[true, false] LOOP
             BEGIN
               PERFORM insula.erase(NULL, path::jsonpath, '"nothing has it"', dry_run => dry);
             EXCEPTION WHEN OTHERS THEN
               IF SQLSTATE !~ '^(42|22|54)' THEN RAISE 'path %: % %', left(path, 40), SQLSTATE, SQLERRM; END IF;
             END;
           END LOOP;
         END LOOP; END $do$)x"},
                 "each is a path, or a syntax error", "SELECT {failed} = 0");
}

Attack with_hostile_values() {
  return bounded(
      "EraseWithHostileValues", Who::tenant,
      {own_ended(R"({"a": "x"})"),
       R"x(DO $do$ DECLARE value text; BEGIN
         FOREACH value IN ARRAY ARRAY['', '{}', '[]', '[1]', 'null', '{"a": 1}', '"\u0000"', '"\ud800"', '1e999999', '-0', '1e131071', 'NaN', '"' || repeat('x', 10000000) || '"',
           repeat('[', 100000), '"$"', '"$value"', '"'' OR true"', '"); DROP TABLE x; --"'] LOOP
           BEGIN
             IF (SELECT executions FROM insula.erase(NULL, '$.a', value::jsonb)) > 0 THEN RAISE 'value % matches', value; END IF;
           EXCEPTION WHEN OTHERS THEN
             IF SQLSTATE !~ '^(22|54)' THEN RAISE 'value %: % %', left(value, 40), SQLSTATE, SQLERRM; END IF;
           END;
         END LOOP; END $do$)x"},
      "a value is a text, a number or a boolean",
      "SELECT {failed} = 0 AND count(*) = 1 FROM tenant_mallory.workflow_executions WHERE context = '{\"a\": \"x\"}'");
}

}  // namespace

std::vector<Attack> attacks_on_erasure() {
  const Who t = Who::tenant;
  const Who r = Who::runner;
  const Who s = Who::stranger;
  return {
      refused("EraseAnothers", t, {"SELECT insula.erase('victim', '$.secret', '1')"}, "42501"),
      refused("CountWhatAnotherHas", t, {"SELECT insula.erase('victim', '$.secret', '1', dry_run => true)"}, "42501"),
      refused("EraseOfNoTenant", t, {"SELECT insula.erase('no_such_tenant', '$.secret', '1')"}, "42501"),
      refused("EraseBySetting", t,
              {"BEGIN", "SET LOCAL insula.tenant = 'victim'", "SELECT insula.erase(NULL, '$.secret', '1')"}, "42501"),
      refused("EraseBehindAnothersPlace", t, {"SELECT insula.erase(NULL, '$.secret', '1', {execution})"}, "22023"),
      refused("ScrubAnothers", t, {"SELECT insula.scrub({execution})"}, "IS003"),
      refused("ScrubNothing", t, {"SELECT insula.scrub(-1)"}, "IS003"),
      bounded("EraseOwnOfTheSameValue", t, {"SELECT insula.erase(NULL, '$.secret', '1')"}, "a tenant erases its own",
              "SELECT count(*) = 1 FROM tenant_victim.workflow_executions WHERE context @> '{\"secret\": 1}'"),
      refused("ForgetAnothersSooner", t, {"SELECT insula.set_retention('victim', '0 s', status => 'failed')"}, "42501"),
      refused("ForgetSooner", t, {"SELECT insula.set_retention('mallory', '0 s', status => 'failed')"}, "42501"),
      refused("RunnerErases", r, {"SELECT insula.erase('victim', '$.secret', '1')"}, "42501"),
      refused("RunnerCounts", r, {"SELECT insula.erase('victim', '$.secret', '1', dry_run => true)"}, "42501"),
      refused("RunnerScrubs", r, {"SELECT insula.scrub({execution})"}, "42501"),
      refused("RunnerSetsRetention", r, {"SELECT insula.set_retention('victim', '0 s', status => 'failed')"}, "42501"),
      refused("StrangerErases", s, {"SELECT insula.erase('victim', '$.secret', '1')"}, "42501"),
      refused("StrangerScrubs", s, {"SELECT insula.scrub({execution})"}, "42501"),
      with_hostile_paths(),
      with_hostile_values(),
      bounded(
          "TellTheLogWhatWasErased", t,
          {own_ended(R"({"hidden_path": "s3cret"})"), "SELECT insula.erase(NULL, '$.hidden_path', '\"s3cret\"')",
           own_ended(R"({"hidden_path": "s3cret"})"), "SELECT insula.scrub(insula.submit('w'))"},
          "a line says how many",
          "SELECT bool_or(act = 'erase' AND tenant = 'mallory') AND NOT bool_or(l::text ~ 's3cret|hidden_path') FROM "
          "insula.admin_log l"),
      bounded(
          "FillTheLogWithDryRuns", t,
          {own_ended(R"({"kept": 1})"), own_ended(R"({"kept": 1})"), own_ended(R"({"kept": 1})"),
           "SELECT insula.erase(NULL, '$.kept', '1', dry_run => true) FROM generate_series(1, 100)"},
          "a dry run changes nothing, and logs nothing",
          "SELECT count(*) = 3 AND NOT EXISTS (SELECT FROM insula.admin_log WHERE detail LIKE '3 executions%') FROM "
          "tenant_mallory.workflow_executions WHERE context ? 'kept'"),
  };
}

}  // namespace attacks
