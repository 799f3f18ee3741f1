// SPDX-License-Identifier: Apache-2.0
//
// The model test through a real mount: with pwrite, with O_DIRECT, with mmap,
// and with all of them taking turns.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "model/disk_model.h"
#include "mount/daemon.h"

namespace flatcow {
namespace {

enum class Way { kBuffered, kDirect, kMapped, kMixed };

constexpr uint64_t kSector = 512;
constexpr uint64_t kCluster = 4096;

class MountedDisk final : public TestedDisk {
 public:
  MountedDisk(std::string path, Way way) : path_(std::move(path)), way_(way) {}
  ~MountedDisk() override { Close(); }

  absl::Status Open() {
    buffered_ = open(path_.c_str(), O_RDWR | O_CLOEXEC);
    if (buffered_ < 0) return ErrnoError(errno, "open");
    if (way_ == Way::kDirect || way_ == Way::kMixed) {
      direct_ = open(path_.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
      if (direct_ < 0) return ErrnoError(errno, "open O_DIRECT");
    }
    return absl::OkStatus();
  }

  absl::Status Read(uint64_t offset, absl::Span<uint8_t> buffer) override {
    return Transfer(NextWay(offset, buffer.size()), offset, buffer.data(),
                    buffer.size(), /*write=*/false);
  }

  absl::Status Write(uint64_t offset, absl::Span<const uint8_t> data) override {
    return Transfer(NextWay(offset, data.size()), offset,
                    const_cast<uint8_t*>(data.data()), data.size(),
                    /*write=*/true);
  }

  absl::Status Zero(Extent extent) override {
    const int mode = ++turn_ % 2 == 0
                         ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
                         : FALLOC_FL_ZERO_RANGE;
    return Fallocate(mode, extent);
  }

  absl::Status Allocate(Extent extent) override { return Fallocate(0, extent); }

  absl::Status Grow(uint64_t new_size) override {
    return Check(ftruncate(buffered_, static_cast<off_t>(new_size)),
                 "ftruncate");
  }

  absl::Status Flush() override { return Check(fsync(buffered_), "fsync"); }

  absl::Status Reopen() override {
    Close();
    return Open();
  }

  uint64_t Size() override {
    struct stat stat;
    return fstat(buffered_, &stat) == 0 ? static_cast<uint64_t>(stat.st_size)
                                        : 0;
  }

 private:
  static absl::Status Check(int result, const char* what) {
    return result == 0 ? absl::OkStatus() : ErrnoError(errno, what);
  }

  void Close() {
    if (buffered_ >= 0) close(buffered_);
    if (direct_ >= 0) close(direct_);
    buffered_ = -1;
    direct_ = -1;
  }

  Way NextWay(uint64_t offset, uint64_t length) {
    const bool aligned = offset % kSector == 0 && length % kSector == 0;
    if (way_ == Way::kDirect) return aligned ? Way::kDirect : Way::kBuffered;
    if (way_ != Way::kMixed) return way_;
    switch (++turn_ % 3) {
      case 0:
        return Way::kBuffered;
      case 1:
        return aligned ? Way::kDirect : Way::kBuffered;
      default:
        return Way::kMapped;
    }
  }

  absl::Status Transfer(Way way, uint64_t offset, uint8_t* bytes,
                        uint64_t length, bool write) {
    if (length == 0) return absl::OkStatus();
    if (way == Way::kMapped) return Mapped(offset, bytes, length, write);
    if (way == Way::kBuffered) {
      return Pass(buffered_, offset, bytes, length, write);
    }
    void* memory = nullptr;
    if (posix_memalign(&memory, 4096, length) != 0) {
      return absl::ResourceExhaustedError("memory");
    }
    const std::unique_ptr<void, void (*)(void*)> owner(memory, free);
    if (write) std::memcpy(memory, bytes, length);
    absl::Status status =
        Pass(direct_, offset, static_cast<uint8_t*>(memory), length, write);
    if (!write) std::memcpy(bytes, memory, length);
    return status;
  }

  static absl::Status Pass(int fd, uint64_t offset, uint8_t* bytes,
                           uint64_t length, bool write) {
    const auto at = static_cast<off_t>(offset);
    const ssize_t n =
        write ? pwrite(fd, bytes, length, at) : pread(fd, bytes, length, at);
    if (n < 0) return ErrnoError(errno, write ? "pwrite" : "pread");
    if (static_cast<uint64_t>(n) == length) return absl::OkStatus();
    return absl::DataLossError(absl::StrCat(write ? "wrote " : "read ", n));
  }

  absl::Status Mapped(uint64_t offset, uint8_t* bytes, uint64_t length,
                      bool write) {
    const uint64_t begin = offset / 4096 * 4096;
    const uint64_t mapped = offset + length - begin;
    void* const memory =
        mmap(nullptr, mapped, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED,
             buffered_, static_cast<off_t>(begin));
    if (memory == MAP_FAILED) return ErrnoError(errno, "mmap");
    uint8_t* const place = static_cast<uint8_t*>(memory) + (offset - begin);
    if (write) {
      std::memcpy(place, bytes, length);
      msync(memory, mapped, MS_SYNC);
    } else {
      std::memcpy(bytes, place, length);
    }
    munmap(memory, mapped);
    return absl::OkStatus();
  }

  absl::Status Fallocate(int mode, Extent extent) {
    if (extent.length == 0) return absl::OkStatus();
    return Check(fallocate(buffered_, mode, static_cast<off_t>(extent.offset),
                           static_cast<off_t>(extent.length)),
                 "fallocate");
  }

  const std::string path_;
  const Way way_;
  int buffered_ = -1;
  int direct_ = -1;
  int turn_ = 0;
};

struct Case {
  const char* format;
  Way way;
};

class MountModelTest : public testing::TestWithParam<Case> {};

TEST_P(MountModelTest, AgreesWithAByteArray) {
  SKIP_WITHOUT_FUSE();
  const auto [format, way] = GetParam();
  const bool is_qed = std::string(format) == "qed";
  const bool is_ephemeral = std::string(format) == "ephemeral";
  const uint64_t odd = is_qed ? 512 : 333;
  const uint64_t size = 24 * kCluster + odd;
  const uint64_t base_size = 9 * kCluster + 77;
  for (uint64_t round = 0; round < RoundsFor(3); ++round) {
    TemporaryDirectory source;
    MakeRawFile((source / "base.raw"), 0xba5e, base_size);
    std::vector<std::string> options;
    if (is_ephemeral) {
      MustRun("cp " + (source / "base.raw") + " " + (source / "disk") +
              " && truncate -s " + std::to_string(size) + " " +
              (source / "disk"));
      options = {"-o", "ephemeral,raw=disk"};
    } else if (is_qed) {
      MakeQed((source / "disk"), "base.raw", "raw", size, kCluster);
    } else {
      MakeRawFile((source / "image"), 0xbad, size);
      MakeAddCow((source / "disk"), "base.raw", "image", size, kCluster);
    }
    std::vector<uint8_t> content = Pattern(0xba5e, base_size);
    content.resize(size, 0);
    {
      Daemon daemon(source.path(), options);
      ASSERT_TRUE(daemon.mounted()) << daemon.Log();
      MountedDisk disk(daemon.File("disk.raw"), way);
      ASSERT_TRUE(disk.Open().ok());
      EXPECT_EQ(RunModel(disk, content, SeedFor(1000 + round),
                         {.cluster_size = kCluster,
                          .size_unit = is_qed ? 512u : 1u,
                          .max_size = 2 * size,
                          .alignment = way == Way::kDirect ? kSector : 1,
                          .operations = 300}),
                "");
    }
    MakeRawFile(source / "expected", 0xba5e, base_size);
    MustRun("cmp " + (source / "base.raw") + " " + (source / "expected"));
    if (is_ephemeral) {
      MustRun("truncate -s " + std::to_string(size) + " " +
              (source / "expected") + " && cmp " + (source / "disk") + " " +
              (source / "expected"));
    }
  }
}

std::string NameOf(const testing::TestParamInfo<Case>& test) {
  constexpr const char* kWays[] = {"buffered", "direct", "mapped", "mixed"};
  return absl::StrCat(test.param.format, "_",
                      kWays[static_cast<int>(test.param.way)]);
}

INSTANTIATE_TEST_SUITE_P(
    FormatsAndWays, MountModelTest,
    testing::Values(Case{"qed", Way::kBuffered}, Case{"qed", Way::kDirect},
                    Case{"qed", Way::kMapped}, Case{"qed", Way::kMixed},
                    Case{"addcow", Way::kBuffered},
                    Case{"addcow", Way::kDirect}, Case{"addcow", Way::kMapped},
                    Case{"addcow", Way::kMixed},
                    Case{"ephemeral", Way::kBuffered},
                    Case{"ephemeral", Way::kMapped},
                    Case{"ephemeral", Way::kMixed}),
    NameOf);

}  // namespace
}  // namespace flatcow
