// Loops of prepared statements, for the queues that are nothing but SQL.
#pragma once

#include <string>
#include <vector>

namespace bench {

// Runs the statements in turn on each connection, until the bench says stop.  The first takes
// jobs and returns a handle to them (NULL: none now) and their number; the last, if there are
// two or three, is given the handle and finishes them; one in between is given the handle too,
// and its rows are the jobs.
void run_loops(const std::string& database, int connections, const std::vector<std::string>& statements);

}  // namespace bench
