// SPDX-License-Identifier: Apache-2.0
#include "mount/verified_load.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <new>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"

namespace flatcow {
namespace {

// Who owns a sector: in the first half of the disk the owners take turns every
// few sectors, so that they meet in clusters; in the second half they have room
// for writes across clusters.
constexpr uint64_t kFineStripe = 4096;
constexpr uint64_t kCoarseStripe = 512 << 10;

enum How { kBuffered, kDirect, kDirectSync };

class Descriptors {
 public:
  explicit Descriptors(const std::string& view) {
    const std::array<int, 3> flags = {0, O_DIRECT, O_DIRECT | O_DSYNC};
    for (size_t i = 0; i < fds_.size(); ++i) {
      fds_[i] = open(view.c_str(), O_RDWR | O_CLOEXEC | flags[i]);
    }
  }
  ~Descriptors() {
    for (const int fd : fds_) close(fd);
  }
  Descriptors(const Descriptors&) = delete;
  Descriptors& operator=(const Descriptors&) = delete;

  bool ok() const { return *std::min_element(fds_.begin(), fds_.end()) >= 0; }
  int operator[](How how) const { return fds_[how]; }

 private:
  std::array<int, 3> fds_;
};

class Writer {
 public:
  Writer(VersionedDisk& disk, const LoadOptions& options,
         const Descriptors& files, uint64_t number)
      : disk_(disk),
        options_(options),
        files_(files),
        number_(number),
        random_(options.seed * 31 + number),
        buffer_(static_cast<uint8_t*>(std::aligned_alloc(4096, kCoarseStripe)),
                &std::free) {}

  void Run(std::atomic<uint64_t>& operations) {
    while (options_.before_each(++operations)) {
      if (Step()) continue;
      const int error = errno;
      switch (options_.on_error(error)) {
        case Verdict::kGoOn:
          break;
        case Verdict::kStop:
          return;
        case Verdict::kFail:
          failure_ = absl::StrCat(what_, ": ", strerror(error));
          return;
      }
    }
  }

  const std::string& failure() const { return failure_; }

 private:
  uint64_t Below(uint64_t limit) { return random_() % limit; }

  Extent Pick() {
    const uint64_t half = disk_.size() / 2 / kCoarseStripe * kCoarseStripe;
    const bool fine = Below(2) == 0;
    const uint64_t stripe = fine ? kFineStripe : kCoarseStripe;
    const uint64_t area = fine ? half : disk_.size() - half;
    const auto writers = static_cast<uint64_t>(options_.writers);
    const uint64_t begin =
        (fine ? 0 : half) +
        (Below(area / stripe / writers) * writers + number_) * stripe;
    constexpr uint64_t kSector = VersionedDisk::kSector;
    const uint64_t sectors = stripe / kSector;
    const uint64_t first = Below(sectors);
    const uint64_t limit = Below(2) == 0 ? 16 : sectors;
    const uint64_t count = 1 + Below(std::min(limit, sectors - first));
    return {begin + first * kSector, count * kSector};
  }

  // Return values: false with errno when the operation failed.
  bool Step() {
    switch (Below(11)) {
      case 0:
      case 1:
      case 2:
        return Write(kBuffered, 0);
      case 3:
        return Write(kDirect, 0);
      case 4:
        return Write(kDirectSync, 0);
      case 5:
        return Write(Below(2) == 0 ? kBuffered : kDirect, RWF_DSYNC);
      case 6:
        return Zero(Below(2) == 0 ? FALLOC_FL_PUNCH_HOLE
                                  : FALLOC_FL_ZERO_RANGE);
      case 7:
        return Write(kBuffered, 0) && Sync(kBuffered);
      case 8:
        return Allocate();
      case 9:
        return Zero(FALLOC_FL_ZERO_RANGE) && Write(kDirect, 0) && Sync(kDirect);
      default:
        return Sync(Below(2) == 0 ? kBuffered : kDirect);
    }
  }

