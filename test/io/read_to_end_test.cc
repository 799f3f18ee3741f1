// SPDX-License-Identifier: Apache-2.0
#include "io/read_to_end.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <string>

#include "flatcow/image.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

class ReadToEndTest : public testing::Test {
 protected:
  void SetUp() override { memory_.SetContents("/a", "0123456789"); }

  absl::StatusOr<size_t> Read(uint64_t offset) {
    const auto file = Must(files_.Open("/a", Access::kReadOnly));
    std::array<uint8_t, 8> bytes{};
    return ReadToEnd(*file, offset, absl::MakeSpan(bytes));
  }

  MemoryFileSystem memory_;
  FaultInjectionFileSystem files_{memory_};
};

TEST_F(ReadToEndTest, IsShortOnlyAtTheEnd) {
  EXPECT_EQ(Must(Read(0)), 8u);
  EXPECT_EQ(Must(Read(2)), 8u);
  EXPECT_EQ(Must(Read(3)), 7u);
  EXPECT_EQ(Must(Read(10)), 0u);
  EXPECT_EQ(Must(Read(100)), 0u);
}

TEST_F(ReadToEndTest, TriesAShortReadAgain) {
  files_.Inject({.kinds = kReadFault, .partial = true});
  EXPECT_EQ(Must(Read(0)), 8u);
}

TEST_F(ReadToEndTest, AReadThatStaysShortIsAnError) {
  files_.Inject({.kinds = kReadFault, .forever = true, .partial = true});
  EXPECT_TRUE(Fails(Read(0), EIO, "/a: read of 8 bytes at 0"));
}

// Its metadata would pass for a disk.
TEST_F(ReadToEndTest, AnImageIsNotTakenForRawWhenItsMagicIsCutOff) {
  Make(memory_, "/qed", {.format = "qed", .size = 65536});
  const auto file = Must(files_.Open("/qed", Access::kReadOnly));
  files_.Inject({.kinds = kReadFault,
                 .forever = true,
                 .partial = true,
                 .read_at_most = 1});
  EXPECT_TRUE(Fails(ProbeFormat(*file), EIO, "/qed"));
}

}  // namespace
}  // namespace flatcow
