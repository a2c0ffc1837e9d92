// Context and Value: what goes in, what comes out, and what is refused.
#include <insula/context.hpp>
#include <insula/error.hpp>

#include <gtest/gtest.h>

#include <chrono>
#include <clocale>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace {

// The decimal point that localeconv() returns and strtod() reads: machines that test have few locales.
char decimal_point[] = ".";

}  // namespace

extern "C" struct lconv* localeconv() noexcept {
  static struct lconv conventions = {};
  static char nothing[] = "";
  conventions.decimal_point = decimal_point;
  conventions.thousands_sep = conventions.grouping = nothing;
  return &conventions;
}

extern "C" double strtod(const char* text, char** end) noexcept {
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  std::string number{text};
  for (char& c : number)
    if (c == decimal_point[0] || c == '.') c = c == decimal_point[0] ? '.' : ' ';
  char* stop = nullptr;
  const double value = strtod_l(number.c_str(), &stop, plain);
  if (end) *end = const_cast<char*>(text) + (stop - number.c_str());
  return value;
}

namespace {

using insula::Context;
using insula::Value;

template <class F>
insula::errc code_of(F&& f) {
  try {
    f();
  } catch (const insula::error& e) {
    return e.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return insula::errc::server;
}

// These must not compile.
static_assert(!std::is_constructible_v<Value, int*>);
static_assert(!std::is_constructible_v<Value, char>);
static_assert(std::is_constructible_v<Value, char*>);
static_assert(std::is_constructible_v<Value, const char (&)[3]>);

TEST(Context, IsBuiltFromAList) {
  const Context context{{"tenant_id", "acme_corp"}, {"n", 3}, {"on", true}, {"x", 1.5}, {"none", nullptr}};
  EXPECT_EQ(context.size(), 5U);
  EXPECT_EQ(context.get<std::string>("tenant_id"), "acme_corp");
  EXPECT_EQ(context.get<int>("n"), 3);
  EXPECT_EQ(context.get<bool>("on"), true);
  EXPECT_EQ(context.get<double>("x"), 1.5);
  EXPECT_TRUE(context.contains("none"));
  EXPECT_FALSE(context.get<int>("none"));
}

TEST(Context, ALiteralIsAStringNeverABool) {
  const Context context{{"flag", "false"}, {"zero", 0}};
  EXPECT_FALSE(context.get<bool>("flag"));
  EXPECT_EQ(context.get<std::string>("flag"), "false");
  EXPECT_FALSE(context.get<bool>("zero"));
  EXPECT_EQ(context.get<int>("zero"), 0);
}

TEST(Context, OfTwoEqualKeysTheLaterCounts) { EXPECT_EQ((Context{{"a", 1}, {"a", 2}}).at<int>("a"), 2); }

TEST(Context, IntegersAreRangeChecked) {
  const auto big = std::numeric_limits<std::uint64_t>::max();
  const Context context{{"n", 300}, {"minus", -1}, {"big", big}, {"small", std::numeric_limits<std::int64_t>::min()}};
  EXPECT_FALSE(context.get<std::uint8_t>("n"));
  EXPECT_FALSE(context.get<std::int8_t>("n"));
  EXPECT_EQ(context.get<std::int16_t>("n"), 300);
  EXPECT_FALSE(context.get<std::size_t>("minus"));
  EXPECT_FALSE(context.get<std::int64_t>("big"));
  EXPECT_EQ(context.get<std::uint64_t>("big"), big);
  EXPECT_FALSE(context.get<std::int32_t>("small"));
  EXPECT_EQ(context.get<std::int64_t>("small"), std::numeric_limits<std::int64_t>::min());
}

TEST(Context, AnIntegerComesFromNoFloat) {
  const Context context = Context::from_json(R"({"whole": 5.0, "n": 5, "huge": 1e300})");
  EXPECT_FALSE(context.get<int>("whole"));
  EXPECT_EQ(context.get<double>("whole"), 5.0);
  EXPECT_EQ(context.get<double>("n"), 5.0);
  EXPECT_FALSE(context.get<float>("huge"));
}

TEST(Context, HoldsVectorsAndObjects) {
  const Context context{{"tags", std::vector<std::string>{"a", "b"}},
                        {"flags", std::vector<bool>{true, false}},
                        {"mixed", std::vector<Value>{1, "two"}},
                        {"inner", Context{{"deep", Context{{"n", 7}}}}}};
  EXPECT_EQ(context.at<std::vector<std::string>>("tags"), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(context.at<std::vector<bool>>("flags"), (std::vector<bool>{true, false}));
  EXPECT_FALSE(context.get<std::vector<int>>("mixed"));
  EXPECT_EQ(context.at<std::vector<Value>>("mixed").size(), 2U);
  EXPECT_EQ(context.at<Context>("inner").at<Context>("deep").at<int>("n"), 7);
}

TEST(Context, AtSaysWhatIsWrong) {
  const Context context{{"n", "three"}, {"none", nullptr}};
  for (const char* key : {"n", "none", "absent"}) {
    try {
      context.at<int>(key);
      FAIL();
    } catch (const insula::error& e) {
      EXPECT_EQ(e.code(), insula::errc::invalid);
      EXPECT_NE(std::string{e.what()}.find(key), std::string::npos) << e.what();
    }
  }
}

TEST(Context, CopiesAreDeep) {
  Context first{{"inner", Context{{"n", 1}}}};
  const Context second = first;
  first.set("inner", Context{{"n", 2}});
  EXPECT_EQ(second.at<Context>("inner").at<int>("n"), 1);
}

TEST(Context, JsonThereAndBack) {
  const std::string json = R"({"a":[1,-2,3.5,null,true,"ü\n\"q\""],"b":{"c":{}},"d":18446744073709551615})";
  EXPECT_EQ(Context::from_json(json).to_json(), json);
  EXPECT_EQ(Context::from_json(json), Context::from_json(Context::from_json(json).to_json()));
}

