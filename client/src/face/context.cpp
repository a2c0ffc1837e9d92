// Context and Value: JSON text in and out, and merge patches.
//
// nlohmann::json reads and writes the text and is seen in this file only.  Trees are
// walked by recursion, which from_json bounds; what is nested deeper than that by hand
// fails in to_json.  Nothing here is shared or locked.
#include <insula/context.hpp>
#include <insula/error.hpp>
#include <insula/nlohmann.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <iterator>

namespace insula {

namespace {

constexpr int max_depth = 1'000;

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& why) { throw error{errc::invalid, "context: " + why}; }

// Stops before the tree, not after: a recursive destructor of a deep one would not survive.
class DepthCheck : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_ <= max_depth; }
  bool key(string_t&) override { return true; }
  bool end_object() override { return --depth_, true; }
  bool start_array(std::size_t) override { return ++depth_ <= max_depth; }
  bool end_array() override { return --depth_, true; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    problem = e.what();
    return false;
  }
  std::string problem;

 private:
  int depth_ = 0;
};

Json encode(const Value& value, int depth);

Json encode_object(const Context& object, int depth) {
  if (depth > max_depth) refuse("nested too deep");
  Json json = Json::object();
  for (const std::string& key : object.keys()) {
    if (key.find('\0') != std::string::npos) refuse("a key holds a NUL character, which PostgreSQL cannot store");
    json[key] = encode(*object.find(key), depth + 1);
  }
  return json;
}

struct Encoder {
  int depth;

  Json operator()(std::nullptr_t) const { return nullptr; }
  Json operator()(bool value) const { return value; }
  Json operator()(std::int64_t value) const { return value; }
  Json operator()(std::uint64_t value) const { return value; }
  Json operator()(double value) const {
    if (!std::isfinite(value)) refuse("JSON has no NaN and no infinity");
    return value;
  }
  Json operator()(const std::string& value) const {
    if (value.find('\0') != std::string::npos) refuse("a string holds a NUL character, which PostgreSQL cannot store");
    return value;
  }
  Json operator()(const Value::Array& array) const {
    if (depth > max_depth) refuse("nested too deep");
    Json json = Json::array();
    for (const Value& element : array) json.push_back(encode(element, depth + 1));
    return json;
  }
  Json operator()(const Value::Object& object) const { return encode_object(*object, depth); }
};

Json encode(const Value& value, int depth) { return std::visit(Encoder{depth}, value.storage()); }

Json parse(std::string_view text) {
  DepthCheck check;
  if (!Json::sax_parse(text, &check)) refuse(check.problem.empty() ? "nested too deep" : check.problem);
  return Json::parse(text);
}

std::string dump(const Json& json) {
  try {
    return json.dump();
  } catch (const Json::type_error&) {
    refuse("a string is not UTF-8");
  }
}

const Context* as_object(const Value* value) {
  if (!value) return nullptr;
  const auto* object = std::get_if<Value::Object>(&value->storage());
  return object ? object->get() : nullptr;
}

// A patch as a value of its own: nulls inside it have nothing left to delete.
Value without_nulls(const Value& value) {
  const Context* object = as_object(&value);
  if (!object) return value;
  Context clean;
  clean.merge_patch(*object);
  return clean;
}

}  // namespace

bool operator==(const Value& left, const Value& right) noexcept {
  if (left.storage_.index() != right.storage_.index()) return false;
  if (const auto* object = std::get_if<Value::Object>(&left.storage_))
    return **object == *std::get<Value::Object>(right.storage_);
  return left.storage_ == right.storage_;
}

Context::Context(std::initializer_list<Entry> entries) {
  for (const Entry& entry : entries) set(entry.key, entry.value);
}

Value Value::from_json(std::string_view json) { return detail::value_of(parse(json)); }

std::string Value::to_json() const { return dump(encode(*this, 0)); }

Context Context::from_json(std::string_view json) {
  const Json parsed = parse(json);
  if (!parsed.is_object()) refuse("not a JSON object");
  return *std::get<Value::Object>(detail::value_of(parsed).storage());
}

std::string Context::to_json() const { return dump(encode_object(*this, 0)); }

Context& Context::set(std::string_view key, Value value) {
  entries_.insert_or_assign(std::string{key}, std::move(value));
  return *this;
}

Context Context::with(std::string_view key, Value value) const& { return Context{*this}.with(key, std::move(value)); }

Context Context::with(std::string_view key, Value value) && {
  set(key, std::move(value));
  return std::move(*this);
}

bool Context::erase(std::string_view key) {
  const auto it = entries_.find(key);
  if (it == entries_.end()) return false;
  entries_.erase(it);
  return true;
}

const Value* Context::find(std::string_view key) const {
  const auto it = entries_.find(key);
  return it == entries_.end() ? nullptr : &it->second;
}

std::vector<std::string> Context::keys() const {
  std::vector<std::string> keys;
  keys.reserve(entries_.size());
  for (const auto& [key, value] : entries_) keys.push_back(key);
  return keys;
}

void Context::throw_bad_key(std::string_view key) const {
  const Value* value = find(key);
  const char* why = !value ? "is absent" : value->is_null() ? "is null" : "is of another type or out of range";
  refuse("\"" + std::string{key} + "\" " + why);
}

void Context::merge_patch(const Context& patch) {
  for (const auto& [key, value] : patch.entries_) {
    if (value.is_null()) {
      entries_.erase(key);
      continue;
    }
    const Context* change = as_object(&value);
    const Context* present = as_object(find(key));
    if (change && present) {
      Context merged = *present;
      merged.merge_patch(*change);
      set(key, std::move(merged));
    } else {
      set(key, without_nulls(value));
    }
  }
}

void Context::append_patch(const Context& later) {
  for (const auto& [key, value] : later.entries_) {
    const Context* change = as_object(&value);
    const Context* present = as_object(find(key));
    if (change && present) {
      Context both = *present;
      both.append_patch(*change);
      set(key, std::move(both));
    } else {
      set(key, value);
    }
  }
}

}  // namespace insula
