// SPDX-License-Identifier: PostgreSQL
// Context: the JSON object a workflow is started with, that its tasks read and add to,
// and that comes back as the result.  A value: copies are deep.
//
//   insula::Context in{{"tenant_id", "acme_corp"}, {"n", 3}, {"tags", std::vector<std::string>{"a", "b"}}};
//   in.set("address", insula::Context{{"city", "Rome"}});
//   int n = in.get<int>("n").value_or(0);        // nullopt: absent, null, another type, out of range
//   auto city = in.at<insula::Context>("address").at<std::string>("city");   // throws error{invalid}
//   in.set("sizes", {1, 2, 3}).set("paid_at", std::chrono::system_clock::now());
//   for (const auto& [key, value] : in) std::cout << key << '=' << value.to_json() << '\n';   // sorted by key
//
// Types: bool, every integer type, float and double, std::string, Context, and of all of these
// std::vector (or a list in braces), std::optional (nullopt is null) and std::map from std::string (an object).
// A time point of the system's clock is its text in UTC, "2026-05-01T12:00:00.5Z", and a duration "PT90.5S":
// ISO 8601, to the microsecond, as PostgreSQL reads it too; one that is no whole number of a unit is none in that unit.
// Null in an object is as good as absent: a Context that is merged drops it.
// Nothing is converted behind your back: a bool comes only from a bool, an
// integer only from an integer that fits, a string only from a string.  A floating point
// type takes any number in its range.  A number that neither an integer nor a double holds is kept
// as it stands in the JSON, digit by digit.  insula/nlohmann.hpp adds all types that nlohmann::json converts,
// and a specialisation of Codec any other.
//
// Thread-safety: as a standard container (concurrent reads yes, a write needs to be alone).
#pragma once

#include <insula/export.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace insula {

class Context;
class Value;

// How a type that a Context does not know goes into it and comes out.  A specialisation has
// `static Value to_value(const T&)` and `static std::optional<T> from_value(const Value&)`,
// nullopt for what is no T, and must be seen before the type's first use with a Context.
template <class T>
struct Codec;

namespace detail {

template <class T>
concept character = std::same_as<T, char> || std::same_as<T, wchar_t> || std::same_as<T, char8_t> ||
    std::same_as<T, char16_t> || std::same_as<T, char32_t>;
template <class T>
concept integer = std::integral<T> && !std::same_as<T, bool> && !character<T>;

template <class T>
inline constexpr bool always_false = false;

template <class T>
struct is_vector : std::false_type {};
template <class T, class A>
struct is_vector<std::vector<T, A>> : std::true_type {};

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};

template <class T>
struct is_string_map : std::false_type {};
template <class T, class C, class A>
struct is_string_map<std::map<std::string, T, C, A>> : std::true_type {};

template <class T>
struct is_duration : std::false_type {};
template <class R, class P>
struct is_duration<std::chrono::duration<R, P>> : std::true_type {};

template <class T>
struct is_time : std::false_type {};
template <class D>
struct is_time<std::chrono::time_point<std::chrono::system_clock, D>> : std::true_type {};

template <class T>
concept has_codec = requires(const T& value) {
  Codec<T>::to_value(value);
};

struct DecimalAccess;

// ISO 8601, and back; nullopt: no such text.
INSULA_EXPORT std::string text_of(std::chrono::microseconds duration);
INSULA_EXPORT std::string text_of(std::chrono::sys_time<std::chrono::microseconds> time);
INSULA_EXPORT std::optional<std::chrono::microseconds> duration_of(std::string_view text) noexcept;
INSULA_EXPORT std::optional<std::chrono::sys_time<std::chrono::microseconds>> time_of(std::string_view text) noexcept;

