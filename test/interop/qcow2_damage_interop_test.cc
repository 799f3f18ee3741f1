// SPDX-License-Identifier: Apache-2.0
//
// qcow2 images whose refcounts are wrong, as a crash or an error leaves them,
// are opened for writing: flatcow refuses, or writes no metadata over other.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>

#include "absl/status/status.h"
#include "base/byte_order.h"
#include "flatcow/image.h"
#include "interop/qemu.h"
#include "interop/written_disk.h"
#include "model/image_testing.h"
#include "support/in_temporary_directory.h"

namespace flatcow {
namespace {

// Where things are in a header of version 3.
constexpr uint64_t kRefcountTableOffset = 48;
constexpr uint64_t kLowestIncompatibleBits = 79;

struct Damage {
  std::string name;
  bool dirty;  // the header says that the refcounts may be wrong
  // Of the refcounts of the first clusters, 16 bits each; empty: the table has
  // no block any more.
  std::string refcounts;
  bool may_leak = false;
  bool may_be_refused = false;  // nothing says that they are wrong
};

// So many refcounts of one.
std::string Ones(size_t count) {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += std::string("\0\1", 2);
  return bytes;
}

const Damage kDamages[] = {
    {.name = "none", .dirty = false, .refcounts = Ones(1)},
    {.name = "dirty_zeroes", .dirty = true, .refcounts = std::string(64, '\0')},
    {.name = "dirty_high", .dirty = true, .refcounts = std::string(64, '\1')},
    {.name = "dirty_no_block", .dirty = true, .refcounts = ""},
    {.name = "zeroes",
     .dirty = false,
     .refcounts = std::string(64, '\0'),
     .may_be_refused = true},
    {.name = "no_block",
     .dirty = false,
     .refcounts = "",
     .may_be_refused = true},
    {.name = "leaks", .dirty = false, .refcounts = Ones(30), .may_leak = true},
};

void PrintTo(const Damage& damage, std::ostream* out) { *out << damage.name; }

class Qcow2DamageInteropTest : public testing::TestWithParam<Damage> {
 protected:
  void SetUp() override {
    if (!HaveQemu()) GTEST_SKIP() << "needs qemu-img and qemu-io";
    MustRun({"qemu-img", "create", "-q", "-f", "qcow2", "-o",
             "cluster_size=4k,data_file=top.data", "top", "3M"});
    MustRun({"qemu-io", "-f", "qcow2", "-c", "write -P 1 0 300k", "-c",
             "write -P 2 2M 100k", "top"});
    content_ = QemuDisk("top");
    Inflict(GetParam());
  }

  static uint64_t Number(uint64_t offset) {
    const std::string bytes = ReadFile(PosixFileSystem(), "top");
    return LoadBig64(reinterpret_cast<const uint8_t*>(bytes.data()) + offset);
  }

  static void Inflict(const Damage& damage) {
    FileSystem& files = PosixFileSystem();
    const uint64_t table = Number(kRefcountTableOffset);
    if (damage.refcounts.empty()) {
      PokeFile(files, "top", table, std::string(8, '\0'));
    } else {
      PokeFile(files, "top", Number(table), damage.refcounts);
    }
    if (!damage.dirty) return;
    const std::string bytes = ReadFile(files, "top");
    const char bits = static_cast<char>(bytes[kLowestIncompatibleBits] | 1);
    PokeFile(files, "top", kLowestIncompatibleBits, std::string(1, bits));
  }

  const InTemporaryDirectory directory_;
  std::string content_;
};

TEST_P(Qcow2DamageInteropTest, DiskStaysWhole) {
  const Damage& damage = GetParam();
  const absl::Status opened =
      OpenImage(PosixFileSystem(), "top", Writable()).status();
  if (!opened.ok()) {
    EXPECT_TRUE(damage.may_be_refused) << opened;
    return;
  }
  WrittenDisk disk("top", 4096, content_, 1);
  disk.set_may_leak(damage.may_leak);
  disk.FlatcowSession(60);
  if (damage.may_be_refused) {
    disk.ExpectShown();
  } else {
    disk.ExpectSound();
  }
}

INSTANTIATE_TEST_SUITE_P(Damages, Qcow2DamageInteropTest,
                         testing::ValuesIn(kDamages),
                         [](const auto& damage) { return damage.param.name; });

}  // namespace
}  // namespace flatcow
