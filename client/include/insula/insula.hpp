// Insula's C++ client: everything in one include.
//
//   error.hpp     what goes wrong, as one type
//   context.hpp   the JSON object that travels between tasks
//   workflow.hpp  workflows, their tasks, and what a task's handler is given
//   result.hpp    how an execution ended
//   runner.hpp    runs workflows for one tenant
//   admin.hpp     makes and drops tenants
#pragma once

#include <insula/admin.hpp>
#include <insula/context.hpp>
#include <insula/error.hpp>
#include <insula/result.hpp>
#include <insula/runner.hpp>
#include <insula/workflow.hpp>
