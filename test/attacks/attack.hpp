// The attack suite: what a hostile tenant, a hostile worker and a stranger may try, each
// attack with what must come of it.  Every one runs directly and through PgBouncer, and
// after each the victim's rows are what they were, insula.audit() finds nothing but
// advice, and the victim can still work.
//
// An attack is `refused` with a SQLSTATE (its last statement must fail with that one, those
// before must succeed), or `bounded`: its statements may succeed or fail, and a question to
// the administrator says by what it is held ("t").
#pragma once

#include <string>
#include <vector>

namespace attacks {

enum class Who {
  tenant,    // mallory, with the password of its own login
  runner,    // a login that is a member of insula_runner
  stranger,  // a login without any right
};

struct Attack {
  const char* name;
  Who who;
  std::vector<std::string> statements;
  std::string sqlstate;  // refused with this; empty: bounded
  std::string proof;     // bounded: what the administrator asks, to hear "t"
  const char* bound;     // by what
};

inline Attack refused(const char* name, Who who, std::vector<std::string> statements, const char* sqlstate) {
  return {name, who, std::move(statements), sqlstate, "", ""};
}

inline Attack bounded(const char* name, Who who, std::vector<std::string> statements, const char* bound,
                      const char* proof = "SELECT true") {
  return {name, who, std::move(statements), "", proof, bound};
}

// In statements and proofs: {execution}, {task} and {lease} of the victim's running task,
// {unknown}, an id of the victim's that does not exist.
std::vector<Attack> attacks_on_data();
std::vector<Attack> attacks_on_calls();
std::vector<Attack> attacks_on_rights();
std::vector<Attack> attacks_on_objects();
std::vector<Attack> attacks_on_resources();
std::vector<Attack> attacks_on_clock();
std::vector<Attack> attacks_on_erasure();

}  // namespace attacks
