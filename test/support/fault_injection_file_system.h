// SPDX-License-Identifier: Apache-2.0
//
// Passes everything on to another file system, but lets chosen operations fail.
//
//   MemoryFileSystem memory;
//   FaultInjectionFileSystem files(memory);
//   files.Inject({.kinds = kWriteFault | kSyncFault, .nth = 3,
//                 .error = ENOSPC});
//
// An operation that fails is not passed on, unless Fault::partial says so.
// Thread-safe.
#ifndef FLATCOW_TEST_SUPPORT_FAULT_INJECTION_FILE_SYSTEM_H_
#define FLATCOW_TEST_SUPPORT_FAULT_INJECTION_FILE_SYSTEM_H_

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "flatcow/file.h"

namespace flatcow {

// Kinds of operations, to be joined with |.
enum FaultKind : uint32_t {
  kOpenFault = 1 << 0,  // Open, Create, Reopen
  kReadFault = 1 << 1,
  kWriteFault = 1 << 2,
  kSyncFault = 1 << 3,
  kTruncateFault = 1 << 4,
  kAllocateFault = 1 << 5,
  kZeroFault = 1 << 6,
  kRemoveFault = 1 << 7,
  kLockFault = 1 << 8,  // LockByte, IsByteLocked
  kStatFault = 1 << 9,
  kSeekFault = 1 << 10,
  kReplaceFault = 1 << 11,
  // What the main paths do; locks, attributes and seeks count only when named.
  kAnyFault = ((1 << 8) - 1) | kReplaceFault,
  kEveryFault = (1 << 12) - 1,
};

struct Fault {
  uint32_t kinds = kAnyFault;
  // Counts only operations on this path (as File::path() gives it, or as it was
  // given to Open); empty for all.
  std::string path = {};
  // 1 is the next one that counts.
  uint64_t nth = 1;
  int error = EIO;
  // All later ones fail too.
  bool forever = false;
  // A read succeeds with half of its bytes; a write fails after half of its
  // bytes, at a border of the file's 512-byte sectors; a replace fails when it
  // is done.
  bool partial = false;
  // A partial read gets no more bytes than these.
  size_t read_at_most = ~size_t{0};
};

class FaultInjectionFileSystem final : public FileSystem {
 public:
  // `files` must outlive this, and this the files it opens.
  explicit FaultInjectionFileSystem(FileSystem& files);
  ~FaultInjectionFileSystem() override;

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override;
  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status Replace(const std::string& from, const std::string& to) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;

  // Faults add up, each counts for itself from now on. Where two hit the same
  // operation, the first one given decides.
  void Inject(const Fault& fault);
  // No more faults; counts go on.
  void Clear();

  // How many operations of these kinds were asked for so far, and how many of
  // all were made to fail: a test of every place counts a run without faults
  // first.
  uint64_t Count(uint32_t kinds = kAnyFault) const;
  uint64_t Injected() const;
  // What was made to fail so far, in order.
  std::vector<FaultKind> InjectedKinds() const;

 private:
  friend class FaultInjectionFile;

  struct Armed {
    Fault fault;
    uint64_t seen = 0;
  };

  // Counts the operation. Return values: the fault that hits it.
  std::optional<Fault> Next(FaultKind kind, absl::string_view path);
  // The same for operations that know no half way.
  absl::Status Check(FaultKind kind, absl::string_view path,
                     absl::string_view operation);

  FileSystem& files_;
  mutable Mutex mutex_;
  std::vector<Armed> faults_ ABSL_GUARDED_BY(mutex_);
  std::array<uint64_t, 32> counts_ ABSL_GUARDED_BY(mutex_) = {};  // by bit
  std::vector<FaultKind> injected_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_SUPPORT_FAULT_INJECTION_FILE_SYSTEM_H_
