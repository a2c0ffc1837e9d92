// Context and Value: JSON text in and out, and merge patches.
//
// nlohmann::json reads the text, but for numbers that are no double, and writes strings;
// it is seen in this file only.  Trees are walked by recursion, which from_json bounds;
// what is nested deeper than that by hand fails in to_json.  Nothing here is shared or locked.
#include <insula/context.hpp>
#include <insula/error.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

namespace insula {

struct detail::DecimalAccess {
  static Decimal make(std::string text) { return Decimal{std::move(text)}; }
};

namespace {

constexpr std::size_t max_depth = 1'000;

using Json = nlohmann::json;

[[noreturn]] void refuse(const std::string& why) { throw error{errc::invalid, "context: " + why}; }

// A decimal number: 0.digits times ten to the exponent, without zeros at either end.
struct Digits {
  bool negative = false;
  std::string digits;
  std::int64_t exponent = 0;

  friend bool operator==(const Digits&, const Digits&) = default;
};

// Reads the digits of a number of JSON.
Digits digits_of(std::string_view text) {
  Digits number;
  number.negative = text.starts_with('-');
  bool after_point = false;
  std::size_t i = number.negative ? 1 : 0;
  for (; i < text.size() && text[i] != 'e' && text[i] != 'E'; ++i) {
    if (text[i] == '.') {
      after_point = true;
    } else {
      const bool leads = number.digits.empty() && text[i] == '0';
      if (!leads) number.digits += text[i];
      number.exponent += leads ? (after_point ? -1 : 0) : (after_point ? 0 : 1);
    }
  }
  number.digits.erase(number.digits.find_last_not_of('0') + 1);
  if (number.digits.empty()) return {};
  if (i < text.size()) {
    i += text[i + 1] == '+' ? 2 : 1;
    constexpr std::int64_t most = 1'000'000'000;
    std::int64_t exponent = text[i] == '-' ? -most : most;  // kept where it is larger than any
    std::from_chars(text.data() + i, text.data() + text.size(), exponent);
    number.exponent += std::clamp(exponent, -most, most);
  }
  return number;
}

// Returns the type that holds the number exactly.  nlohmann's reader puts the locale's decimal point into the text.
Value number_of(std::string text) {
  const auto is_point = [](char c) { return (c < '0' || c > '9') && c != '-' && c != '+' && c != 'e' && c != 'E'; };
  std::replace_if(text.begin(), text.end(), is_point, '.');
  const char* end = text.data() + text.size();
  std::int64_t integer = 0;
  if (const auto read = std::from_chars(text.data(), end, integer); read.ec == std::errc{} && read.ptr == end)
    return integer;
  std::uint64_t natural = 0;
  if (const auto read = std::from_chars(text.data(), end, natural); read.ec == std::errc{} && read.ptr == end)
    return natural;
  double floating = 0;
  if (std::from_chars(text.data(), end, floating).ec != std::errc{}) return detail::DecimalAccess::make(text);
  // A double keeps fifteen digits of any number.
  if (text.size() <= 16 && text.find_first_of("eE") == std::string::npos) return floating;
  std::array<char, 32> shortest{};
  const auto written =
      std::to_chars(shortest.data(), shortest.data() + shortest.size(), floating, std::chars_format::scientific);
  const bool same = digits_of({shortest.data(), written.ptr}) == digits_of(text);
  return same ? Value{floating} : detail::DecimalAccess::make(text);
}

// Whether JSON's grammar has it.
bool is_number(std::string_view text) {
  std::size_t i = text.starts_with('-') ? 1 : 0;
  const auto digits = [&] {
    const std::size_t from = i;
    while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
    return i - from;
  };
  const std::size_t first = i;
  if (const std::size_t count = digits(); count == 0 || (count > 1 && text[first] == '0')) return false;
  if (i < text.size() && text[i] == '.' && (++i, digits() == 0)) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (digits() == 0) return false;
  }
  return i == text.size();
}

// Puts a 0 in the place of each number, since the parser takes none that is no double.  Up to what is no number:
// there the parser ends too.
std::string take_numbers(std::string_view text, std::vector<std::string>* numbers) {
  std::string rest;
  for (std::size_t i = 0; i < text.size();) {
    std::size_t end = i + 1;
    if (text[i] == '"') {
      while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
    } else if (text[i] == '-' || (text[i] >= '0' && text[i] <= '9')) {
      end = std::min(text.find_first_not_of("0123456789+-.eE", i), text.size());
      if (is_number(text.substr(i, end - i))) {
        numbers->emplace_back(text.substr(i, end - i));
        rest += '0';
        i = end;
        continue;
      }
      end = text.size();
    }
    rest += text.substr(i, end - i);
    i = end;
  }
  return rest;
}

// Makes the values while the text is read: no tree of nlohmann's in between.  What is nested too
// deep is refused before it is built, since its destructor would not survive it.
class Builder : public nlohmann::json_sax<Json> {
 public:
  Builder() = default;
  // Takes the numbers that were taken out of the text.
  explicit Builder(std::vector<std::string> numbers) : numbers_(std::move(numbers)) {}

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(number_integer_t value) override { return add(value); }
  bool number_unsigned(number_unsigned_t value) override {
    return add(next_number_ < numbers_.size() ? next_number() : Value{value});
  }
  bool number_float(number_float_t, const string_t& text) override { return add(number_of(text)); }
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
    has_overflow_ = e.id == 406;
    return false;
  }

