// insula/nlohmann.hpp, and Codec beneath it.
#include <insula/insula.hpp>
#include <insula/nlohmann.hpp>
#include <insula/testing.hpp>

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace shop {

struct Address {
  std::string city;
  int number;
  friend bool operator==(const Address&, const Address&) = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Address, city, number)

struct Money {
  std::int64_t cents;
};

}  // namespace shop

template <>
struct insula::Codec<shop::Money> {
  static Value to_value(const shop::Money& money) { return money.cents; }
  static std::optional<shop::Money> from_value(const Value& value) {
    const auto cents = value.as<std::int64_t>();
    return cents ? std::optional<shop::Money>{{*cents}} : std::nullopt;
  }
};

namespace {

using insula::Context;
using shop::Address;

TEST(Nlohmann, ATypeOfOnesOwnGoesInAndComesOut) {
  const Context ctx{{"home", Address{"Rome", 3}}};
  EXPECT_EQ(ctx.to_json(), R"({"home":{"city":"Rome","number":3}})");
  EXPECT_EQ(ctx.at<Address>("home"), (Address{"Rome", 3}));
  EXPECT_EQ(ctx.get<Address>("home"), (Address{"Rome", 3}));
  EXPECT_EQ(ctx.at<Context>("home").at<int>("number"), 3);
  EXPECT_EQ(Context::from_json(ctx.to_json()).at<Address>("home"), (Address{"Rome", 3}));
}

TEST(Nlohmann, AValueOfAnotherFormIsAbsent) {
  const Context ctx{{"home", Context{{"city", 7}}}, {"none", nullptr}};
  EXPECT_FALSE(ctx.get<Address>("home"));
  EXPECT_FALSE(ctx.get<Address>("none"));
  EXPECT_FALSE(ctx.get<Address>("absent"));
  EXPECT_THROW(ctx.at<Address>("home"), insula::error);
}

TEST(Nlohmann, ContainersDoToo) {
  Context ctx;
  ctx.set("trips", std::vector<Address>{{"Rome", 1}, {"Ostia", 2}});
  ctx.set("stock", std::map<std::string, int>{{"apples", 5}});
  EXPECT_EQ(ctx.at<std::vector<Address>>("trips").back(), (Address{"Ostia", 2}));
  EXPECT_EQ((ctx.at<std::map<std::string, int>>("stock").at("apples")), 5);
}

TEST(Nlohmann, AnyJsonDoes) {
  const auto json = nlohmann::json::parse(R"({"a":[1,-2,3.5,18446744073709551615,null,true,"x",{}]})");
  const Context ctx{{"json", json}};
  EXPECT_EQ(ctx.at<nlohmann::json>("json"), json);
  EXPECT_THROW((Context{{"bytes", nlohmann::json::binary({1, 2})}}), insula::error);
}

TEST(Nlohmann, TypesThatAContextKnowsAreNotAffected) {
  const Context ctx{{"n", 3}, {"on", true}, {"s", "text"}};
  EXPECT_FALSE(ctx.get<int>("on"));
  EXPECT_FALSE(ctx.get<std::string>("n"));
  EXPECT_EQ(ctx.at<std::string>("s"), "text");
  static_assert(!std::is_constructible_v<insula::Value, int*>);
  static_assert(!std::is_constructible_v<insula::Value, char>);
}

TEST(Nlohmann, AHandlerReturnsOne) {
  const auto find = [](insula::TaskContext&) { return Address{"Rome", 3}; };
  const insula::Workflow workflow = insula::Workflow::builder("w").task("find", find).build();
  EXPECT_EQ(insula::testing::run_task(workflow, "find").changes.at<Address>("find"), (Address{"Rome", 3}));
}

TEST(Codec, MayBeWrittenByHand) {
  const Context ctx{{"price", shop::Money{250}}};
  EXPECT_EQ(ctx.to_json(), R"({"price":250})");
  EXPECT_EQ(ctx.at<shop::Money>("price").cents, 250);
}

}  // namespace
