// Compares the numbers of tasks that are kept in shared memory with the queue itself.
#pragma once

#include <string>

#include "support/session.hpp"

namespace model {

// Nothing may be under way in the tenant.
inline void expect_counted(insula_test::Session& sql, const std::string& tenant, const std::string& schema) {
  const std::string queue = sql.query(
      "SELECT (count(*) FILTER (WHERE lane < 100000), count(*) FILTER (WHERE lane = 100000), "
      "count(*) FILTER (WHERE lane = 100001), count(*) FILTER (WHERE lane = 100002), "
      "count(*) FILTER (WHERE lane = 100004)) FROM " +
      schema + ".work");
  EXPECT_EQ(sql.query("SELECT (ready, delayed, running, waiting, paused) FROM insula.tenant_activity WHERE tenant = '" +
                      tenant + "'"),
            queue);
  EXPECT_EQ(sql.query("SELECT coalesce((SELECT (sum(ready), sum(delayed), sum(running), sum(waiting), sum(paused)) "
                      "FROM insula.pg_stat_insula WHERE tenant = '" +
                      tenant + "' HAVING count(*) > 0)::text, '" + queue + "')"),
            queue);
}

}  // namespace model
