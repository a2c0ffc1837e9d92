// Any bytes as a context: one that is taken is the same after it was written and read again,
// merges with itself to itself, and says what PostgreSQL cannot store when it is written.
//
// An input is two lines of JSON, a context and a patch of it.
#include <insula/context.hpp>
#include <insula/error.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

using insula::Context;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

std::optional<Context> read(std::string_view json) {
  try {
    return Context::from_json(json);
  } catch (const insula::error& e) {
    require(e.code() == insula::errc::invalid);
    return std::nullopt;
  }
}

std::optional<std::string> write(const Context& context) {
  try {
    return context.to_json();
  } catch (const insula::error& e) {
    require(e.code() == insula::errc::invalid);
    return std::nullopt;
  }
}

void check_patches(const Context& context, const Context& patch) {
  Context once = context;
  once.merge_patch(patch);
  Context twice = once;
  twice.merge_patch(patch);
  require(twice == once);

  Context both = patch;
  both.append_patch(patch);
  require(both == patch);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t line = std::min(input.find('\n'), input.size());
  const std::optional<Context> context = read(input.substr(0, line));
  if (!context) return 0;
  if (const auto json = write(*context)) {
    const auto again = read(*json);
    require(again == context);
    require(write(*again) == json);
  }
  for (const std::string& key : context->keys()) {
    require(context->contains(key));
    (void)context->get<int>(key);
    (void)context->get<float>(key);
    (void)context->get<std::string>(key);
  }
  if (const auto patch = read(input.substr(std::min(line + 1, input.size())))) check_patches(*context, *patch);
  return 0;
}
