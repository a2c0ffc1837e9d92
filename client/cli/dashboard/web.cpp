#include "dashboard/web.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <iostream>

#include "dashboard/actions.hpp"
#include "dashboard/files.hpp"
#include "dashboard/json.hpp"
#include "dashboard/views.hpp"
#include "failure.hpp"

namespace insula::cli::dashboard {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t threads = 16;
constexpr std::size_t largest_body = 1024 * 1024;
constexpr std::size_t most_answers = 64;
constexpr std::chrono::milliseconds answer_lasts{900};
constexpr int answer_lasts_times = 4;  // as long as it took to make
constexpr std::chrono::seconds health_lasts{1};
constexpr const char* json_type = "application/json";

std::string etag_of(std::string_view content) {
  char text[40];
  std::snprintf(text, sizeof text, "\"%zx-%zx\"", content.size(), std::hash<std::string_view>{}(content));
  return text;
}

void put_refusal(const Refusal& refusal, httplib::Response& response) {
  response.status = refusal.status;
  response.set_content("{\"error\":{\"kind\":" + json_text(refusal.kind) + ",\"message\":" + json_text(refusal.what()) +
                           ",\"detail\":" + json_text(refusal.detail) + ",\"hint\":" + json_text(refusal.hint) + "}}",
                       json_type);
}

// Answers, or says why not.
template <typename Work>
void guarded(httplib::Response& response, Work work) {
  try {
    work();
  } catch (const Refusal& refusal) {
    put_refusal(refusal, response);
  } catch (const nlohmann::json::exception&) {
    put_refusal({422, "usage", "the request is not as it should be"}, response);
  } catch (const std::exception& error) {
    put_refusal({500, "refused", error.what()}, response);
  }
}

// Whether the client has it already: then it is told so in place of the content.
bool is_known(const httplib::Request& request, httplib::Response& response, const std::string& etag) {
  response.set_header("ETag", etag);
  const std::string known = request.get_header_value("If-None-Match");
  if (known.find(etag) == std::string::npos) return false;
  response.status = 304;
  return true;
}

// For a terminal: no control character, of those above 127 neither.
std::string printable(std::string_view given, std::size_t most) {
  const std::string text = cut_text(given, most);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool is_high = byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0;
    out += byte < 32 || byte == 127 || is_high ? '?' : text[i];
    if (is_high) ++i;
  }
  return out;
}

constexpr std::size_t longest_actor = 100, longest_log = 3000;

}  // namespace

Web::Web(const Options& options, Database& database)
    : options_(options), database_(database), gate_(options), samples_(database) {
  set_up(server_);
}

void Web::set_up(BoundedServer& server) {
  server.set_keep_alive_max_count(1);
  server.set_payload_max_length(largest_body);
  server.set_tcp_nodelay(true);
  // Two of them shall not share the port.
  server.set_socket_options([](socket_t socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  });
  server.set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
    bool goes_on = false;
    guarded(response, [&] {
      gate_.check_request(request);
      goes_on = request.method == "POST";
      if (goes_on) gate_.check_change(request);
      if (goes_on && request.path != "/api/login") gate_.check_token(request);
      if (!goes_on) answer(request, response);
    });
    goes_on = goes_on && response.status < 400;
    return goes_on ? httplib::Server::HandlerResponse::Unhandled : httplib::Server::HandlerResponse::Handled;
  });
  server.Post("/api/action", [this](const httplib::Request& request, httplib::Response& response) {
    guarded(response, [&] { answer_change(request, response); });
  });
  server.Post("/api/login", [this](const httplib::Request& request, httplib::Response& response) {
    guarded(response, [&] { answer_log_in(request, response); });
  });
  server.set_error_handler([](const httplib::Request&, httplib::Response& response) {
    if (response.body.empty()) put_refusal({response.status, "usage", "the request cannot be served"}, response);
  });
  server.set_post_routing_handler(
      [](const httplib::Request&, httplib::Response& response) { Gate::add_headers(response); });
}

