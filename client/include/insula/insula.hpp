// SPDX-License-Identifier: PostgreSQL
// Insula's C++ client: everything in one include.
//
//   error.hpp         what goes wrong, as one type
//   context.hpp       the JSON object that travels between tasks
//   workflow.hpp      workflows, their tasks and options
//   trigger_rule.hpp  when a task runs that not only waits for success
//   task_context.hpp  what a task's handler is given, and how it ends
//   result.hpp        how an execution ended
//   runner.hpp        runs workflows for one tenant
//   enqueue.hpp       starts an execution in a transaction of your own
//   execution.hpp     the handle of a started execution
//   executions.hpp    many executions: lists, and verbs for all that fit
//   typed.hpp         types of your own for tasks, submissions and results
//   middleware.hpp    code of your own around handlers and submissions
//   fleet.hpp         runs workflows for all tenants
//   schedule.hpp      executions that the clock starts
//   observer.hpp      what happens in a runner, told as it happens
//   admin.hpp         makes, limits and drops tenants
#pragma once

#include <insula/admin.hpp>
#include <insula/context.hpp>
#include <insula/enqueue.hpp>
#include <insula/error.hpp>
#include <insula/execution.hpp>
#include <insula/executions.hpp>
#include <insula/fleet.hpp>
#include <insula/middleware.hpp>
#include <insula/observer.hpp>
#include <insula/result.hpp>
#include <insula/runner.hpp>
#include <insula/schedule.hpp>
#include <insula/task_context.hpp>
#include <insula/trigger_rule.hpp>
#include <insula/typed.hpp>
#include <insula/workflow.hpp>
