// SPDX-License-Identifier: Apache-2.0
#include "order/history.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"

namespace flatcow::order {
namespace {

constexpr uint64_t kSector = 512;

// In this order, does none come before one that had ended when it began?
bool CanHaveBeen(const std::vector<Event::Interval>& order) {
  for (size_t i = 0; i < order.size(); ++i) {
    for (size_t j = i + 1; j < order.size(); ++j) {
      if (order[j].end < order[i].begin) return false;
    }
  }
  return true;
}

}  // namespace

History::History(const std::string& initial, const std::vector<Event>& events,
                 Event::Interval seen) {
  // The look is one more event, the last number.
  std::vector<size_t> order(events.size() + 1);
  std::iota(order.begin(), order.end(), 0);
  do {
    std::vector<Event::Interval> intervals;
    for (const size_t number : order) {
      intervals.push_back(number < events.size() ? events[number].interval
                                                 : seen);
    }
    if (!CanHaveBeen(intervals)) continue;
    std::string content = initial;
    for (const size_t number : order) {
      if (number == events.size()) break;
      const Event& event = events[number];
      content.replace(event.offset, event.data.size(), event.data);
    }
    if (std::find(contents_.begin(), contents_.end(), content) ==
        contents_.end()) {
      contents_.push_back(std::move(content));
    }
  } while (std::next_permutation(order.begin(), order.end()));
}

std::string History::Explain(uint64_t offset, absl::string_view bytes) const {
  for (uint64_t at = 0; at < bytes.size(); at += kSector) {
    const absl::string_view sector = bytes.substr(at, kSector);
    const bool known =
        std::any_of(contents_.begin(), contents_.end(), [&](const auto& c) {
          return absl::string_view(c).substr(offset + at, sector.size()) ==
                 sector;
        });
    if (!known) {
      return absl::StrCat("the sector at ", offset + at,
                          " shows what no order of the requests explains");
    }
  }
  return "";
}

}  // namespace flatcow::order
