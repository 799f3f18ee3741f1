// SPDX-License-Identifier: Apache-2.0
//
// Looks at what a power cut has left, with the real code.
#ifndef FLATCOW_TEST_CRASH_SURVIVOR_H_
#define FLATCOW_TEST_CRASH_SURVIVOR_H_

#include <cstdint>
#include <memory>
#include <string>

#include "flatcow/image.h"
#include "support/memory_file_system.h"

namespace flatcow {

class Promise;

// Where clusters may be that nothing refers to. Repair gives back those at the
// end of the file only.
enum class Leaks { kAtEnd, kAnywhere };

class Survivor {
 public:
  // The image kChainImage of `files`, which are changed. `cache` is not null;
  // `salt` decides what is tried.
  Survivor(MemoryFileSystem& files, std::shared_ptr<MetadataCache> cache,
           Leaks leaks, uint64_t salt)
      : files_(files), cache_(std::move(cache)), where_(leaks), salt_(salt) {}

  // Checks the image, every second time repairs its leaks, opens it, compares,
  // goes on with it, and opens it again. Return values: empty, or what is
  // wrong.
  std::string Examine(const Promise& promise);

 private:
  // No damage, and at most so many leaks.
  std::string CheckSound(uint64_t max_leaks);
  // Repairs leaks, and looks for those that are left.
  std::string RepairLeaks();
  // Writes to the disk, and to its copy `content`.
  void GoOn(Image& disk, std::string& content);
  std::unique_ptr<Image> Open(Access access);

  MemoryFileSystem& files_;
  const std::shared_ptr<MetadataCache> cache_;
  const Leaks where_;
  const uint64_t salt_;
  uint64_t leaks_ = 0;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_SURVIVOR_H_
