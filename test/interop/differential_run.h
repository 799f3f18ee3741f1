// SPDX-License-Identifier: Apache-2.0
//
// What the comparisons with QEMU over many images share: how many there are,
// which one is run again, and what all of them had.
#ifndef FLATCOW_TEST_INTEROP_DIFFERENTIAL_RUN_H_
#define FLATCOW_TEST_INTEROP_DIFFERENTIAL_RUN_H_

#include <gtest/gtest.h>

#include <cstddef>
#include <string>
#include <vector>

#include "interop/qcow2_zoo.h"
#include "support/in_temporary_directory.h"

namespace flatcow {

// FLATCOW_DIFFERENTIAL_IMAGES, or 60.
size_t DifferentialImages();

// The numbers of the images: all below that, or FLATCOW_DIFFERENTIAL_SEED.
std::vector<size_t> DifferentialSeeds();

// Says at the end of the program what the images had that were added.
FeatureCount& CountedUntilTheEnd(const std::string& title);

// The parameter is the number of an image, and the working directory is empty.
class DifferentialTest : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override;

  // How to run this image again.
  static std::string Replay();

 private:
  const InTemporaryDirectory directory_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_INTEROP_DIFFERENTIAL_RUN_H_
