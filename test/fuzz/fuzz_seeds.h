// SPDX-License-Identifier: Apache-2.0
//
// The inputs that fuzzing starts from: small valid images, some with damage,
// with operations, and command lines.
#ifndef FLATCOW_TEST_FUZZ_FUZZ_SEEDS_H_
#define FLATCOW_TEST_FUZZ_FUZZ_SEEDS_H_

#include <string>
#include <vector>

namespace flatcow {

struct FuzzSeed {
  std::string target;
  std::string name;  // of the file, unique in its target
  std::string bytes;
};

// The same at every call. test/fuzz/corpus holds them as files TARGET/NAME,
// which write_fuzz_seeds writes.
std::vector<FuzzSeed> FuzzSeeds();

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_FUZZ_SEEDS_H_
