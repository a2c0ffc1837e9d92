// Sessions that move tasks at random, for tests that look at the outcome.  A calm hand
// submits, claims and reports, and nothing that makes claims forget from where on to search; a rough one
// also does so in transactions and savepoints that it rolls back, cancels, kills and is killed.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "support/connection.hpp"

namespace model {

using insula_test::Connection;
using insula_test::Rows;

// The things that the hands of one test play with, and their knowledge of each other.
struct Game {
  std::vector<std::string> tenants;    // more than one: claims are of all tenants
  std::vector<std::string> workflows;  // of each tenant
  std::vector<std::string> filters;    // of claims, as SQL
  bool calm = false;
  int hands = 6;
  std::chrono::milliseconds burst = std::chrono::milliseconds(300);  // between two quiet moments

  std::mutex mutex = {};
  std::vector<std::string> executions = {};
};

class Hand {
 public:
  Hand(Game& game, unsigned seed, int number);

  // Does some things at random: a calm hand as many as it can in so long, a rough one a few.
  void play(std::chrono::milliseconds how_long);

 private:
  void connect();
  // The rows of a statement whose errors are part of the game; none where it fails.
  Rows run(const std::string& sql);
  // Again and again while a statement timeout, which the hand has set for a claim, cancels it.
  void insist(const std::string& sql);
  int below(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  template <typename T>
  const T& any_of(const std::vector<T>& items) {
    return items[static_cast<std::size_t>(below(static_cast<int>(items.size())))];
  }
  void play_calmly();
  void play_roughly();
  void transaction();
  void act();
  void submit();
  void claim(int most);
  void report();
  void steer();
  void disturb();

  Game& game_;
  std::mt19937 random_;
  std::string worker_;
  bool steers_ = false;
  std::unique_ptr<Connection> session_;
  Rows held_;
};

}  // namespace model