Web::~Web() { stop(); }

void Web::listen() {
  const bool takes_any = options_.port == 0;
  port_ = takes_any ? server_.bind_to_any_port(options_.address) : options_.port;
  if (takes_any ? port_ <= 0 : !server_.bind_to_port(options_.address, port_))
    throw Failure(Exit::failed, "cannot listen at " + options_.address + " port " + std::to_string(options_.port),
                  "HINT:  --port 0 takes any that is free.\n");
  listener_ = std::thread([this] {
    try {
      is_broken_ = !server_.serve(threads);
    } catch (const std::exception&) {  // as no threads
      is_broken_ = true;
    }
  });
}

void Web::stop() {
  if (!listener_.joinable()) return;
  server_.end();
  listener_.join();
}

std::string Web::hello() const {
  const Identity& who = database_.identity();
  const auto text = [](const char* name, const std::string& value) {
    return json_text(name) + ":" + (value.empty() ? "null" : json_text(value)) + ",";
  };
  return "{" + text("database", who.database) + text("login", who.login) + text("role", who.role) +
         text("tenant", who.tenant) + text("version", who.version) + text("postgresql", who.server_version) +
         text("context", options_.context) + "\"admin\":" + (who.is_admin ? "true" : "false") +
         ",\"actions\":" + (options_.allow_actions ? "true" : "false") +
         ",\"token\":" + (gate_.asks_for_token() ? "true" : "false") + "}";
}

std::string Web::view(const std::string& name, const httplib::Request& request) {
  const bool shows_one = !database_.identity().is_admin;
  const Ask ask = [&](const std::string& parameter) -> std::string {
    // The role of the only tenant names it.
    if (shows_one && parameter == "tenant") return {};
    return request.get_param_value(parameter);
  };
  if (name == "hello") return hello();
  if (name == "samples") {
    const std::string after = ask("after");
    return samples_.after(ask("tenant"), after.empty() ? 0 : std::strtoll(after.c_str(), nullptr, 10));
  }
  return show_view(database_, name, ask);
}

void Web::answer_view(const std::string& name, const httplib::Request& request, httplib::Response& response) {
  const std::string key = request.target;
  const auto put = [&](const Answer& found) {
    if (name != "hello") response.set_header("X-Insula-Now", std::to_string(database_.clock()));
    if (!is_known(request, response, found.etag)) response.set_content(found.body, json_type);
  };
  const bool wants_fresh = request.get_header_value("X-Insula-Fresh") == "1";
  std::uint64_t generation = 0;
  {
    std::unique_lock lock(mutex_);
    generation = generation_;
    const auto found = answers_.find(key);
    if (!wants_fresh && found != answers_.end() && Clock::now() < found->second.until) {
      const Answer answer = found->second;
      lock.unlock();
      return put(answer);
    }
  }
  const auto asked = Clock::now();
  Answer made{view(name, request), "", {}};
  const auto now = Clock::now();
  made.until = now + std::max<Clock::duration>(answer_lasts, answer_lasts_times * (now - asked));
  made.etag = etag_of(made.body);
  put(made);
  const std::scoped_lock lock(mutex_);
  std::erase_if(answers_, [&](const auto& one) { return one.second.until < now; });
  // What was asked before a change is not to be shown after it.
  if (generation != generation_) return;
  if ((answers_.size() < most_answers || answers_.contains(key)) && made.body.size() < largest_body)
    answers_[key] = std::move(made);
}

void Web::answer_file(const httplib::Request& request, httplib::Response& response) const {
  const std::string path = request.path == "/" ? "/index.html" : request.path;
  for (const File& file : files()) {
    if (file.path != path) continue;
    if (is_known(request, response, etag_of(file.content))) return;
    response.set_content(file.content.data(), file.content.size(),
                         (std::string(file.type) + "; charset=utf-8").c_str());
    return;
  }
  throw Refusal(404, "missing", "there is no such page");
}

