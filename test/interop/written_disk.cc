// SPDX-License-Identifier: Apache-2.0
#include "interop/written_disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "interop/qemu.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kSector = 512;
constexpr int kOnlyLeaks = 3;  // exit code of qemu-img check
constexpr uint64_t kLongest = 300 << 10;

}  // namespace

std::string QemuDisk(const std::string& path) {
  MustRun({"qemu-img", "convert", "-U", "-f", "qcow2", "-O", "raw", path,
           "converted"});
  return ReadFile(PosixFileSystem(), "converted");
}

WrittenDisk::WrittenDisk(std::string path, uint64_t cluster_size,
                         std::string content, uint64_t seed)
    : path_(std::move(path)),
      cluster_size_(cluster_size),
      content_(std::move(content)),
      random_(seed) {}

// Sectors or whole clusters.
Extent WrittenDisk::RandomExtent() {
  const uint64_t size = content_.size();
  uint64_t offset = Random(size / kSector) * kSector;
  uint64_t length =
      (1 + Random(std::min(3 * cluster_size_, kLongest) / kSector)) * kSector;
  if (Random(3) == 0) {
    offset = offset / cluster_size_ * cluster_size_;
    length = cluster_size_ * (1 + Random(3));
  }
  return {offset, std::min(length, size - offset)};
}

void WrittenDisk::Fill(Extent extent, char byte) {
  Overwrite(content_, extent.offset, std::string(extent.length, byte));
}

void WrittenDisk::FlatcowSession(int operations) {
  absl::StrAppend(&log_, "flatcow opens it\n");
  const auto image = Must(OpenImage(PosixFileSystem(), path_, Writable()));
  for (int i = 0; i < operations; ++i) OneOperation(*image);
  EXPECT_TRUE(Shows(*image, content_));
  Must(image->Flush());
}

void WrittenDisk::OneOperation(Image& image) {
  Extent extent = RandomExtent();
  // Any byte may be the first or the last one.
  if (Random(2) == 0 && extent.length > 2) {
    const uint64_t less =
        Random(std::min<uint64_t>(extent.length - 1, kSector));
    extent = {extent.offset + less, extent.length - less};
    extent.length -= Random(std::min<uint64_t>(extent.length, kSector));
  }
  const std::string place =
      absl::StrCat(" ", extent.length, " bytes at ", extent.offset, "\n");
  switch (Random(12)) {
    default: {
      absl::StrAppend(&log_, "  write", place);
      const std::string data = PatternText(random_(), extent.length);
      WriteDisk(image, extent.offset, data);
      Overwrite(content_, extent.offset, data);
      break;
    }
    case 6:
    case 7:
      absl::StrAppend(&log_, "  zero", place);
      Must(image.WriteZeroes(extent));
      Fill(extent, '\0');
      break;
    case 8:
      absl::StrAppend(&log_, "  discard", place);
      Must(image.Discard(extent));
      Adopt(ReadDisk(image), {extent});
      break;
    case 9:
      absl::StrAppend(&log_, "  allocate", place);
      Must(image.Allocate(extent));
      break;
    case 10:
      absl::StrAppend(&log_, "  flush\n");
      Must(image.Flush());
      break;
    case 11: {
      const uint64_t by = (1 + Random(2 * cluster_size_ / kSector)) * kSector;
      const bool grow = Random(2) == 0 || by >= content_.size();
      const uint64_t size = grow ? content_.size() + by : content_.size() - by;
      absl::StrAppend(&log_, "  resize to ", size, "\n");
      Must(grow ? image.Resize(size) : image.Shrink(size));
      content_.resize(size, '\0');
      break;
    }
  }
}

void WrittenDisk::QemuSession(int operations, End end) {
  std::vector<std::string> command = {"qemu-io", "-d", "unmap", "-f", "qcow2"};
  discarded_.clear();
  for (int i = 0; i < operations; ++i) {
    command.insert(command.end(), {"-c", OneCommand()});
  }
  if (end == End::kAbort) {
    command.insert(command.end(), {"-c", "flush", "-c", "abort"});
  }
  command.push_back(path_);
  absl::StrAppend(&log_, "qemu-io -d unmap");
  for (size_t i = 5; i < command.size(); ++i) {
    const bool option = command[i] == "-c" || command[i] == path_;
    absl::StrAppend(&log_, option ? " " : " '", command[i], option ? "" : "'");
  }
  log_ += '\n';
  const CommandResult result = RunCommand(command);
  if ((end == End::kClose && result.exit_code != 0) ||
      absl::StrContains(result.output, "failed")) {
    throw std::runtime_error(log_ + result.output);
  }
  Adopt(QemuDisk(path_), discarded_);
}

std::string WrittenDisk::OneCommand() {
  const Extent extent = RandomExtent();
  const std::string place =
      absl::StrCat(" ", extent.offset, " ", extent.length);
  switch (Random(10)) {
    default: {
      const int byte = static_cast<int>(1 + Random(255));
      Fill(extent, static_cast<char>(byte));
      return absl::StrCat("write -P ", byte, place);
    }
    case 6:
      Fill(extent, '\0');
      return "write -z" + place;
    case 7:
      Fill(extent, '\0');
      return "write -z -u" + place;
    case 8:
      discarded_.push_back(extent);
      return "discard" + place;
    case 9: {
      const uint64_t by = (1 + Random(2 * cluster_size_ / kSector)) * kSector;
      content_.resize(content_.size() + by, '\0');
      return absl::StrCat("truncate ", content_.size());
    }
  }
}

void WrittenDisk::Adopt(const std::string& now,
                        const std::vector<Extent>& discarded) {
  ASSERT_EQ(now.size(), content_.size()) << log_;
  for (const Extent& extent : discarded) {
    for (uint64_t i = extent.offset; i < extent.end(); ++i) {
      if (now[i] == '\0') content_[i] = '\0';
    }
  }
  const auto [wrong, right] =
      std::mismatch(now.begin(), now.end(), content_.begin());
  EXPECT_TRUE(wrong == now.end())
      << "byte " << wrong - now.begin() << " is not what was written\n"
      << log_;
}

void WrittenDisk::ExpectSound() {
  const CommandResult check =
      RunCommand({"qemu-img", "check", "-f", "qcow2", path_});
  const bool leaks = may_leak_ && check.exit_code == kOnlyLeaks;
  EXPECT_TRUE(check.exit_code == 0 || leaks) << check.output << log_;
  const CheckResult own = Must(CheckImage(PosixFileSystem(), path_, {}));
  EXPECT_EQ(own.corruptions + own.check_errors, 0u) << log_;
  EXPECT_EQ(own.leaks != 0, check.exit_code == kOnlyLeaks) << log_;
  ExpectShown();
}

void WrittenDisk::ExpectShown() {
  Adopt(QemuDisk(path_), {});
  const auto image = Must(OpenImage(PosixFileSystem(), path_, {}));
  EXPECT_TRUE(Shows(*image, content_)) << log_;
}

}  // namespace flatcow
