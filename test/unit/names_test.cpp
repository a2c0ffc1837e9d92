// The rules for names, at their exact boundaries: lengths, every byte in every place,
// reserved words and prefixes.  What is accepted here ends up in SQL and in role names.
#include "core/names.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace {

using insula::core::is_valid_name;
using insula::core::is_valid_tenant_id;

// The rules allow ASCII only, whatever the locale of the process says.
constexpr std::string_view lower = "abcdefghijklmnopqrstuvwxyz";
constexpr std::string_view upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
constexpr std::string_view digits = "0123456789";

bool contains(std::string_view set, char c) { return set.find(c) != std::string_view::npos; }

TEST(TenantId, HasThreeToThirtyCharacters) {
  EXPECT_FALSE(is_valid_tenant_id(""));
  EXPECT_FALSE(is_valid_tenant_id("a"));
  EXPECT_FALSE(is_valid_tenant_id("ab"));
  EXPECT_TRUE(is_valid_tenant_id("abc"));
  for (std::size_t length = 0; length <= 100; ++length)
    EXPECT_EQ(is_valid_tenant_id(std::string(length, 'x')), length >= 3 && length <= 30) << length;
}

TEST(TenantId, StartsWithALowerCaseLetter) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    EXPECT_EQ(is_valid_tenant_id(std::string(1, c) + "bc"), contains(lower, c)) << byte;
  }
}

TEST(TenantId, GoesOnWithLowerCaseLettersDigitsAndUnderscores) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool allowed = contains(lower, c) || contains(digits, c) || c == '_';
    EXPECT_EQ(is_valid_tenant_id(std::string("a") + c + "b"), allowed) << "in the middle: " << byte;
    EXPECT_EQ(is_valid_tenant_id(std::string("ab") + c), allowed) << "at the end: " << byte;
  }
}

TEST(TenantId, IsCheckedToItsEnd) {
  const std::string longest(30, 'a');
  for (std::size_t place = 0; place < longest.size(); ++place)
    for (char c : {'A', '-', '.', ' ', '"', '\'', '\0', '\n', '\x7f', '\xc3'}) {
      std::string id = longest;
      id[place] = c;
      EXPECT_FALSE(is_valid_tenant_id(id)) << place;
    }
}

TEST(TenantId, IsNoReservedWord) {
  for (std::string word : {"public", "none", "postgres", "information_schema"}) {
    EXPECT_FALSE(is_valid_tenant_id(word)) << word;
    // The word alone is taken, not what begins or ends with it.
    EXPECT_TRUE(is_valid_tenant_id(word + "_")) << word;
    EXPECT_TRUE(is_valid_tenant_id(word + "1")) << word;
    EXPECT_TRUE(is_valid_tenant_id("x" + word)) << word;
    EXPECT_TRUE(is_valid_tenant_id(word.substr(0, word.size() - 1))) << word;
  }
}

TEST(TenantId, HasNoReservedPrefix) {
  EXPECT_FALSE(is_valid_tenant_id("pg_"));
  EXPECT_FALSE(is_valid_tenant_id("pg_catalog"));
  EXPECT_FALSE(is_valid_tenant_id("pg_x"));
  EXPECT_TRUE(is_valid_tenant_id("pga"));
  EXPECT_TRUE(is_valid_tenant_id("pg1"));
  EXPECT_TRUE(is_valid_tenant_id("pgx_"));
  EXPECT_TRUE(is_valid_tenant_id("xpg_"));

  EXPECT_FALSE(is_valid_tenant_id("insula"));
  EXPECT_FALSE(is_valid_tenant_id("insula_owner"));
  EXPECT_FALSE(is_valid_tenant_id("insulated"));
  EXPECT_TRUE(is_valid_tenant_id("insul"));
  EXPECT_TRUE(is_valid_tenant_id("peninsula"));
}

TEST(TenantId, AcceptsTheUsual) {
  for (std::string_view id : {"acme_corp", "globex_inc", "tenant_a", "t_1", "a__", "x99"})
    EXPECT_TRUE(is_valid_tenant_id(id)) << id;
}

TEST(TenantId, IsKnownWhileCompiling) {
  static_assert(is_valid_tenant_id("acme_corp"));
  static_assert(!is_valid_tenant_id("public"));
}

TEST(Name, HasOneToSixtyThreeCharacters) {
  for (std::size_t length = 0; length <= 200; ++length)
    EXPECT_EQ(is_valid_name(std::string(length, 'x')), length >= 1 && length <= 63) << length;
}

TEST(Name, StartsWithALetterOrUnderscore) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool allowed = contains(lower, c) || contains(upper, c) || c == '_';
    EXPECT_EQ(is_valid_name(std::string(1, c)), allowed) << "alone: " << byte;
    EXPECT_EQ(is_valid_name(std::string(1, c) + "b"), allowed) << "in front: " << byte;
  }
}

TEST(Name, GoesOnWithLettersDigitsUnderscoresAndHyphens) {
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    const bool allowed = contains(lower, c) || contains(upper, c) || contains(digits, c) || c == '_' || c == '-';
    EXPECT_EQ(is_valid_name(std::string("a") + c + "b"), allowed) << "in the middle: " << byte;
    EXPECT_EQ(is_valid_name(std::string("ab") + c), allowed) << "at the end: " << byte;
  }
}

TEST(Name, IsCheckedToItsEnd) {
  const std::string longest(63, 'a');
  for (std::size_t place = 0; place < longest.size(); ++place)
    for (char c : {'.', ' ', '"', '\'', '\0', '\n', '\xe4'}) {
      std::string name = longest;
      name[place] = c;
      EXPECT_FALSE(is_valid_name(name)) << place;
    }
}

// `workflow.task` is a task's key, so the dot belongs to neither.
TEST(Name, HasNoDot) {
  EXPECT_FALSE(is_valid_name("etl.load"));
  EXPECT_FALSE(is_valid_name(".load"));
  EXPECT_FALSE(is_valid_name("etl."));
}

TEST(Name, MayBeWhatATenantIdMayNot) {
  for (std::string_view name : {"public", "pg_catalog", "insula", "_", "A", "load-2", "Customer_Processing"})
    EXPECT_TRUE(is_valid_name(name)) << name;
}

}  // namespace
