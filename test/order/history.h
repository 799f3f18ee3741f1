// SPDX-License-Identifier: Apache-2.0
//
// What a disk may show, given what was done to it and when: requests that
// overlapped in time may have taken effect in any order, sector by sector;
// others have taken effect in the order they were made.
#ifndef FLATCOW_TEST_ORDER_HISTORY_H_
#define FLATCOW_TEST_ORDER_HISTORY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "flatcow/extent.h"

namespace flatcow::order {

// A change of the content, or none.
struct Event {
  struct Interval {
    uint64_t begin = 0;
    uint64_t end = ~uint64_t{0};
  };

  Interval interval = {};
  uint64_t offset = 0;
  std::string data = {};
};

// The contents that somebody may see who looks at the disk in `seen`: one for
// each order of the events that can have been.
class History {
 public:
  History(const std::string& initial, const std::vector<Event>& events,
          Event::Interval seen);

  // Is each sector of `bytes`, which stand at `offset`, as one of them has it?
  // Return values: an empty string, or what is wrong.
  std::string Explain(uint64_t offset, absl::string_view bytes) const;

 private:
  std::vector<std::string> contents_;
};

}  // namespace flatcow::order

#endif  // FLATCOW_TEST_ORDER_HISTORY_H_