TEST(Value, IsAnyJson) {
  for (const char* text : {"null", "true", "-3", "2.5", "\"x\"", "[1,{\"a\":null}]", "{}"})
    EXPECT_EQ(Value::from_json(text).to_json(), text);
  EXPECT_EQ(code_of([] { Value::from_json("[1"); }), insula::errc::invalid);
  EXPECT_EQ(code_of([] { (void)Value{"\xff"}.to_json(); }), insula::errc::invalid);
}

TEST(Context, RefusesJsonThatIsNoObject) {
  for (const char* text : {"", "[]", "3", "null", "{", "{\"a\":}", "{\"a\":1} x", "nonsense"})
    EXPECT_EQ(code_of([&] { Context::from_json(text); }), insula::errc::invalid) << text;
}

TEST(Context, RefusesWhatJsonOrTheServerCannotHold) {
  const auto refused = [](Value value) {
    return code_of([&] { Context{{"v", value}}.to_json(); }) == insula::errc::invalid;
  };
  EXPECT_TRUE(refused(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_TRUE(refused(-std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(refused(std::string{"a\0b", 3}));
  EXPECT_TRUE(refused("\xff\xfe"));
  EXPECT_TRUE(refused(Context{{std::string_view{"k\0", 2}, 1}}));
  EXPECT_TRUE(refused(std::vector<double>{1, std::numeric_limits<double>::infinity()}));
}

TEST(Context, RefusesADepthThatCouldNotBeWalked) {
  const std::string deep = "{\"a\":" + std::string(200'000, '[') + std::string(200'000, ']') + "}";
  EXPECT_EQ(code_of([&] { Context::from_json(deep); }), insula::errc::invalid);
  const std::string bearable = "{\"a\":" + std::string(900, '[') + std::string(900, ']') + "}";
  EXPECT_EQ(Context::from_json(bearable).to_json(), bearable);
}

// The examples of RFC 7396, appendix A, that concern objects.
TEST(Context, MergesPatches) {
  const auto merged = [](const char* target, const char* patch) {
    Context context = Context::from_json(target);
    context.merge_patch(Context::from_json(patch));
    return context.to_json();
  };
  EXPECT_EQ(merged(R"({"a":"b"})", R"({"a":"c"})"), R"({"a":"c"})");
  EXPECT_EQ(merged(R"({"a":"b"})", R"({"b":"c"})"), R"({"a":"b","b":"c"})");
  EXPECT_EQ(merged(R"({"a":"b"})", R"({"a":null})"), R"({})");
  EXPECT_EQ(merged(R"({"a":"b","b":"c"})", R"({"a":null})"), R"({"b":"c"})");
  EXPECT_EQ(merged(R"({"a":["b"]})", R"({"a":"c"})"), R"({"a":"c"})");
  EXPECT_EQ(merged(R"({"a":"c"})", R"({"a":["b"]})"), R"({"a":["b"]})");
  EXPECT_EQ(merged(R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})"), R"({"a":{"b":"d"}})");
  EXPECT_EQ(merged(R"({"a":[{"b":"c"}]})", R"({"a":[1]})"), R"({"a":[1]})");
  EXPECT_EQ(merged(R"({"e":null})", R"({"a":1})"), R"({"a":1,"e":null})");
  EXPECT_EQ(merged(R"({})", R"({"a":{"bb":{"ccc":null}}})"), R"({"a":{"bb":{}}})");
}

TEST(Context, TwoPatchesInOneDoTheSame) {
  const char* starts[] = {R"({})", R"({"o":{"a":1,"b":2},"n":5})", R"({"o":7})"};
  const char* patches[] = {R"({"o":{"a":null,"c":3}})", R"({"o":{"b":{"x":1}},"n":null})"};
  const char* last[] = {R"({"o":{"a":null,"c":3}})", R"({"o":null})", R"({"o":{"b":null},"n":1})", R"({"o":[1]})"};
  for (const char* start : starts)
    for (const char* first : patches)
      for (const char* second : last) {
        Context one_by_one = Context::from_json(start);
        one_by_one.merge_patch(Context::from_json(first));
        one_by_one.merge_patch(Context::from_json(second));
        Context both = Context::from_json(first);
        both.append_patch(Context::from_json(second));
        Context at_once = Context::from_json(start);
        at_once.merge_patch(both);
        EXPECT_EQ(at_once.to_json(), one_by_one.to_json()) << start << first << second;
      }
}

// jsonb holds numbers of any size and any number of digits.
TEST(Numbers, ThatNoTypeHoldsAreKeptAsText) {
  const std::string large = "1" + std::string(400, '0');
  for (const std::string& number :
       {std::string{"1e400"}, std::string{"-1E+400"}, large, std::string{"18446744073709551616"},
        std::string{"-9223372036854775809"}, std::string{"0.12345678901234567890"}, std::string{"1e-400"},
        std::string{"1e99999999999999999999"}, std::string{"12345678901234567.25"}}) {
    const std::string text = R"({"a":[1,"2e400 \"",)" + number + R"(,3.5],"n":)" + number + "}";
    const Context context = Context::from_json(text);
    EXPECT_EQ(context.to_json(), text);
    EXPECT_EQ(context, Context::from_json(text));
    EXPECT_EQ(context.get<std::int64_t>("n"), std::nullopt);
    EXPECT_EQ(context.get<std::string>("n"), std::nullopt);
    EXPECT_EQ(Value::from_json(number).to_json(), number);
  }
}

TEST(Numbers, AreReadWhateverTheLocalesDecimalPointIs) {
  decimal_point[0] = ',';
  for (const std::string number : {"1.5", "-0.25", "2.5e10", "3.141592653589793", "0.12345678901234567890", "1.5e400"})
    EXPECT_EQ(Context::from_json("{\"n\":" + number + "}").to_json(),
              number == "2.5e10" ? "{\"n\":25000000000.0}" : "{\"n\":" + number + "}");
  EXPECT_EQ(Context::from_json(R"({"n":1.5})").get<double>("n"), 1.5);
  decimal_point[0] = '.';
}

TEST(Numbers, WithBadDigitsAreRefused) {
  for (const char* text : {R"({"a":1e999,"b":1-2})", R"({"a":[1e999,1-2]})", R"({"a":1e999,"b":1.2.3})"})
    EXPECT_EQ(code_of([&] { (void)Context::from_json(text); }), insula::errc::invalid) << text;
}

TEST(Numbers, ThatNoTypeHoldsComeAsTheNearestDoubleOrNotAtAll) {
  const Context context = Context::from_json(
      R"({"huge":1e400,"low":-1e400,"tiny":1e-400,"big":18446744073709551616,"long":0.10000000000000000001})");
  EXPECT_EQ(context.get<double>("huge"), std::nullopt);
  EXPECT_EQ(context.get<double>("low"), std::nullopt);
  EXPECT_THROW((void)context.at<double>("huge"), insula::error);
  EXPECT_EQ(context.get<double>("tiny"), 0.0);
  EXPECT_EQ(context.get<double>("big"), 18446744073709551616.0);
  EXPECT_EQ(context.get<std::uint64_t>("big"), std::nullopt);
  EXPECT_EQ(context.get<double>("long"), 0.1);
}

TEST(Numbers, ThatADoubleHoldsAreDoubles) {
  for (const char* number : {"0.1", "1.50", "100000000000000000000", "1e300", "5e-324", "0.30000000000000004", "-0.0",
                             "1.7976931348623157e308"})
    EXPECT_TRUE(std::holds_alternative<double>(Value::from_json(number).storage())) << number;
  for (const char* number : {"18446744073709551615", "-9223372036854775808"})
    EXPECT_EQ(Value::from_json(number).to_json(), number);
  for (const char* number : {"01", "1.", "-", "1e", ".5", "+1", "1e400x", "1e400 2"})
    EXPECT_THROW((void)Value::from_json(number), insula::error) << number;
}

TEST(Numbers, ThatADoubleHoldsStayDoublesWhenWritten) {
  for (const char* number :
       {"1e23", "9.5367431640625e-7", "5e-324", "1e15", "123456789012345.6", "-1e-5", "9e22", "0.00001"}) {
    const Value value = Value::from_json(number);
    EXPECT_EQ(Value::from_json(value.to_json()), value) << number << " became " << value.to_json();
  }
  EXPECT_EQ(Value::from_json("1e23").to_json(), "1e+23");
  EXPECT_EQ(Value{100'000.0}.to_json(), "100000.0");
  EXPECT_EQ(Value{-0.0}.to_json(), "-0.0");
}

TEST(Context, HoldsOptionalsMapsAndLists) {
  const Context in{{"tags", {"a"}},
                   {"mixed", {1, "two", nullptr}},
                   {"none", std::optional<int>{}},
                   {"some", std::optional<int>{3}},
                   {"prices", std::map<std::string, std::vector<double>>{{"a", {1.5}}, {"b", {}}}}};
  EXPECT_EQ(in.to_json(), R"({"mixed":[1,"two",null],"none":null,"prices":{"a":[1.5],"b":[]},"some":3,"tags":["a"]})");
  EXPECT_EQ(in.at<std::vector<std::string>>("tags"), std::vector<std::string>{"a"});
  EXPECT_EQ(in.at<std::optional<int>>("none"), std::nullopt);
  EXPECT_EQ(in.at<std::optional<int>>("some"), 3);
  EXPECT_EQ(in.at<std::optional<int>>("absent"), std::nullopt);
  EXPECT_FALSE(in.get<std::optional<int>>("tags")) << "of another type";
  EXPECT_EQ((in.at<std::map<std::string, std::vector<double>>>("prices").at("a").at(0)), 1.5);
  EXPECT_FALSE((in.get<std::map<std::string, int>>("prices")));
  EXPECT_EQ((in.at<std::vector<std::optional<Value>>>("mixed").size()), 3U);
  Context set;
  set.set("list", {"x"});
  EXPECT_EQ(set.with("more", {1}).to_json(), R"({"list":["x"],"more":[1]})");
}

TEST(Context, CanBeWalked) {
  const Context in{{"b", 2}, {"a", 1}};
  std::string seen;
  for (const auto& [key, value] : in) seen += key + "=" + value.to_json() + ";";
  EXPECT_EQ(seen, "a=1;b=2;");
}

TEST(Context, TimesAndDurationsAreIso8601) {
  using namespace std::chrono;
  using namespace std::chrono_literals;
  const sys_time<microseconds> leap = sys_days{2024y / 2 / 29} + 23h + 59min + 59s + 5ms;
  const Context in{{"at", leap}, {"for", 90s + 500ms}, {"back", -1500ms}, {"a_bit", -5us}};
  EXPECT_EQ(in.at<std::string>("at"), "2024-02-29T23:59:59.005Z");
  EXPECT_EQ(in.at<std::string>("for"), "PT90.5S");
  EXPECT_EQ(in.at<std::string>("back"), "PT-1.5S");
  EXPECT_EQ(in.at<sys_time<microseconds>>("at"), leap);
  EXPECT_EQ(in.at<system_clock::time_point>("at"), leap);
  EXPECT_EQ(in.at<milliseconds>("for"), 90'500ms);
  EXPECT_EQ(in.at<duration<double>>("back").count(), -1.5);
  EXPECT_EQ(in.at<microseconds>("a_bit"), -5us);
  EXPECT_FALSE(in.get<seconds>("for")) << "no whole number of them";
  EXPECT_FALSE(in.get<sys_days>("at"));
  EXPECT_FALSE(Value{"PT9999999999S"}.as<nanoseconds>()) << "longer than that holds";
  EXPECT_EQ(Value(sys_time<nanoseconds>{-1ns}).as<std::string>(), "1969-12-31T23:59:59.999999Z");
  for (const duration<double> none : {duration<double>{std::numeric_limits<double>::quiet_NaN()},
                                      duration<double>{std::numeric_limits<double>::infinity()}})
    EXPECT_THROW((void)Value(none), insula::error);
  EXPECT_THROW((void)Value(hours::max()), insula::error);
  EXPECT_THROW((void)Value(milliseconds::max()), insula::error) << "for ever is no duration";
  EXPECT_THROW((void)Value(sys_days{12'000y / 1 / 1}), insula::error);
}

TEST(Context, ReadsTheTimesThatPostgresqlWrites) {
  using namespace std::chrono;
  using namespace std::chrono_literals;
  const auto time = [](const char* text) { return Value{text}.as<sys_time<microseconds>>(); };
  const auto span = [](const char* text) { return Value{text}.as<microseconds>(); };
  const sys_time<microseconds> noon = sys_days{2026y / 5 / 1} + 12h;
  for (const char* text : {"2026-05-01T12:00:00Z", "2026-05-01T14:00:00+02:00", "2026-05-01 14:00:00.000+02",
                           "2026-05-01T06:30-0530", "2026-05-01t12:00:00.0000009z"})
    EXPECT_EQ(time(text), noon) << text;
  for (const char* text : {"", "2026-05-01", "2026-05-01T12:00:00", "2026-02-30T00:00:00Z", "2026-05-01T24:00:00Z",
                           "2026-05-01T12:00:00Z ", "-026-05-01T12:00:00Z", "2026-05-01T12:00:00.Z"})
    EXPECT_FALSE(time(text)) << text;
  EXPECT_EQ(span("P1DT2H3M4.5S"), 26h + 3min + 4s + 500ms);
  EXPECT_EQ(span("-PT1.5H"), -90min);
  EXPECT_EQ(span("P2W"), 336h);
  EXPECT_EQ(span("PT-0.25S"), -250ms);
  for (const char* text : {"", "P", "PT", "1S", "P1Y", "P1M", "PT1", "PT1S1", "PTS", "PT9999999999999999H", "P1DT"})
    EXPECT_FALSE(span(text)) << text;
}

}  // namespace
