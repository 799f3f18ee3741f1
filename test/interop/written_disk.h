// SPDX-License-Identifier: Apache-2.0
//
// A disk that flatcow and QEMU write in turn, beside a byte array that knows
// what it has to show.
#ifndef FLATCOW_TEST_INTEROP_WRITTEN_DISK_H_
#define FLATCOW_TEST_INTEROP_WRITTEN_DISK_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "flatcow/extent.h"
#include "flatcow/image.h"

namespace flatcow {

class WrittenDisk {
 public:
  // The qcow2 image at `path`, which shows `content`. `cluster_size` says how
  // large the operations are.
  WrittenDisk(std::string path, uint64_t cluster_size, std::string content,
              uint64_t seed);

  // Opens the image, does this much with it and closes it.
  // A failure is one of the test.
  void FlatcowSession(int operations);

  // QEMU writes; with `abort` what it had not written then is not on the disk.
  enum class End { kClose, kAbort };
  void QemuSession(int operations, End end);

  // Both programs show what was written...
  void ExpectShown();
  // ... and find nothing to complain of.
  void ExpectSound();

  // Clusters of bitmaps are left over when a program writes that has none.
  void set_may_leak(bool may_leak) { may_leak_ = may_leak; }

  const std::string& content() const { return content_; }
  // What was done, for the reader of a failure.
  const std::string& log() const { return log_; }

 private:
  uint64_t Random(uint64_t below) { return random_() % below; }
  Extent RandomExtent();
  void OneOperation(Image& image);
  std::string OneCommand();
  void Fill(Extent extent, char byte);
  // The disk shows `now`. Where it was discarded, that may be zeroes or what
  // was there before; elsewhere it has to be the content.
  void Adopt(const std::string& now, const std::vector<Extent>& discarded);

  const std::string path_;
  const uint64_t cluster_size_;
  std::string content_;
  bool may_leak_ = false;
  std::vector<Extent> discarded_;  // by the session
  std::mt19937_64 random_;
  std::string log_;
};

// The disk as qemu-img converts it.
std::string QemuDisk(const std::string& path);

}  // namespace flatcow

#endif  // FLATCOW_TEST_INTEROP_WRITTEN_DISK_H_
