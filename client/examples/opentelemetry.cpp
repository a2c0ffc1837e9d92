// Traces: spans for OpenTelemetry, as lines of OTLP/JSON in a file, which a collector's otlpjsonfile receiver reads.
//
//   opentelemetry postgresql://... spans.jsonl   # makes the tenant `traced`, and runs workflows of it
//
// A submission is a span, and hands its traceparent to the execution, where each run of a task is a span below it; what
// tasks submit as children inherits it. An execution that no traced process has submitted, as one of a schedule, has
// none: its id makes one, which is the same for all its tasks and their children.
#include <insula/insula.hpp>

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>

namespace {

using Json = nlohmann::json;
using Clock = std::chrono::system_clock;

std::string hex(std::uint64_t number) {
  std::ostringstream text;
  text << std::hex << std::setw(16) << std::setfill('0') << number;
  return text.str();
}

std::string nanoseconds(Clock::time_point time) {
  return std::to_string(std::chrono::duration_cast<std::chrono::nanoseconds>(time.time_since_epoch()).count());
}

struct Trace {
  std::string id;
  std::string parent;  // span; "": none

  // 00-<trace>-<span>-<flags>
  static Trace of(const std::string& traceparent) { return {traceparent.substr(3, 32), traceparent.substr(36, 16)}; }
};

enum class Kind { producer = 4, consumer = 5 };

class Exporter {
 public:
  Exporter(const std::string& file, std::string service) : out_(file, std::ios::app), service_(std::move(service)) {
    if (!out_) throw std::runtime_error{"cannot write " + file};
  }

  std::uint64_t new_id() {
    const std::lock_guard lock{mutex_};
    return random_();
  }

  struct Span {
    Trace trace;
    std::string id, name;
    Kind kind;
    Clock::time_point begin, end;
    Json attributes;
    std::string error;  // "": it went well
  };
  void put(const Span& span) {
    Json json = {{"traceId", span.trace.id},
                 {"spanId", span.id},
                 {"name", span.name},
                 {"kind", static_cast<int>(span.kind)},
                 {"startTimeUnixNano", nanoseconds(span.begin)},
                 {"endTimeUnixNano", nanoseconds(span.end)},
                 {"attributes", span.attributes}};
    if (!span.trace.parent.empty()) json["parentSpanId"] = span.trace.parent;
    if (!span.error.empty()) json["status"] = {{"code", 2}, {"message", span.error}};
    const Json scope = {{"scope", {{"name", "insula"}}}, {"spans", Json::array({json})}};
    const Json resource = {{"attributes", Json::array({text("service.name", service_)})}};
    const Json line = {
        {"resourceSpans", Json::array({{{"resource", resource}, {"scopeSpans", Json::array({scope})}}})}};
    const std::lock_guard lock{mutex_};
    out_ << line.dump() << std::endl;
  }

  static Json text(const char* key, const std::string& value) {
    return {{"key", key}, {"value", {{"stringValue", value}}}};
  }
  static Json number(const char* key, std::int64_t value) {
    return {{"key", key}, {"value", {{"intValue", std::to_string(value)}}}};
  }

 private:
  std::mutex mutex_;
  std::mt19937_64 random_{std::random_device{}()};
  std::ofstream out_;
  const std::string service_;
};

std::string traceparent_of(const Trace& trace, const std::string& span) {
  return "00-" + trace.id + "-" + span + "-01";
}

// A submission within a trace of yours keeps to it: pass SubmitOptions::traceparent.
class TraceSubmissions : public insula::Middleware {
 public:
  explicit TraceSubmissions(std::shared_ptr<Exporter> exporter) : exporter_(std::move(exporter)) {}

  void before_submit(insula::Submission& submission) override {
    const Trace trace = submission.traceparent.empty() ? Trace{hex(exporter_->new_id()) + hex(exporter_->new_id()), ""}
                                                       : Trace::of(submission.traceparent);
    const std::string id = hex(exporter_->new_id());
    submission.traceparent = traceparent_of(trace, id);
    const auto now = Clock::now();
    exporter_->put({trace, id, "submit " + submission.workflow, Kind::producer, now, now,
                    Json::array({Exporter::text("insula.tenant", submission.tenant),
                                 Exporter::text("insula.workflow", submission.workflow)}),
                    ""});
  }

  void around_task(insula::TaskContext& task, const std::function<void()>& run) override {
    if (!task.contains(insula::traceparent_key)) {
      const std::string id = hex(static_cast<std::uint64_t>(task.execution_id()));
      task.set(insula::traceparent_key, traceparent_of({hex(0) + id, ""}, id));
    }
    run();
  }

 private:
  const std::shared_ptr<Exporter> exporter_;
};

class TraceTasks : public insula::Observer {
 public:
  explicit TraceTasks(std::shared_ptr<Exporter> exporter) : exporter_(std::move(exporter)) {}

  void task_ended(const insula::TaskContext& task, const insula::TaskEnd& end) override {
    const Trace trace = Trace::of(task.at<std::string>(insula::traceparent_key));
    const auto now = Clock::now();
    exporter_->put({trace, hex(exporter_->new_id()), task.workflow() + "." + task.task(), Kind::consumer,
                    now - std::chrono::duration_cast<Clock::duration>(end.duration), now,
                    Json::array({Exporter::text("insula.tenant", task.tenant()),
                                 Exporter::text("insula.outcome", std::string{name(end.outcome)}),
                                 Exporter::number("insula.execution_id", task.execution_id()),
                                 Exporter::number("insula.attempt", task.attempt())}),
                    std::string{end.error}});
  }

 private:
  const std::shared_ptr<Exporter> exporter_;
};

}  // namespace

int main(int argc, char** argv) {
  try {
    const auto exporter = std::make_shared<Exporter>(argc > 2 ? argv[2] : "spans.jsonl", "orders");
    auto runner = insula::Runner::with_schema(argc > 1 ? argv[1] : "", "traced",
                                              {.observer = std::make_shared<TraceTasks>(exporter),
                                               .middleware = {std::make_shared<TraceSubmissions>(exporter)}});
    runner.add(insula::Workflow::builder("ship")
                   .task("pack",
                         [](insula::TaskContext& ctx) {
                           if (ctx.attempt() == 1) throw std::runtime_error{"no box"};
                         },
                         {.retry = {.initial_delay = std::chrono::milliseconds{1}}})
                   .build());
    runner.add(
        insula::Workflow::builder("order")
            .task("check", [](insula::TaskContext& ctx) { ctx.set("checked", true); })
            .task("send", [](insula::TaskContext&) { return insula::submit_child("ship"); }, {.depends_on = {"check"}})
            .build());
    const insula::Result ordered = runner.execute("order");
    // As a schedule or SQL submits it: without a traceparent.
    auto plain = insula::Runner::with_schema(argc > 1 ? argv[1] : "", "traced");
    const insula::Result scheduled = plain.execute("order");
    runner.shutdown();
    std::cout << ordered.status << ", " << scheduled.status << '\n';
    return ordered.status.is_success() && scheduled.status.is_success() ? 0 : 1;
  } catch (const std::exception& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
