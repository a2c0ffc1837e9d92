// Triggers; see triggers.hpp.  While an execution of a fire runs, the same fire starts no other.
// The fire's fingerprint is an idempotency key of the execution, which is free again once the
// execution has ended; so the key is removed with the execution.
#include "operation/triggers.hpp"

#include "context/merge_patch.hpp"
#include "core/ids.hpp"
#include "operation/operations.hpp"

extern "C" {
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"
}

namespace insula {

namespace {

constexpr int most_workflows = 1000;  // a trigger's

const JsonbValue *member(Jsonb *object, const char *key) {
  return getKeyJsonValueFromContainer(&object->root, key, static_cast<int>(strlen(key)), nullptr);
}

void hash_bytes_of(pg_cryptohash_ctx *hash, const void *bytes, std::size_t size) {
  if (pg_cryptohash_update(hash, static_cast<const uint8 *>(bytes), size) < 0)
    elog(ERROR, "insula: hashing failed: %s", pg_cryptohash_error(hash));
}

// Hashes the length too, so that neighbouring parts cannot pass for one another.
void hash_counted(pg_cryptohash_ctx *hash, const void *bytes, int size) {
  hash_bytes_of(hash, &size, sizeof size);
  hash_bytes_of(hash, bytes, static_cast<std::size_t>(size));
}

// Equal numbers may differ in their shown digits, as 1 and 1.0, so the scale is left out.
void hash_number(pg_cryptohash_ctx *hash, Numeric number) {
  constexpr int scale_at = 6;
  bytea *sent = DatumGetByteaP(DirectFunctionCall1(numeric_send, NumericGetDatum(number)));
  memset(VARDATA(sent) + scale_at, 0, 2);
  hash_counted(hash, VARDATA(sent), static_cast<int>(VARSIZE(sent) - VARHDRSZ));
  pfree(sent);
}

void hash_value(pg_cryptohash_ctx *hash, const JsonbValue &value) {
  hash_bytes_of(hash, &value.type, sizeof value.type);
  if (value.type == jbvString) hash_counted(hash, value.val.string.val, value.val.string.len);
  if (value.type == jbvNumeric) hash_number(hash, value.val.numeric);
  if (value.type == jbvBool) hash_bytes_of(hash, &value.val.boolean, sizeof value.val.boolean);
}

// jsonb orders keys, so equal payloads hash alike.
void hash_payload(pg_cryptohash_ctx *hash, Jsonb *payload) {
  JsonbIterator *at = JsonbIteratorInit(&payload->root);
  JsonbValue value;
  for (;;) {
    CHECK_FOR_INTERRUPTS();
    const JsonbIteratorToken token = JsonbIteratorNext(&at, &value, false);
    hash_bytes_of(hash, &token, sizeof token);
    if (token == WJB_DONE) return;
    if (token == WJB_KEY || token == WJB_VALUE || token == WJB_ELEM) hash_value(hash, value);
  }
}

// Two fires are the same if their fingerprints are.
const char *fingerprint(Jsonb *payload, const char *dedupe_key) {
  pg_cryptohash_ctx *hash = pg_cryptohash_create(PG_SHA256);
  if (!hash || pg_cryptohash_init(hash) < 0) elog(ERROR, "insula: hashing failed");
  const char kind = dedupe_key ? 'k' : 'p';
  hash_bytes_of(hash, &kind, 1);
  if (dedupe_key)
    hash_bytes_of(hash, dedupe_key, strlen(dedupe_key));
  else
    hash_payload(hash, payload);
  uint8 digest[PG_SHA256_DIGEST_LENGTH];
  if (pg_cryptohash_final(hash, digest, sizeof digest) < 0) elog(ERROR, "insula: hashing failed");
  pg_cryptohash_free(hash);
  auto *text = static_cast<char *>(palloc(2 * sizeof digest + 1));
  (void)hex_encode(reinterpret_cast<const char *>(digest), sizeof digest, text);
  text[2 * sizeof digest] = '\0';
  return text;
}

Jsonb *context_of(const char *trigger, Jsonb *base, Jsonb *payload, TimestampTz now) {
  JsonObject own = begin_object();
  add_member(own, "trigger_name", trigger);
  add_utc_time(own, "triggered_at", now);
  return merge_patch(merge_patch(base, payload), end_object(own));
}

// The running execution that holds the key; 0: none.  An ended one loses the key.
std::int64_t running_holder(const Tenant &tenant, const char *name) {
  std::int64_t holder = 0;
  find_idempotency_keys(tenant, &name, 1, &holder);
  if (holder == 0) return 0;
  int live;
  (void)live_executions(tenant, &holder, 1, &live);
  if (live > 0) return holder;
  release_idempotency_key(tenant, name, holder);
  return 0;
}

Started start(const Tenant &tenant, const Subscription &subscription, Jsonb *payload, const char *key,
              TimestampTz now) {
  const TriggerTerms terms = terms_of(subscription);
  if (terms.allow_concurrent) {
    key = nullptr;
  } else if (const std::int64_t holder = running_holder(tenant, psprintf("%s:%s", subscription.workflow, key))) {
    return {subscription.workflow, core::make_id(tenant.number, holder), false};
  }
  Jsonb *context = context_of(subscription.trigger, terms.context, payload, now);
  bool fresh = true;
  SubmitRequest request = {subscription.workflow, &context, key ? &key : nullptr, 1, 0, now};
  request.fresh = &fresh;
  const std::int64_t execution = *submit(tenant, request, CurrentMemoryContext);
  return {subscription.workflow, execution, fresh};
}

}  // namespace

TriggerTerms terms_of(const Subscription &subscription) {
  const JsonbValue *context = member(subscription.body, "context");
  const JsonbValue *allow = member(subscription.body, "allow_concurrent");
  return {context && context->type == jbvBinary ? JsonbValueToJsonb(const_cast<JsonbValue *>(context)) : empty_object(),
          allow && allow->type == jbvNumeric};
}

bool subscribe(const Tenant &tenant, const char *trigger, const char *workflow, Jsonb *context, bool allow_concurrent,
               TimestampTz now) {
  (void)require_workflow(tenant, workflow);
  int count;
  (void)subscriptions_of(tenant, trigger, &count);
  if (count >= most_workflows)
    ereport(ERROR,
            (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED), errmsg("trigger \"%s\" starts too many workflows", trigger),
             errdetail("It can start %d.", most_workflows)));
  JsonObject body = begin_object();
  add_member(body, "context", context);
  if (allow_concurrent) add_member(body, "allow_concurrent", std::int64_t{1});
  return put_subscription(tenant, {trigger, workflow, end_object(body)}, now);
}

Started *fire_trigger(const Tenant &tenant, const char *trigger, Jsonb *payload, const char *dedupe_key,
                      TimestampTz now, int *count) {
  const Subscription *subscriptions = subscriptions_of(tenant, trigger, count);
  if (*count == 0) return nullptr;
  const char *key = psprintf("trigger %s %s", trigger, fingerprint(payload, dedupe_key));
  auto *started = palloc_array_of<Started>(static_cast<std::size_t>(*count));
  for (int i = 0; i < *count; ++i) {
    CHECK_FOR_INTERRUPTS();
    started[i] = start(tenant, subscriptions[i], payload, key, now);
  }
  return started;
}

}  // namespace insula
