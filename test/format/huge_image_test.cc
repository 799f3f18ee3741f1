// SPDX-License-Identifier: Apache-2.0
//
// Sizes that only a sparse file has: nothing may go through it bit by bit.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/raw_images.h"
#include "model/image_testing.h"
#include "support/fault_injection_file_system.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

class HugeImageTest : public testing::Test {
 protected:
  // A file of `size` bytes, all hole but for `head`.
  void MakeSparse(const std::string& path, const std::string& head,
                  uint64_t size) {
    memory_.SetContents(path, head);
    const auto file = Must(memory_.Open(path, Access::kReadWrite));
    Must(file->Truncate(size));
  }

  // Anything that goes through a huge file bit by bit ends here.
  void LimitReads(uint64_t reads) {
    files_.Clear();
    files_.Inject({.kinds = kReadFault, .nth = reads, .forever = true});
  }

  static constexpr uint64_t kHuge = uint64_t{1} << 62;
  MemoryFileSystem memory_;
  FaultInjectionFileSystem files_{memory_};
};

TEST_F(HugeImageTest, QedWithTablesFarAway) {
  for (const uint32_t cluster_size : {4096u, 65536u, 1u << 20, 64u << 20}) {
    for (const uint32_t table_size : {1u, 16u}) {
      SCOPED_TRACE(absl::StrCat(cluster_size, " ", table_size));
      qed::Header header;
      header.cluster_size = cluster_size;
      header.table_size = table_size;
      header.l1_table_offset = kHuge / 2;
      header.image_size = qed::MaxImageSize(cluster_size, table_size);
      const auto head = qed::SerializeHeader(header);
      MakeSparse("/a", std::string(head.begin(), head.end()), kHuge);
      LimitReads(20'000);
      const auto image = Must(OpenImage(files_, "/a", Writable()));
      ReadDisk(*image, {image->Size() / 2, 4096});
      EXPECT_EQ(Must(image->Map({0, image->Size()})).size(), 1u);
      ReadDisk(*image, {image->Size() - 512, 512});
      const auto check =
          CheckImage(files_, "/a", {.format = "qed", .lock = false});
      ASSERT_TRUE(check.ok()) << check.status();
      EXPECT_EQ(check->corruptions, 0u);
    }
  }
}

TEST_F(HugeImageTest, AddCowWithAnEndlessImageFile) {
  for (const uint32_t bits : {9u, 16u, 26u}) {
    SCOPED_TRACE(bits);
    std::string head = RawAddCow{.backing = ""}.Bytes();
    Overwrite(head, 20, Little32(bits));
    head[4096] = 1;
    MakeSparse("/a", head, kHuge);
    MakeSparse("/img", "", std::numeric_limits<int64_t>::max());
    LimitReads(20'000);
    const auto image = Must(OpenImage(files_, "/a", Writable()));
    ReadDisk(*image, {image->Size() / 2, 4096});
    ReadDisk(*image, {image->Size() - 512, 512});
    const auto check = CheckImage(files_, "/a", {.format = "", .lock = false});
    ASSERT_TRUE(check.ok()) << check.status();
    EXPECT_EQ(check->allocated_clusters, 1u);
  }
}

// A daemon asks for this to answer stat(2).
TEST_F(HugeImageTest, AllocatedBytesOfAnEndlessAddCow) {
  std::string head = RawAddCow{.backing = "", .bits = ""}.Bytes();
  Overwrite(head, 20, Little32(9));
  MakeSparse("/a", head, head.size());
  MakeSparse("/img", "", std::numeric_limits<int64_t>::max());
  LimitReads(20'000);
  const auto image = Must(OpenImage(files_, "/a", {}));
  EXPECT_TRUE(image->AllocatedBytes().ok());
}

TEST_F(HugeImageTest, EndlessRawBackingFile) {
  MakeSparse("/base", "head", std::numeric_limits<int64_t>::max());
  memory_.SetContents("/a", RawQed().Bytes("base"));
  LimitReads(20'000);
  const auto image = Must(OpenImage(files_, "/a", Writable()));
  EXPECT_EQ(ReadDisk(*image, {4 * 4096, 8}), std::string(8, '\0'));
  EXPECT_LE(Must(image->Map({0, image->Size()})).size(), 10u);
}

}  // namespace
}  // namespace flatcow
