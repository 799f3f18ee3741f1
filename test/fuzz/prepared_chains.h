// SPDX-License-Identifier: Apache-2.0
//
// Small valid chains to damage and to use.
#ifndef FLATCOW_TEST_FUZZ_PREPARED_CHAINS_H_
#define FLATCOW_TEST_FUZZ_PREPARED_CHAINS_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "model/chain_shape.h"
#include "support/memory_file_system.h"

namespace flatcow {

// Another image beside the chain, on the same base where there is one.
inline constexpr char kSiblingImage[] = "/disks/sibling";

struct PreparedChain {
  std::unique_ptr<MemoryFileSystem> files;
  std::vector<uint8_t> content;  // what kChainImage shows
};

// Made once; the same at every start.
const std::vector<PreparedChain>& PreparedChains();

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_PREPARED_CHAINS_H_
