// The middleware that changes nothing.
#include <insula/middleware.hpp>

namespace insula {

Middleware::~Middleware() = default;
void Middleware::around_task(TaskContext&, const std::function<void()>& run) { run(); }
void Middleware::before_submit(Submission&) {}
void Middleware::to_server(std::string_view, Context&) {}
void Middleware::from_server(std::string_view, Context&) {}

}  // namespace insula