// It needs no token: so it tells no more, and costs a connection once a second at most, however often it is asked.
bool Web::ask_health() {
  {
    const std::scoped_lock lock(mutex_);
    if (is_asking_health_ || Clock::now() < healthy_until_) return is_healthy_;
    is_asking_health_ = true;
  }
  bool is_healthy = false;
  try {
    database_.take()->query("SELECT 1");
    is_healthy = true;
  } catch (const std::exception&) {
  }
  const std::scoped_lock lock(mutex_);
  is_asking_health_ = false;
  is_healthy_ = is_healthy;
  healthy_until_ = Clock::now() + health_lasts;
  return is_healthy;
}

void Web::answer(const httplib::Request& request, httplib::Response& response) {
  if (request.path == "/healthz") {
    const bool is_well = ask_health();
    if (!is_well) response.status = 503;
    response.set_content(is_well ? "ok\n" : "not ok\n", "text/plain");
  } else if (request.path == "/metrics") {
    gate_.check_token(request);
    if (!database_.identity().is_admin) throw Refusal(403, "refused", "this is for administrators of all tenants");
    const BoundedTable metrics = database_.take()->query("SELECT insula.metrics()");
    if (metrics.is_cut)  // a part of them would look like all
      throw Refusal(503, "refused", "the metrics are larger than a query may send", "",
                    "insula dashboard --megabytes allows more.");
    response.set_content(metrics.value(), "text/plain; version=0.0.4; charset=utf-8");
  } else if (request.path.starts_with("/api/")) {
    gate_.check_token(request);
    answer_view(request.path.substr(5), request, response);
  } else {
    answer_file(request, response);
  }
}

std::string Web::actor_of(const httplib::Request& request) const {
  return options_.user_header.empty() ? "" : printable(request.get_header_value(options_.user_header), longest_actor);
}

void Web::answer_change(const httplib::Request& request, httplib::Response& response) {
  if (!options_.allow_actions)
    throw Refusal(403, "refused", "this dashboard only shows", "", "insula dashboard --allow-actions can change, too.");
  const std::string actor = actor_of(request);
  std::string asked = "no JSON";
  const auto log = [&](const std::string& outcome) {
    std::cerr << printable(request.remote_addr + " " + actor + " " + asked, longest_log) + " -> " +
                     printable(outcome, longest_log) + "\n"
              << std::flush;
  };
  std::string outcome;
  try {
    const auto wanted = nlohmann::json::parse(request.body);
    asked = summary_of(wanted);
    outcome = act(database_, wanted, actor);
  } catch (const std::exception& error) {
    log(error.what());
    throw;
  }
  log(outcome);
  response.set_content(outcome, json_type);
  forget_answers();
}

void Web::forget_answers() {
  const std::scoped_lock lock(mutex_);
  ++generation_;
  answers_.clear();
}

void Web::answer_log_in(const httplib::Request& request, httplib::Response& response) {
  const auto body = nlohmann::json::parse(request.body);
  response.set_header("Set-Cookie", gate_.log_in(body.at("token").get<std::string>(), request));
  response.set_content("{\"done\":true}", json_type);
}

int serve(const Options& options) {
  check_options(options);
  Database database(options);
  Web web(options, database);
  web.listen();
  const std::string host =
      options.address.find(':') == std::string::npos ? options.address : "[" + options.address + "]";
  const Identity& who = database.identity();
  std::cout << "http://" << host << ":" << web.port() << "/  "
            << (who.tenant.empty() ? "all tenants" : "tenant " + who.tenant) << ", "
            << (options.allow_actions ? "can change" : "read-only") << std::endl;
  constexpr int look_whether_it_listens = 1000;  // milliseconds
  while (!interrupted() && !web.is_broken()) (void)wait_for_input(-1, look_whether_it_listens);
  if (web.is_broken())
    throw Failure(Exit::failed, "cannot listen any more at " + options.address + " port " + std::to_string(web.port()));
  return 0;
}

}  // namespace insula::cli::dashboard
