// The wire room as far as it needs no server: connection strings, array
// literals, refusals, passwords, versions, pauses.
#include "wire/backoff.hpp"
#include "wire/binary.hpp"
#include "wire/calls.hpp"
#include "wire/conninfo.hpp"
#include "wire/errors.hpp"
#include "wire/pq.hpp"
#include "wire/secrets.hpp"
#include "wire/text.hpp"

#include <insula/admin.hpp>
#include <insula/error.hpp>

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace {

using namespace insula;

TEST(ConnInfo, ReadsKeywordsAndUris) {
  EXPECT_EQ(*wire::ConnInfo{"host=a port=1 dbname='x y'"}.find("dbname"), "x y");
  const wire::ConnInfo uri{"postgresql://u:p%40ss@h:5433/d?application_name=me"};
  EXPECT_EQ(*uri.find("password"), "p@ss");
  EXPECT_EQ(*uri.find("port"), "5433");
  EXPECT_EQ(uri.find("sslmode"), nullptr);
  EXPECT_EQ(wire::ConnInfo{""}.find("host"), nullptr);
}

TEST(ConnInfo, ABadOneIsToldWithoutItsPassword) {
  const auto message_of = [](const char* text) -> std::string {
    try {
      wire::ConnInfo{text};
    } catch (const error& e) {
      EXPECT_EQ(e.code(), errc::invalid);
      return e.what();
    }
    return "";
  };
  EXPECT_NE(message_of("hots=a").find("hots"), std::string::npos);
  for (const char* text : {"password=geheim oops", "postgresql://u:geheim@h:port/%zz", "PassWord=geheim x"}) {
    const std::string message = message_of(text);
    EXPECT_FALSE(message.empty()) << text;
    EXPECT_EQ(message.find("geheim"), std::string::npos) << message;
  }
}

TEST(ConnInfo, SeveralHostsTakeTurnsToBeFirst) {
  const auto option = [](const wire::ConnInfo& info, std::size_t first, std::string_view keyword) -> std::string {
    for (const auto& [name, value] : info.options("test", first))
      if (name == keyword) return value;
    return "-";
  };
  const wire::ConnInfo three{"host=a,b,c port=1,2,3"};
  EXPECT_EQ(three.hosts(), 3U);
  EXPECT_EQ(option(three, 0, "host") + option(three, 0, "port"), "a,b,c1,2,3");
  EXPECT_EQ(option(three, 1, "host") + option(three, 1, "port"), "b,c,a2,3,1");
  EXPECT_EQ(option(three, 5, "host"), "c,a,b");
  EXPECT_EQ(option(three, 0, "target_session_attrs"), "read-write");
  EXPECT_EQ(option(wire::ConnInfo{"host=a,b port=5 target_session_attrs=any"}, 1, "port"), "5");
  EXPECT_EQ(option(wire::ConnInfo{"host=a,b target_session_attrs=any"}, 1, "target_session_attrs"), "any");
  EXPECT_EQ(option(wire::ConnInfo{"postgresql://a:1,b:2/d"}, 1, "port"), "2,1");
  const wire::ConnInfo one{"host=a"};
  EXPECT_EQ(option(one, 3, "host"), "a");
  EXPECT_EQ(option(one, 0, "target_session_attrs"), "-");
}

TEST(ConnInfo, WritesWhatLibpqReadsBack) {
  const std::vector<std::pair<std::string, std::string>> options{
      {"host", "/tmp/with space"}, {"dbname", "d'b"}, {"user", "back\\slash"}, {"password", " ' \\' = "}};
  const wire::ConnInfo read{wire::write_conninfo(options)};
  for (const auto& [keyword, value] : options) EXPECT_EQ(*read.find(keyword), value);
}

TEST(Arrays, AreQuoted) {
  EXPECT_EQ(wire::array_of(std::vector<std::int64_t>{}), "{}");
  EXPECT_EQ(wire::array_of(std::vector<std::int64_t>{1, -2}), "{1,-2}");
  EXPECT_EQ(wire::array_of(std::vector<std::string>{"a", "", "NULL", "q\"b\\c,{}"}), R"({"a","","NULL","q\"b\\c,{}"})");
}

TEST(Arrays, WithNullsAreBinary) {
  using namespace std::string_literals;
  EXPECT_EQ(wire::binary_texts({}), "\0\0\0\0\0\0\0\1\0\0\0\x19"s);
  EXPECT_EQ(wire::binary_texts({"ab", std::nullopt}),
            "\0\0\0\1\0\0\0\1\0\0\0\x19\0\0\0\2\0\0\0\1\0\0\0\2"
            "ab\xff\xff\xff\xff"s);
  EXPECT_EQ(wire::binary_jsons({"{}"}),
            "\0\0\0\1\0\0\0\1\0\0\x0e\xda\0\0\0\1\0\0\0\1\0\0\0\3"
            "\1{}"s);
}