// The same duration in another unit; nullopt: there is none.
template <class To, class R, class P>
constexpr std::optional<To> fitting(std::chrono::duration<R, P> from) {
  using Seconds = std::chrono::duration<long double>;
  if (Seconds{from} > Seconds{To::max()} || Seconds{from} < Seconds{To::min()}) return std::nullopt;
  const To to = std::chrono::duration_cast<To>(from);
  if constexpr (!std::chrono::treat_as_floating_point_v<typename To::rep>)
    if (to != from) return std::nullopt;
  return to;
}
[[noreturn]] INSULA_EXPORT void refuse_duration();
// A finer part is cut off, towards the past.
template <class R, class P>
std::chrono::microseconds in_microseconds(std::chrono::duration<R, P> from) {
  using Microseconds = std::chrono::microseconds;
  using Seconds = std::chrono::duration<long double>;
  constexpr Seconds most{Microseconds::max()};
  if (!(Seconds{from} < most && Seconds{from} > -most)) refuse_duration();  // not a number too
  return std::chrono::floor<Microseconds>(from);
}

}  // namespace detail

// A number that JSON and PostgreSQL hold and C++ does not: larger than any double, or with more
// digits.  It comes from JSON alone.
class INSULA_EXPORT Decimal {
 public:
  const std::string& text() const noexcept { return text_; }
  // The nearest double; nullopt: it is larger than any.
  std::optional<double> nearest() const noexcept;

  friend bool operator==(const Decimal&, const Decimal&) = default;  // the same digits

 private:
  friend struct detail::DecimalAccess;
  explicit Decimal(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

// One JSON value.  You rarely name it: whatever a Context can hold converts to it.
class INSULA_EXPORT Value {
 public:
  using Array = std::vector<Value>;
  // Objects are shared between copies and never changed through a Value.
  using Object = std::shared_ptr<const Context>;
  using Storage =
      std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object, Decimal>;

  Value() noexcept = default;  // null
  Value(std::nullptr_t) noexcept {}
  template <std::same_as<bool> T>  // exactly bool: neither a pointer nor a number becomes one
  Value(T value) noexcept : storage_(std::in_place_type<bool>, value) {}
  template <detail::integer T>
  Value(T value) noexcept {
    if constexpr (std::unsigned_integral<T>)
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        storage_.emplace<std::uint64_t>(value);
        return;
      }
    storage_.emplace<std::int64_t>(static_cast<std::int64_t>(value));
  }
  template <std::floating_point T>
  Value(T value) noexcept : storage_(std::in_place_type<double>, static_cast<double>(value)) {}
  Value(const char* value) : storage_(std::in_place_type<std::string>, value) {}
  Value(std::string_view value) : storage_(std::in_place_type<std::string>, value) {}
  Value(std::string value) : storage_(std::in_place_type<std::string>, std::move(value)) {}
  Value(Context value);
  Value(Decimal value) : storage_(std::in_place_type<Decimal>, std::move(value)) {}
  Value(Array value) : storage_(std::in_place_type<Array>, std::move(value)) {}
  template <class T>
  requires(!std::same_as<T, Value>) Value(const std::vector<T>& values) : storage_(std::in_place_type<Array>) {
    auto& array = std::get<Array>(storage_);
    array.reserve(values.size());
    for (const auto& value : values) array.emplace_back(static_cast<T>(value));
  }
  template <class T>
  Value(const std::optional<T>& value) {
    if (value) *this = Value(*value);
  }
  template <class T, class C, class A>
  Value(const std::map<std::string, T, C, A>& values);
  template <class R, class P>
  Value(std::chrono::duration<R, P> value) : Value(detail::text_of(detail::in_microseconds(value))) {}
  template <class D>
  Value(std::chrono::time_point<std::chrono::system_clock, D> value)
      : Value(detail::text_of(
            std::chrono::sys_time<std::chrono::microseconds>{detail::in_microseconds(value.time_since_epoch())})) {}
  template <detail::has_codec T>
  Value(const T& value) : Value(Codec<T>::to_value(value)) {}
  template <class T>
  requires(!std::same_as<std::remove_const_t<T>, char>) Value(T*)
  = delete;

  // Any JSON text; throws error{invalid}, as Context::from_json and to_json do.
  static Value from_json(std::string_view json);
  std::string to_json() const;

  [[nodiscard]] bool is_null() const noexcept { return storage_.index() == 0; }
  const Storage& storage() const noexcept { return storage_; }

  // The value as a T, or nullopt: see the top of this file.
  template <class T>
  [[nodiscard]] std::optional<T> as() const;

  INSULA_EXPORT friend bool operator==(const Value& left, const Value& right) noexcept;

 private:
  template <class T>
  std::optional<T> as_integer() const noexcept;
  template <class T>
  std::optional<T> as_floating() const noexcept;

  Storage storage_;
};

class INSULA_EXPORT Context {
 public:
  // One `{"key", value}` of an initializer list.  A value in braces is an array, of one element too.
  struct Entry {
    template <class T>
    requires std::constructible_from<Value, T> Entry(std::string_view its_key, T&& its_value)
        : key(its_key), value(std::forward<T>(its_value)) {}
    Entry(std::string_view its_key, std::initializer_list<Value> elements)
        : key(its_key), value(Value::Array(elements)) {}

