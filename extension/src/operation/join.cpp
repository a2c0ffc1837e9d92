// Transactions that are joined to a task: such a transaction commits only if it has also settled
// the task, under the lease that it joined with.  Settling writes the task's row, so that no other
// transaction can take the task before the commit.  A subtransaction's rollback drops its joins and
// settlements.
#include "errors.hpp"
#include "operation/operations.hpp"

namespace insula {

namespace {

constexpr int max_joined = 1000;

struct Joined {
  std::int32_t tenant;
  std::int64_t task;
  Oid role;  // that has joined
  SubTransactionId joined_in;
  SubTransactionId settled_in;  // InvalidSubTransactionId: not yet
};

Joined *joined = nullptr;  // in TopTransactionContext
int joined_count = 0;

void require_settled() {
  for (int i = 0; i < joined_count; ++i)
    if (joined[i].settled_in == InvalidSubTransactionId)
      ereport(ERROR, (errcode(INSULA_LEASE_LOST), errmsg("the transaction is tied to a task that it has not settled"),
                      errdetail("Since insula.join_task() the task was not completed, failed or deferred in it, or its "
                                "lease was lost.")));
}

const char *pending_task() { return joined_count > 0 ? "is tied to a task" : nullptr; }

void forget_joined() {
  joined = nullptr;
  joined_count = 0;
}

// Moves the subtransaction's entries to the heir; an invalid heir drops them.
void bequeath(SubTransactionId heir) {
  const SubTransactionId mine = GetCurrentSubTransactionId();
  int kept = 0;
  for (int i = 0; i < joined_count; ++i) {
    if (joined[i].joined_in == mine) joined[i].joined_in = heir;
    if (joined[i].settled_in == mine) joined[i].settled_in = heir;
    if (joined[i].joined_in != InvalidSubTransactionId) joined[kept++] = joined[i];
  }
  joined_count = kept;
}

}  // namespace

const TransactionStep joined_tasks_step = {.pending = pending_task,
                                           .before_commit = require_settled,
                                           .committed = forget_joined,
                                           .aborted = forget_joined,
                                           .subtransaction_committed = bequeath,
                                           .subtransaction_aborted = [] { bequeath(InvalidSubTransactionId); }};

bool join(const Tenant &tenant, std::int64_t id, std::int64_t lease, Oid role) {
  int found;
  const TaskRow *task = peek_tasks(tenant, &id, 1, &found);
  if (found == 0 || task->state != State::running || task->lease != lease) return false;
  if (joined_count == max_joined)
    ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
                    errmsg("a transaction can be tied to at most %d tasks", max_joined)));
  if (!joined) joined = static_cast<Joined *>(MemoryContextAlloc(TopTransactionContext, sizeof(Joined) * max_joined));
  joined[joined_count++] = {tenant.number, id, role, GetCurrentSubTransactionId(), InvalidSubTransactionId};
  return true;
}

std::int32_t joined_tenant() {
  std::int32_t tenant = 0;
  for (int i = 0; i < joined_count; ++i) {
    if (joined[i].role != GetUserId() || (tenant != 0 && joined[i].tenant != tenant)) return 0;
    tenant = joined[i].tenant;
  }
  return tenant;
}

void note_settled(const Tenant &tenant, std::int64_t id) {
  for (int i = 0; i < joined_count; ++i)
    if (joined[i].tenant == tenant.number && joined[i].task == id && joined[i].settled_in == InvalidSubTransactionId)
      joined[i].settled_in = GetCurrentSubTransactionId();
}

}  // namespace insula
