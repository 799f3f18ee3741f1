// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_OPS_OPS_FIXTURE_H_
#define FLATCOW_TEST_OPS_OPS_FIXTURE_H_

#include <cstdint>
#include <string>

#include "flatcow/image_ops.h"
#include "image/open_fixture.h"

namespace flatcow {

// Images over /base, as OpenTest makes them, and what they show.
class OpsTest : public OpenTest {
 protected:
  std::string ShownBy(const std::string& path, const std::string& format = "") {
    return ReadDisk(*Must(OpenImage(files_, path, {.format = format})));
  }
  void Write(const std::string& path, uint64_t offset,
             const std::string& data) {
    WriteDisk(*Open(path, Access::kReadWrite), offset, data);
  }
  ImageInfo InfoOf(const std::string& path) {
    return Must(ReadImageInfo(files_, path, {}));
  }
  // Does `verb` fail so, changing nothing?
  template <typename Verb>
  testing::AssertionResult Refuses(const Verb& verb, int error_number,
                                   const std::string& text) {
    const auto before = AllContents(files_);
    const auto fails = Fails(verb(), error_number, text);
    if (!fails) return fails;
    if (AllContents(files_) == before) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "files have changed";
  }
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_OPS_OPS_FIXTURE_H_