  // Call once, when the text has been read to its end.
  std::optional<Context> take_object() { return std::move(outermost_); }
  Value take_value() { return outermost_ ? Value{*std::move(outermost_)} : std::move(value_); }
  const std::string& problem() const noexcept { return problem_; }
  bool has_overflow() const noexcept { return has_overflow_; }  // there is a number that is no double

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
  Value next_number() { return number_of(numbers_[next_number_++]); }
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
  bool has_overflow_ = false;
  std::vector<std::string> numbers_;
  std::size_t next_number_ = 0;
};

// Writes what a value holds; nlohmann::json the parts that take care.
class Writer {
 public:
  void operator()(std::nullptr_t) { out_ += "null"; }
  void operator()(bool value) { out_ += value ? "true" : "false"; }
  void operator()(std::int64_t value) { out_ += std::to_string(value); }
  void operator()(std::uint64_t value) { out_ += std::to_string(value); }
  void operator()(const Decimal& value) { out_ += value.text(); }
  void operator()(double value) {
    if (!std::isfinite(value)) refuse("JSON has no NaN and no infinity");
    // The shortest text that reads as this double, as number_of() compares with: nlohmann's is not always the shortest.
    const double size = std::abs(value);
    const bool is_plain = value == 0 || (size >= 1e-5 && size < 1e15);
    std::array<char, 32> text{};
    const auto written = std::to_chars(text.data(), text.data() + text.size(), value,
                                       is_plain ? std::chars_format::fixed : std::chars_format::scientific);
    const std::string_view digits{text.data(), written.ptr};
    out_ += digits;
    if (digits.find_first_of(".e") == std::string_view::npos) out_ += ".0";
  }
  void operator()(const std::string& value) {
    if (value.find('\0') != std::string::npos) refuse("a string holds a NUL character, which PostgreSQL cannot store");
    quote(value);
  }
  void operator()(const Value::Array& array) {
    enter();
    for (const Value& element : array) {
      out_ += &element == array.data() ? '[' : ',';
      std::visit(*this, element.storage());
    }
    out_ += array.empty() ? "[]" : "]";
    --depth_;
  }
  void operator()(const Value::Object& object) { (*this)(*object); }
  void operator()(const Context& object) {
    enter();
    char before = '{';
    for (const std::string& key : object.keys()) {
      if (key.find('\0') != std::string::npos) refuse("a key holds a NUL character, which PostgreSQL cannot store");
      out_ += std::exchange(before, ',');
      quote(key);
      out_ += ':';
      std::visit(*this, object.find(key)->storage());
    }
    out_ += object.empty() ? "{}" : "}";
    --depth_;
  }

  std::string take() { return std::move(out_); }

 private:
  void enter() {
    if (depth_++ > max_depth) refuse("nested too deep");
  }
  void quote(const std::string& text) {
    const auto is_plain = [](char c) { return c >= ' ' && c <= '~' && c != '"' && c != '\\'; };
    if (std::all_of(text.begin(), text.end(), is_plain)) {
      out_.append(1, '"').append(text).append(1, '"');
      return;
    }
    try {
      out_ += Json(text).dump();
    } catch (const Json::type_error&) {
      refuse("a string is not UTF-8");
    }
  }

  std::string out_;
  std::size_t depth_ = 0;
};

Builder parse(std::string_view text) {
  Builder builder;
  if (Json::sax_parse(text, &builder)) return builder;
  if (builder.has_overflow()) {
    std::vector<std::string> numbers;
    const std::string rest = take_numbers(text, &numbers);
    Builder second{std::move(numbers)};
    if (Json::sax_parse(rest, &second)) return second;
    refuse(second.problem().empty() ? "nested too deep" : second.problem());
  }
  refuse(builder.problem().empty() ? "nested too deep" : builder.problem());
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

std::optional<double> Decimal::nearest() const noexcept {
  double value = 0;
  if (std::from_chars(text_.data(), text_.data() + text_.size(), value).ec == std::errc{}) return value;
  // Too large, or so small that it is next to nothing.
  if (digits_of(text_).exponent > 0) return std::nullopt;
  return 0.0;
}

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

std::string Value::to_json() const {
  Writer writer;
  std::visit(writer, storage_);
  return writer.take();
}

Context Context::from_json(std::string_view json) {
  std::optional<Context> object = parse(json).take_object();
  if (!object) refuse("not a JSON object");
  return *std::move(object);
}

std::string Context::to_json() const {
  Writer writer;
  writer(*this);
  return writer.take();
}

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