TEST(Texts, ThatCannotBeStoredAreChanged) {
  EXPECT_EQ(wire::storable("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(wire::storable(std::string{"a\0b\xff", 4}), "a?b?");
  EXPECT_EQ(wire::storable("\xed\xa0\x80"), "???") << "a surrogate";
  EXPECT_EQ(wire::escaped("a\\ \u00fc \u20ac \U0001f600"), "a\\ \\u00fc \\u20ac \\U0001f600");
  EXPECT_EQ(wire::plain("h\u00f6st name\n"), "h__st_name_");
}

TEST(Texts, ThatWouldBeCutOffAreRefused) {
  const std::string cut{"a\0b", 3};
  EXPECT_THROW(wire::require_sendable({"SELECT $1", {"a", cut}}), error);
  EXPECT_NO_THROW(wire::require_sendable({"SELECT $1", {"a", std::nullopt}}));
  EXPECT_NO_THROW(wire::require_sendable({"SELECT $1", {"a", cut}, false, 1U << 1U}));
}

TEST(Refusals, AreReadFromVerboseMessages) {
  const auto one = wire::parse_refusal(
      "connection to server on socket \"/tmp/.s.PGSQL.5432\" failed: FATAL:  28P01: password authentication failed for "
      "user "
      "\"u\"\nLOCATION:  auth_failed, auth.c:335\n");
  EXPECT_EQ(one.sqlstate, "28P01");
  EXPECT_EQ(one.message, "password authentication failed for user \"u\"");
  const auto last = wire::parse_refusal("a failed: FATAL:  57P03: starting\nb failed: FATAL:  3D000: no database\n");
  EXPECT_EQ(last.sqlstate, "3D000");
  const auto none = wire::parse_refusal("connection to server at \"localhost\" failed: Connection refused\n");
  EXPECT_EQ(none.sqlstate, "");
  EXPECT_EQ(none.message, "connection to server at \"localhost\" failed: Connection refused");
  for (const char* text : {"", ":  ", "x:  28P01", "x:  28P01:", ":  28P01: "}) wire::parse_refusal(text);
}

TEST(Passwords, AreLongAndPlain) {
  std::set<std::string> seen;
  std::set<char> characters;
  for (int i = 0; i < 200; ++i) {
    const std::string password = wire::random_password();
    EXPECT_EQ(password.size(), 32U);
    EXPECT_TRUE(
        std::all_of(password.begin(), password.end(), [](unsigned char c) { return c < 128 && std::isalnum(c); }));
    EXPECT_TRUE(seen.insert(password).second);
    characters.insert(password.begin(), password.end());
  }
  EXPECT_EQ(characters.size(), 62U);
}

TEST(Passwords, BecomeVerifiers) {
  const wire::PgConn conn{PQconnectStart("host=/nowhere")};
  const std::string verifier = wire::scram_verifier(conn.get(), "", "geheim");
  EXPECT_EQ(verifier.rfind("SCRAM-SHA-256$4096:", 0), 0U);
  EXPECT_EQ(verifier.find("geheim"), std::string::npos);
}

TEST(Calls, AStatusIsAskedForAlone) {
  const std::string sql = wire::status_of(7).sql;
  EXPECT_EQ(sql.find("context"), std::string::npos) << sql;
  EXPECT_EQ(sql.find('*'), std::string::npos) << sql;
}

TEST(Backoff, GrowsSpreadsAndIsBounded) {
  using std::chrono::milliseconds;
  wire::Backoff backoff{milliseconds{10}, milliseconds{500}};
  milliseconds longest{0};
  for (int i = 0; i < 200; ++i) {
    const auto pause = backoff.next();
    EXPECT_GE(pause, milliseconds{10});
    EXPECT_LE(pause, milliseconds{500});
    longest = std::max(longest, pause);
  }
  EXPECT_GT(longest, milliseconds{100});
  backoff.reset();
  EXPECT_LE(backoff.next(), milliseconds{30});
}

TEST(TenantIds, FollowTheRule) {
  for (const char* id : {"acme_corp", "abc", "a23", "a_________________________30ch"})
    EXPECT_TRUE(is_valid_tenant_id(id)) << id;
  for (const char* id : {"", "ab", "Acme", "1abc", "_abc", "a-b", "a.b", "public", "postgres", "pg_x", "insula",
                         "insula_x", "a__________________________31ch"})
    EXPECT_FALSE(is_valid_tenant_id(id)) << id;
}

TEST(Errors, SayWhatToDo) {
  const error plain{errc::invalid, "no"};
  EXPECT_EQ(plain.code(), errc::invalid);
  EXPECT_FALSE(plain.retryable());
  EXPECT_FALSE(plain.outcome_unknown());
  const error copy = plain;
  EXPECT_STREQ(copy.what(), "no");
  EXPECT_TRUE((error{errc::unreachable, "gone"}).retryable());
  EXPECT_EQ(name(errc::would_deadlock), "would_deadlock");
}

}  // namespace
