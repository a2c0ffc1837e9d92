// The end of the last handle, and what Runner and Fleet do alike.
#include "face/handle.hpp"

#include "runtime/signals.hpp"

#include <insula/error.hpp>

#include <fmt/format.h>

#include <thread>
#include <utility>

namespace insula::detail {

RunnerHandle::~RunnerHandle() {
  const auto end = [](Engine& ending) { ending.shutdown({}); };
  if (!engine->is_own_thread())
    end(*engine);
  else  // the last handle went in a handler, which cannot wait for itself
    std::thread{[end, ending = std::move(engine)] { end(*ending); }}.detach();
}

void RunnerHandle::refuse_in_handler(std::string_view what) const {
  if (engine->is_own_thread())
    throw error{errc::would_deadlock, fmt::format("{} in a handler of the same runner would wait for itself", what)};
}

std::int64_t RunnerHandle::submit(std::string_view workflow, const Context& context, const SubmitOptions& options,
                                  const std::string& tenant, std::shared_ptr<WaitState> wait) const {
  return wire::read_number(engine->call(wire::submit(workflow, context, options, tenant),
                                        !options.idempotency_key.empty(), std::move(wait)));
}

ShutdownReport RunnerHandle::shutdown(const ShutdownOptions& options) const {
  refuse_in_handler("shutdown()");
  return engine->shutdown(options);
}

ShutdownReport RunnerHandle::run_until_signal(const ShutdownOptions& options) const {
  refuse_in_handler("run_until_signal()");
  SignalWatch signals;
  signals.wait({});
  std::jthread impatience{[&](std::stop_token over) {
    while (signals.wait(over)) engine->hasten_shutdown();
  }};
  return engine->shutdown(options);
}

}  // namespace insula::detail
