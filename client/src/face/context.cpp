// Context and Value: JSON text in and out, and merge patches.
//
// nlohmann::json reads and writes the text and is seen in this file only.  Trees are
// walked by recursion, which from_json bounds; what is nested deeper than that by hand
// fails in to_json.  Nothing here is shared or locked.
#include <insula/context.hpp>
#include <insula/error.hpp>

#include <nlohmann/json.hpp>

#include <cmath>
#include <optional>
#include <utility>
#include <vector>

namespace insula {

namespace {

constexpr std::size_t max_depth = 1'000;

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& why) { throw error{errc::invalid, "context: " + why}; }

// Makes the values while the text is read: no tree of nlohmann's in between.  What is nested too
// deep is refused before it is built, since its destructor would not survive it.
class Builder : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override { return add(value); }
  bool number_float(number_float_t value, const string_t&) override { return add(value); }
  bool string(string_t& value) override { return add(std::move(value)); }
  bool binary(binary_t&) override { return false; }  // not in text
  bool key(string_t& key) override { return open_.back().key = std::move(key), true; }
  bool start_object(std::size_t) override { return open(false); }
  bool start_array(std::size_t) override { return open(true); }
  bool end_object() override {
    Context object = std::move(open_.back().object);
    open_.pop_back();
    if (!open_.empty()) return add(std::move(object));
    return outermost_ = std::move(object), true;
  }
  bool end_array() override {
    Value::Array array = std::move(open_.back().array);
    open_.pop_back();
    return add(std::move(array));
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    problem_ = e.what();
    return false;
  }

  // Of a text that was read to its end; each once.
  std::optional<Context> take_object() { return std::move(outermost_); }
  Value take_value() { return outermost_ ? Value{*std::move(outermost_)} : std::move(value_); }
  const std::string& problem() const noexcept { return problem_; }

 private:
  // An object or an array that has not ended.
  struct Open {
    Context object;
    Value::Array array;
    std::string key;  // of the object's next value
    bool is_array;
  };

  bool open(bool is_array) {
    if (open_.size() >= max_depth) return false;
    open_.push_back({{}, {}, {}, is_array});
    return true;
  }
  bool add(Value value) {
    if (open_.empty())
      value_ = std::move(value);
    else if (open_.back().is_array)
      open_.back().array.push_back(std::move(value));
    else
      open_.back().object.set(open_.back().key, std::move(value));
    return true;
  }

  std::vector<Open> open_;
  std::optional<Context> outermost_;
  Value value_;  // the outermost, if it is no object
  std::string problem_;
};

Json encode(const Value& value, std::size_t depth);

Json encode_object(const Context& object, std::size_t depth) {
  if (depth > max_depth) refuse("nested too deep");
  Json json = Json::object();
  for (const std::string& key : object.keys()) {
    if (key.find('\0') != std::string::npos) refuse("a key holds a NUL character, which PostgreSQL cannot store");
    json[key] = encode(*object.find(key), depth + 1);
  }
  return json;
}

struct Encoder {
  std::size_t depth;

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

Json encode(const Value& value, std::size_t depth) { return std::visit(Encoder{depth}, value.storage()); }

Builder parse(std::string_view text) {
  Builder builder;
  if (!Json::sax_parse(text, &builder)) refuse(builder.problem().empty() ? "nested too deep" : builder.problem());
  return builder;
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

Value Value::from_json(std::string_view json) { return parse(json).take_value(); }

std::string Value::to_json() const { return dump(encode(*this, 0)); }

Context Context::from_json(std::string_view json) {
  std::optional<Context> object = parse(json).take_object();
  if (!object) refuse("not a JSON object");
  return *std::move(object);
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
