// How a command ends that did not succeed: an exit code for scripts, and one clear line for people.
#pragma once

#include <stdexcept>
#include <string>

namespace insula::cli {

enum class Exit {
  done = 0,
  failed = 1,     // the server refused, an execution failed, a check found an error
  usage = 2,      // as CLI11 finds it, too
  not_found = 3,  // no such tenant, workflow, execution
  no_connection = 4,
  not_confirmed = 5,  // asked before a change, and the answer was not yes
  interrupted = 130,
};

struct Failure : std::runtime_error {
  Failure(Exit code, const std::string& message, std::string more = {})
      : std::runtime_error(message), exit(code), details(std::move(more)) {}

  Exit exit;
  std::string details;  // further lines: DETAIL, HINT
};

}  // namespace insula::cli
