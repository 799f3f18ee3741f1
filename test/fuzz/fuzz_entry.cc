// SPDX-License-Identifier: Apache-2.0
//
// libFuzzer's entry; FLATCOW_FUZZ_TARGET is the target that a program is for.
#include <cstddef>
#include <cstdint>

#include "fuzz/fuzz_target.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  flatcow::FLATCOW_FUZZ_TARGET(data, size);
  return 0;
}
