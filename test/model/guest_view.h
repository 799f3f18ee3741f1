// SPDX-License-Identifier: Apache-2.0
//
// What a guest can read of an image, for damaged ones too.
//
//   const GuestView before(files, "/a.qed");
//   ...
//   EXPECT_EQ(GuestView(files, "/a.qed").WhatIsLost(before), "");
#ifndef FLATCOW_TEST_MODEL_GUEST_VIEW_H_
#define FLATCOW_TEST_MODEL_GUEST_VIEW_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "flatcow/extent.h"
#include "flatcow/file.h"

namespace flatcow {

class GuestView {
 public:
  // Reads the whole disk block by block; a block that can't be read has no
  // bytes. The test ends when the image can't even be opened.
  GuestView(FileSystem& files, const std::string& path,
            uint64_t block_size = 512);

  // Return values: empty when every block that `before` could read shows the
  // same here; else which doesn't.
  std::string WhatIsLost(const GuestView& before) const;

  bool IsWholeReadable() const;

  // Blocks that differ from `before`, or that only one of them can read.
  std::vector<Extent> Changes(const GuestView& before) const;

 private:
  uint64_t block_size_;
  std::vector<std::optional<std::string>> blocks_;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_MODEL_GUEST_VIEW_H_
