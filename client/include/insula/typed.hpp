// SPDX-License-Identifier: PostgreSQL
// Typed tasks, submissions and results: types of your own in place of contexts and keys.
//
//   struct Order { std::string id; int amount; };
//   struct Charged { std::string receipt; };
//   NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Order, id, amount)     // insula/nlohmann.hpp; or a Codec
//   NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Charged, receipt)
//
//   runner.add(insula::Workflow::builder("orders")
//                  .task("charge", insula::task<Order, Charged>([](const Order& order) {
//                    return Charged{"receipt for " + order.id};
//                  }))
//                  .build());
//   const insula::Typed<Order, Charged> orders{"orders"};
//   Charged charged = orders.execute(runner, {"o-1", 30});    // throws if it does not complete
//   std::vector<insula::Execution> many = orders.submit_many(runner, std::vector<Order>{{"o-2", 5}, {"o-3", 7}});
//   Charged second = orders.output(many[0].wait());
//
// A type that is an object in JSON is read from the keys of the context, and its own keys are set; so the next
// task's type reads what it wants of both.  A key that is set replaces what was there, whole; null in an object is as
// good as absent.  A task may have any other type as its output: it is set under the task's id.
#pragma once

#include <insula/context.hpp>
#include <insula/enqueue.hpp>
#include <insula/error.hpp>
#include <insula/execution.hpp>
#include <insula/result.hpp>
#include <insula/task_context.hpp>
#include <insula/workflow.hpp>

#include <concepts>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace insula {

// The value as a context; throws error{invalid} for one that is no object in JSON.
template <class T>
[[nodiscard]] Context context_of(const T& value) {
  if (auto context = Value(value).template as<Context>()) return *std::move(context);
  throw error{errc::invalid, "context: the value is no object"};
}

// The context as a T; throws error{invalid} for one that is none.
template <class T>
[[nodiscard]] T value_of(const Context& context) {
  if (auto value = Value(context).template as<T>()) return *std::move(value);
  throw error{errc::invalid, "context: it is not of the type that was asked for"};
}

namespace detail {

// Types that are known to be no objects, or whose keys are anyone's.
template <class T>
concept keyed = !std::is_arithmetic_v<T> && !std::convertible_to<T, std::string_view> && !is_vector<T>::value &&
                !is_optional<T>::value && !is_string_map<T>::value && !is_duration<T>::value && !is_time<T>::value;

inline void replace(TaskContext& task, std::string_view key, const Value& value) {
  if (value.as<Context>() && task.context().contains(key)) task.erase(key);
  task.set(key, value);
}

template <class Out>
void hand_over_typed(TaskContext& task, const Out& out) {
  if constexpr (keyed<Out>)
    for (const auto& [key, value] : context_of(out)) replace(task, key, value);
  else
    replace(task, task.task(), Value(out));
}

// A typed handler's outcome: an Out, a Suspend, either, or nothing.
template <class Out, class Returned>
void take_typed(TaskContext& task, Returned&& returned) {
  using Plain = std::remove_cvref_t<Returned>;
  if constexpr (std::same_as<Plain, Suspend> || std::same_as<Plain, std::optional<Suspend>>)
    Returning<Plain>::take(task, std::forward<Returned>(returned));
  else if constexpr (std::same_as<Plain, std::variant<Out, Suspend>>)
    std::visit([&](const auto& one) { take_typed<Out>(task, one); }, returned);
  else
    hand_over_typed<Out>(task, returned);
}

template <class In>
In input_of(const TaskContext& task) {
  if (auto in = Value(task.context()).template as<In>()) return *std::move(in);
  throw permanent_error{"the context of the task is not of its handler's type"};
}

}  // namespace detail

// A handler of `Out fn(const In&)` or `Out fn(const In&, TaskContext&)`, where `Out` may also be
// std::variant<Out, Suspend>.  A context that is no In fails the task for good.
template <class In, class Out = void, class Fn>
[[nodiscard]] auto task(Fn fn) {
  static_assert(detail::keyed<In>, "a task's input is a type with keys: a struct with a codec, or a Context");
  return [fn = std::move(fn)](TaskContext& ctx) mutable {
    const auto call = [&](const In& in) -> decltype(auto) {
      if constexpr (std::invocable<Fn&, const In&, TaskContext&>)
        return fn(in, ctx);
      else
        return fn(in);
    };
    using Returned = std::invoke_result_t<decltype(call), const In&>;
    static_assert(std::is_void_v<Out> || !std::is_void_v<Returned>, "the handler returns no Out");
    if constexpr (std::is_void_v<Returned>)
      call(detail::input_of<In>(ctx));
    else if constexpr (std::is_void_v<Out>)
      detail::take_typed<std::remove_cvref_t<Returned>>(ctx, call(detail::input_of<In>(ctx)));
    else
      detail::take_typed<Out>(ctx, call(detail::input_of<In>(ctx)));
  };
}

// A workflow with the types of its input and its output.  `Runs` is a Runner or a Fleet::Tenant.
template <class In, class Out = Context>
class Typed {
  static_assert(detail::keyed<In> && detail::keyed<Out>,
                "an execution's input and output are types with keys: a struct with a codec, or a Context");

 public:
  explicit Typed(std::string workflow) : workflow_(std::move(workflow)) {}

  const std::string& name() const noexcept { return workflow_; }

  template <class Runs>
  Execution submit(const Runs& runner, const In& input, SubmitOptions options = {}) const {
    return runner.execute_async(workflow_, context_of(input), std::move(options));
  }
  template <class Runs>
  std::vector<Execution> submit_many(const Runs& runner, const std::vector<In>& inputs,
                                     const SubmitManyOptions& options = {}) const {
    std::vector<Context> contexts;
    contexts.reserve(inputs.size());
    for (const In& input : inputs) contexts.push_back(context_of(input));
    return runner.submit_many(workflow_, contexts, options);
  }
  template <class Runs>
  Out execute(const Runs& runner, const In& input, SubmitOptions options = {}) const {
    return output(runner.execute(workflow_, context_of(input), std::move(options)));
  }

  // Throws error{failed} with the execution's own error where it was not completed, and error{invalid} where its
  // final context is no Out.
  [[nodiscard]] static Out output(const Result& result) {
    if (!result.status.is_success())
      throw error{errc::failed, result.error.empty() ? "the execution was not completed" : result.error};
    return value_of<Out>(result.final_context);
  }

 private:
  std::string workflow_;
};

}  // namespace insula