  bool Write(How how, int flags) {
    const Extent extent = Pick();
    what_ = absl::StrCat("write ", extent.length, " at ", extent.offset);
    const std::vector<uint8_t> bytes = disk_.Write(extent);
    std::memcpy(buffer_.get(), bytes.data(), bytes.size());
    const iovec piece = {buffer_.get(), bytes.size()};
    const ssize_t written = pwritev2(files_[how], &piece, 1,
                                     static_cast<off_t>(extent.offset), flags);
    if (written < 0) return false;
    Done({extent.offset, static_cast<uint64_t>(written) /
                             VersionedDisk::kSector * VersionedDisk::kSector},
         how == kDirectSync || flags == RWF_DSYNC);
    return true;
  }

  bool Zero(int mode) {
    const Extent extent = Pick();
    what_ = absl::StrCat("zero ", extent.length, " at ", extent.offset);
    disk_.Zero(extent);
    if (fallocate(files_[kBuffered], mode | FALLOC_FL_KEEP_SIZE,
                  static_cast<off_t>(extent.offset),
                  static_cast<off_t>(extent.length)) != 0) {
      return false;
    }
    Done(extent, false);
    return true;
  }

  // Changes nothing that can be read.
  bool Allocate() {
    const Extent extent = Pick();
    what_ = absl::StrCat("allocate ", extent.length, " at ", extent.offset);
    return fallocate(files_[kBuffered], 0, static_cast<off_t>(extent.offset),
                     static_cast<off_t>(extent.length)) == 0;
  }

  void Done(Extent extent, bool durable) {
    disk_.Complete(extent);
    if (durable) {
      disk_.MarkDurable(extent);
    } else {
      unsynced_.push_back(extent);
    }
  }

  bool Sync(How how) {
    const bool data_only = Below(2) == 0;
    what_ = data_only ? "fdatasync" : "fsync";
    if ((data_only ? fdatasync(files_[how]) : fsync(files_[how])) != 0) {
      return false;
    }
    for (const Extent& extent : unsynced_) disk_.MarkDurable(extent);
    unsynced_.clear();
    return true;
  }

  VersionedDisk& disk_;
  const LoadOptions& options_;
  const Descriptors& files_;
  const uint64_t number_;
  std::mt19937_64 random_;
  const std::unique_ptr<uint8_t, decltype(&std::free)> buffer_;
  std::vector<Extent> unsynced_;
  std::string what_;
  std::string failure_;
};

}  // namespace

std::string RunLoad(VersionedDisk& disk, const LoadOptions& options) {
  const Descriptors files(options.view);
  if (!files.ok()) return absl::StrCat("open: ", strerror(errno));
  std::vector<std::unique_ptr<Writer>> writers;
  for (int i = 0; i < options.writers; ++i) {
    writers.push_back(std::make_unique<Writer>(disk, options, files, i));
  }
  std::atomic<uint64_t> operations{0};
  std::vector<std::thread> threads;
  for (const auto& writer : writers) {
    threads.emplace_back([&] { writer->Run(operations); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& writer : writers) {
    if (!writer->failure().empty()) return writer->failure();
  }
  return "";
}

std::string VerifyView(const std::string& view, VersionedDisk& disk,
                       uint64_t& bad_sectors) {
  const int fd = open(view.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return absl::StrCat(view, ": ", strerror(errno));
  std::vector<uint8_t> content(disk.size());
  uint64_t done = 0;
  ssize_t n = 1;
  while (done < content.size() && n > 0) {
    n = pread(fd, content.data() + done, content.size() - done,
              static_cast<off_t>(done));
    if (n > 0) done += static_cast<uint64_t>(n);
  }
  const int error = errno;
  close(fd);
  if (n < 0) return absl::StrCat(view, " at ", done, ": ", strerror(error));
  if (done != content.size()) return absl::StrCat(view, " ends at ", done);
  const VersionedDisk::Findings findings = disk.Verify(content);
  bad_sectors += findings.lost + findings.foreign;
  if (findings.first.empty()) return "";
  return absl::StrCat(findings.lost, " sectors lost, ", findings.foreign,
                      " foreign: ", findings.first);
}

}  // namespace flatcow
