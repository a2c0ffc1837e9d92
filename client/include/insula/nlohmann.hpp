// SPDX-License-Identifier: PostgreSQL
// Opt-in: a Context holds whatever nlohmann::json converts, std::set, std::pair, enums and
// types of your own among it.  Not part of insula.hpp; the library itself does not need it
// (link nlohmann_json::nlohmann_json).
//
//   struct Address { std::string city; int number; };
//   NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Address, city, number)
//
//   insula::Context ctx{{"home", Address{"Rome", 3}}};
//   auto home = ctx.at<Address>("home");                    // throws error{invalid}
//   auto trips = ctx.get<std::vector<Address>>("trips");    // nullopt: absent, or not of that form
//   auto any = ctx.at<nlohmann::json>("home");              // whatever it is
//
// Types that a Context can hold by itself are not affected.  Inside a converted type nlohmann's own
// rules hold: a number is cut to fit, a bool becomes an int.  What its to_json throws is
// passed on.  A binary value throws error{invalid}.
//
// Include it before the first use of such a type, in every source that uses it.
#pragma once

#include <insula/context.hpp>
#include <insula/error.hpp>

#include <nlohmann/json.hpp>

#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace insula {

namespace detail {

inline Value value_of(const nlohmann::json& json) {
  using Type = nlohmann::json::value_t;
  switch (json.type()) {
    case Type::boolean:
      return json.get<bool>();
    case Type::number_integer:
      return json.get<std::int64_t>();
    case Type::number_unsigned:
      return json.get<std::uint64_t>();
    case Type::number_float:
      return json.get<double>();
    case Type::string:
      return json.get_ref<const std::string&>();
    case Type::object: {
      Context object;
      for (auto it = json.begin(); it != json.end(); ++it) object.set(it.key(), value_of(it.value()));
      return object;
    }
    case Type::array: {
      Value::Array array;
      array.reserve(json.size());
      for (const nlohmann::json& element : json) array.push_back(value_of(element));
      return array;
    }
    case Type::null:
      return nullptr;
    default:
      throw error{errc::invalid, "context: JSON has no binary values"};
  }
}

inline nlohmann::json json_of(const Value& value) {
  return std::visit(
      [](const auto& held) -> nlohmann::json {
        using Held = std::remove_cvref_t<decltype(held)>;
        if constexpr (std::same_as<Held, Value::Array>) {
          nlohmann::json array = nlohmann::json::array();
          for (const Value& element : held) array.push_back(json_of(element));
          return array;
        } else if constexpr (std::same_as<Held, Value::Object>) {
          nlohmann::json object = nlohmann::json::object();
          for (const std::string& key : held->keys()) object[key] = json_of(*held->find(key));
          return object;
        } else if constexpr (std::same_as<Held, Decimal>) {
          if (const auto nearest = held.nearest()) return *nearest;
          throw error{errc::invalid, "context: a number is out of the range of a double"};
        } else {
          return held;
        }
      },
      value.storage());
}

// Types that need no codec; asking nlohmann::json about them would lead in a circle.
template <class T>
concept native = std::is_arithmetic_v<T> || std::is_pointer_v<T> || std::is_null_pointer_v<T> || is_vector<T>::value ||
    is_optional<T>::value || is_string_map<T>::value || is_duration<T>::value || is_time<T>::value ||
    std::same_as<T, Value> || std::same_as<T, Context> || std::same_as<T, Value::Object> ||
    std::convertible_to<T, std::string_view>;

template <class T>
concept by_nlohmann = std::same_as<T, nlohmann::json> ||
    (!native<T> && std::constructible_from<nlohmann::json, const T&> && requires(const nlohmann::json& json) {
      { json.get<T>() } -> std::same_as<T>;
    });

}  // namespace detail

template <detail::by_nlohmann T>
struct Codec<T> {
  static Value to_value(const T& value) { return detail::value_of(nlohmann::json(value)); }
  static std::optional<T> from_value(const Value& value) {
    try {
      return detail::json_of(value).template get<T>();
    } catch (const nlohmann::json::exception&) {
      return std::nullopt;
    } catch (const error&) {
      return std::nullopt;
    }
  }
};

}  // namespace insula
