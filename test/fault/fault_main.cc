// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cstdio>

#include "fault/fault_plan.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const int result = RUN_ALL_TESTS();
  const auto& totals = flatcow::FaultTotals::Get();
  std::printf("faults: %llu injected, %llu mishandled\n",
              static_cast<unsigned long long>(totals.injected()),
              static_cast<unsigned long long>(totals.mishandled()));
  return totals.mishandled() == 0 ? result : 1;
}