    std::string_view key;
    Value value;
  };

  Context() = default;
  Context(std::initializer_list<Entry> entries);  // of two equal keys the later counts

  // Parses a JSON object.  Throws error{invalid} for anything else, and for one nested
  // more than 1,000 deep.
  static Context from_json(std::string_view json);
  // Throws error{invalid} where JSON or PostgreSQL has no way to say it: a NaN or an
  // infinity, a string that is not UTF-8 or holds a NUL character.
  std::string to_json() const;

  Context& set(std::string_view key, Value value);
  Context& set(std::string_view key, std::initializer_list<Value> elements) { return set(key, Value::Array(elements)); }
  // The same, for chains: Context{}.with("a", 1).with("b", 2).
  [[nodiscard]] Context with(std::string_view key, Value value) const&;
  [[nodiscard]] Context with(std::string_view key, Value value) &&;
  [[nodiscard]] Context with(std::string_view key, std::initializer_list<Value> elements) const& {
    return with(key, Value(Value::Array(elements)));
  }
  [[nodiscard]] Context with(std::string_view key, std::initializer_list<Value> elements) && {
    return std::move(*this).with(key, Value(Value::Array(elements)));
  }
  bool erase(std::string_view key);  // false: there was none

  // nullopt if the key is absent or its value null, of another type or out of range.
  template <class T>
  [[nodiscard]] std::optional<T> get(std::string_view key) const {
    if (const Value* value = find(key)) return value->as<T>();
    if constexpr (detail::is_optional<T>::value) return T{};  // absent counts as null
    return std::nullopt;
  }
  // As get, but throws error{invalid} that names the key.
  template <class T>
  T at(std::string_view key) const {
    if (std::optional<T> value = get<T>(key)) return *std::move(value);
    throw_bad_key(key);
  }

  [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }  // also with a null value
  [[nodiscard]] const Value* find(std::string_view key) const;                              // nullptr: absent
  [[nodiscard]] std::vector<std::string> keys() const;                                      // sorted
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }
  [[nodiscard]] bool empty() const noexcept { return entries_.empty(); }

  using const_iterator = std::map<std::string, Value, std::less<>>::const_iterator;
  const_iterator begin() const noexcept { return entries_.begin(); }  // pairs of key and value, sorted by key
  const_iterator end() const noexcept { return entries_.end(); }

  // RFC 7396: objects merge, anything else is replaced, a null deletes.
  void merge_patch(const Context& patch);
  // Makes of two patches the one that does what they do one after the other.  One thing
  // no patch can say: that an object takes the place of one that is there.  So where the
  // earlier deletes or replaces a key and the later sets it to an object, that is merged.
  void append_patch(const Context& later);

  friend bool operator==(const Context& left, const Context& right) noexcept { return left.entries_ == right.entries_; }

 private:
  [[noreturn]] void throw_bad_key(std::string_view key) const;

  std::map<std::string, Value, std::less<>> entries_;
};

inline Value::Value(Context value)
    : storage_(std::in_place_type<Object>, std::make_shared<const Context>(std::move(value))) {}

