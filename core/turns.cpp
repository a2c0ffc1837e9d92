// The tenants' turns; see turns.hpp.
#include "core/turns.hpp"

namespace insula::core {

void Turns::link(Turn *turn, Turn::Place place) {
  const bool ahead = place == Turn::Place::ahead;
  List<Turn> &list = ahead ? ahead_ : ring_;
  if (!list.ends.next) list.clear();
  list.append(turn, &turn->link);
  ++(ahead ? ahead_count_ : ring_count_);
  turn->place = place;
}

void Turns::unlink(Turn *turn) {
  --(turn->place == Turn::Place::ahead ? ahead_count_ : ring_count_);
  turn->link.remove();
  turn->place = Turn::Place::out;
}

void Turns::enter(Turn *turn, bool ahead) {
  if (turn->has_work) return;
  turn->has_work = true;
  turn->passed_over = false;
  ++with_work_;
  if (turn->place != Turn::Place::out) return;
  turn->taken = 0;
  link(turn, ahead && turn->credit >= 0 ? Turn::Place::ahead : Turn::Place::ring);
}

bool Turns::rest(Turn *turn) {
  if (!turn->has_work) return turn->place == Turn::Place::out;
  turn->has_work = false;
  --with_work_;
  const bool has_turn = turn->place == Turn::Place::ahead || turn->credit > 0;
  turn->credit = std::min<std::int64_t>(turn->credit, 0);
  // One that has not been served owes no round.
  if (turn->taken <= 0 && turn->credit == 0)
    unlink(turn);
  else if (has_turn)
    to_end(turn);
  return turn->place == Turn::Place::out;
}

void Turns::remove(Turn *turn) {
  if (turn->has_work) --with_work_;
  turn->has_work = false;
  if (turn->place != Turn::Place::out) unlink(turn);
}

void Turns::settle(Turn *turn, std::int64_t unused, std::int32_t weight, Pricing pricing) {
  turn->weight = weight;
  turn->passed_over = false;
  turn->taken -= unused;
  turn->credit = std::min(turn->credit + unused * price(*turn, pricing), turn->has_work ? turn->worth() : 0);
}

void Turns::pass_over(Turn *turn) {
  turn->passed_over = true;
  if (!turn->has_work || turn->place != Turn::Place::ring || turn->credit < 0) return;
  unlink(turn);
  link(turn, Turn::Place::ahead);
}

bool Turns::charge(Turn *turn, std::int64_t tasks, std::int64_t time) {
  constexpr std::int64_t remembered = 8;
  const std::int64_t estimated = turn->cost * tasks;
  turn->cost =
      std::max<std::int64_t>(turn->cost + (time / tasks - turn->cost) * std::min(tasks, remembered) / remembered, 1);
  return spend(turn, time - estimated);
}

bool Turns::spend(Turn *turn, std::int64_t time) {
  // Nothing is saved up without work.
  turn->credit = std::clamp(turn->credit - time, -most_debt, turn->has_work ? turn->worth() : 0);
  if (turn->place == Turn::Place::out && turn->credit < 0) link(turn, Turn::Place::ring);
  return turn->place != Turn::Place::out;
}

}  // namespace insula::core
