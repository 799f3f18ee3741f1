// SPDX-License-Identifier: Apache-2.0
//
// Runs a few threads in every order of their steps, by running them from the
// start again and again (stateless model checking).
//
// Orders that differ only in steps that commute, because neither changes what
// the other touches, lead to the same state; one of them is run. (Dynamic
// partial-order reduction, after Flanagan and Godefroid: where two steps of
// different threads depend on each other, the second thread gets to go before
// the first step. A run that only swaps steps of one that has been seen is not
// followed further.)
#ifndef FLATCOW_TEST_ORDER_EXPLORER_H_
#define FLATCOW_TEST_ORDER_EXPLORER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "order/scheduler.h"

namespace flatcow::order {

// Makes a new world, runs its threads with RunThreads() and the chooser given,
// and looks at what came of it.
using RunOnce = std::function<std::vector<Step>(const Chooser& choose)>;

// Return values: how many orders were run, at most `limit`.
uint64_t ExploreAll(const RunOnce& run, uint64_t limit);

// Goes on with the thread that went last three times out of four.
Chooser RandomChooser(uint64_t seed);

// Replays what Describe() said of a run; beyond its end as it comes.
Chooser FixedChooser(std::string schedule);

}  // namespace flatcow::order

#endif  // FLATCOW_TEST_ORDER_EXPLORER_H_