template <class T, class C, class A>
Value::Value(const std::map<std::string, T, C, A>& values) {
  Context object;
  for (const auto& [key, value] : values) object.set(key, Value(value));
  *this = Value(std::move(object));
}

template <class T>
std::optional<T> Value::as_integer() const noexcept {
  if (const auto* v = std::get_if<std::int64_t>(&storage_))
    return std::in_range<T>(*v) ? std::optional<T>{static_cast<T>(*v)} : std::nullopt;
  if (const auto* v = std::get_if<std::uint64_t>(&storage_))
    return std::in_range<T>(*v) ? std::optional<T>{static_cast<T>(*v)} : std::nullopt;
  return std::nullopt;
}

template <class T>
std::optional<T> Value::as_floating() const noexcept {
  std::optional<double> floating;
  if (const auto* v = std::get_if<double>(&storage_)) floating = *v;
  if (const auto* v = std::get_if<Decimal>(&storage_)) floating = v->nearest();
  if (floating) {
    if (*floating > static_cast<double>(std::numeric_limits<T>::max())) return std::nullopt;
    if (*floating < static_cast<double>(std::numeric_limits<T>::lowest())) return std::nullopt;
    return static_cast<T>(*floating);
  }
  if (const auto* v = std::get_if<std::int64_t>(&storage_)) return static_cast<T>(*v);
  if (const auto* v = std::get_if<std::uint64_t>(&storage_)) return static_cast<T>(*v);
  return std::nullopt;
}

template <class T>
std::optional<T> Value::as() const {
  if constexpr (std::same_as<T, Value>) {
    return *this;
  } else if constexpr (std::same_as<T, bool> || std::same_as<T, std::string>) {
    const T* v = std::get_if<T>(&storage_);
    return v ? std::optional<T>{*v} : std::nullopt;
  } else if constexpr (detail::integer<T>) {
    return as_integer<T>();
  } else if constexpr (std::floating_point<T>) {
    return as_floating<T>();
  } else if constexpr (std::same_as<T, Context>) {
    const Object* v = std::get_if<Object>(&storage_);
    return v ? std::optional<T>{**v} : std::nullopt;
  } else if constexpr (detail::is_vector<T>::value) {
    const Array* array = std::get_if<Array>(&storage_);
    if (!array) return std::nullopt;
    T values;
    values.reserve(array->size());
    for (const Value& element : *array) {
      auto value = element.as<typename T::value_type>();
      if (!value) return std::nullopt;
      values.push_back(*std::move(value));
    }
    return values;
  } else if constexpr (detail::is_optional<T>::value) {
    if (is_null()) return std::optional<T>{std::in_place};
    auto value = as<typename T::value_type>();
    return value ? std::optional<T>{std::in_place, *std::move(value)} : std::nullopt;
  } else if constexpr (detail::is_string_map<T>::value) {
    const Object* object = std::get_if<Object>(&storage_);
    if (!object) return std::nullopt;
    T values;
    for (const auto& [key, element] : **object) {
      auto value = element.template as<typename T::mapped_type>();
      if (!value) return std::nullopt;
      values.emplace(key, *std::move(value));
    }
    return values;
  } else if constexpr (detail::is_duration<T>::value || detail::is_time<T>::value) {
    const auto* text = std::get_if<std::string>(&storage_);
    if (!text) return std::nullopt;
    if constexpr (detail::is_time<T>::value) {
      const auto time = detail::time_of(*text);
      const auto since = time ? detail::fitting<typename T::duration>(time->time_since_epoch()) : std::nullopt;
      return since ? std::optional<T>{T{*since}} : std::nullopt;
    } else {
      const auto duration = detail::duration_of(*text);
      return duration ? detail::fitting<T>(*duration) : std::nullopt;
    }
  } else if constexpr (detail::has_codec<T>) {
    return Codec<T>::from_value(*this);
  } else {
    static_assert(detail::always_false<T>,
                  "a Context holds bool, integers, floating point, std::string, Context, times and durations, "
                  "std::vector, std::optional and std::map of these, and what insula/nlohmann.hpp or a Codec adds");
  }
}

}  // namespace insula
