// SPDX-License-Identifier: Apache-2.0
#include "support/fault_injection_file_system.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "support/file_wrapper.h"

namespace flatcow {
namespace {

constexpr uint64_t kSectorBytes = 512;

absl::Status Injected(const Fault& fault, absl::string_view path,
                      absl::string_view operation) {
  return ErrnoError(fault.error,
                    absl::StrCat(path, ": ", operation, " (injected)"));
}

}  // namespace

class FaultInjectionFile final : public FileWrapper {
 public:
  FaultInjectionFile(std::unique_ptr<File> file,
                     FaultInjectionFileSystem& injector)
      : FileWrapper(std::move(file)), injector_(injector) {}

  absl::StatusOr<FileStat> Stat() const override {
    RETURN_IF_ERROR(Check(kStatFault, "stat"));
    return wrapped().Stat();
  }

  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override {
    if (const auto fault = injector_.Next(kReadFault, path())) {
      if (!fault->partial) return Injected(*fault, path(), "read");
      buffer = buffer.first(std::min(fault->read_at_most, buffer.size() / 2));
    }
    return wrapped().Read(offset, buffer);
  }

  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override {
    if (const auto fault = injector_.Next(kWriteFault, path())) {
      if (fault->partial) RETURN_IF_ERROR(WriteHalf(offset, pieces));
      return Injected(*fault, path(), "write");
    }
    return wrapped().Write(offset, pieces);
  }

  absl::Status Sync() override {
    RETURN_IF_ERROR(Check(kSyncFault, "sync"));
    return wrapped().Sync();
  }

  absl::Status Truncate(uint64_t size) override {
    RETURN_IF_ERROR(Check(kTruncateFault, "truncate"));
    return wrapped().Truncate(size);
  }

  absl::Status Allocate(Extent extent) override {
    RETURN_IF_ERROR(Check(kAllocateFault, "allocate"));
    return wrapped().Allocate(extent);
  }

  absl::Status Zero(Extent extent) override {
    RETURN_IF_ERROR(Check(kZeroFault, "zero"));
    return wrapped().Zero(extent);
  }

  absl::StatusOr<uint64_t> SeekData(uint64_t offset) const override {
    RETURN_IF_ERROR(Check(kSeekFault, "seek data"));
    return wrapped().SeekData(offset);
  }

  absl::StatusOr<uint64_t> SeekHole(uint64_t offset) const override {
    RETURN_IF_ERROR(Check(kSeekFault, "seek hole"));
    return wrapped().SeekHole(offset);
  }

  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    RETURN_IF_ERROR(Check(kOpenFault, "open"));
    ASSIGN_OR_RETURN(std::unique_ptr<File> file, wrapped().Reopen(access));
    return std::make_unique<FaultInjectionFile>(std::move(file), injector_);
  }

  absl::Status LockByte(uint64_t offset) override {
    RETURN_IF_ERROR(Check(kLockFault, "lock"));
    return wrapped().LockByte(offset);
  }

  absl::StatusOr<bool> IsByteLocked(uint64_t offset) const override {
    RETURN_IF_ERROR(Check(kLockFault, "test lock"));
    return wrapped().IsByteLocked(offset);
  }

 private:
  absl::Status Check(FaultKind kind, absl::string_view operation) const {
    return injector_.Check(kind, path(), operation);
  }

  absl::Status WriteHalf(uint64_t offset, absl::Span<const iovec> pieces) {
    size_t length = 0;
    for (const iovec& piece : pieces) length += piece.iov_len;
    const uint64_t end = RoundDown(offset + length / 2, kSectorBytes);
    size_t left = end > offset ? static_cast<size_t>(end - offset) : 0;
    std::vector<iovec> half;
    for (const iovec& piece : pieces) {
      half.push_back({piece.iov_base, std::min(piece.iov_len, left)});
      left -= half.back().iov_len;
    }
    return wrapped().Write(offset, half);
  }

  FaultInjectionFileSystem& injector_;
};

FaultInjectionFileSystem::FaultInjectionFileSystem(FileSystem& files)
    : files_(files) {}
FaultInjectionFileSystem::~FaultInjectionFileSystem() = default;

std::optional<Fault> FaultInjectionFileSystem::Next(FaultKind kind,
                                                    absl::string_view path) {
  MutexLock lock(mutex_);
  ++counts_[static_cast<size_t>(std::countr_zero(uint32_t{kind}))];
  std::optional<Fault> result;
  for (Armed& armed : faults_) {
    const Fault& fault = armed.fault;
    if ((fault.kinds & kind) == 0) continue;
    if (!fault.path.empty() && fault.path != path) continue;
    ++armed.seen;
    if (armed.seen == fault.nth || (fault.forever && armed.seen > fault.nth)) {
      if (!result.has_value()) result = fault;
    }
  }
  if (result.has_value()) injected_.push_back(kind);
  return result;
}

absl::Status FaultInjectionFileSystem::Check(FaultKind kind,
                                             absl::string_view path,
                                             absl::string_view operation) {
  if (const auto fault = Next(kind, path)) {
    return flatcow::Injected(*fault, path, operation);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> FaultInjectionFileSystem::Open(
    const std::string& path, Access access) {
  RETURN_IF_ERROR(Check(kOpenFault, path, "open"));
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_.Open(path, access));
  return std::make_unique<FaultInjectionFile>(std::move(file), *this);
}

absl::StatusOr<std::unique_ptr<File>> FaultInjectionFileSystem::Create(
    const std::string& path) {
  RETURN_IF_ERROR(Check(kOpenFault, path, "create"));
  ASSIGN_OR_RETURN(std::unique_ptr<File> file, files_.Create(path));
  return std::make_unique<FaultInjectionFile>(std::move(file), *this);
}

absl::Status FaultInjectionFileSystem::Remove(const std::string& path) {
  RETURN_IF_ERROR(Check(kRemoveFault, path, "remove"));
  return files_.Remove(path);
}

absl::Status FaultInjectionFileSystem::Replace(const std::string& from,
                                               const std::string& to) {
  if (const auto fault = Next(kReplaceFault, to)) {
    if (fault->partial) RETURN_IF_ERROR(files_.Replace(from, to));
    return flatcow::Injected(*fault, to, "replace");
  }
  return files_.Replace(from, to);
}

absl::StatusOr<FileStat> FaultInjectionFileSystem::Stat(
    const std::string& path) {
  RETURN_IF_ERROR(Check(kStatFault, path, "stat"));
  return files_.Stat(path);
}

void FaultInjectionFileSystem::Inject(const Fault& fault) {
  MutexLock lock(mutex_);
  faults_.push_back({fault, 0});
}

void FaultInjectionFileSystem::Clear() {
  MutexLock lock(mutex_);
  faults_.clear();
}

uint64_t FaultInjectionFileSystem::Count(uint32_t kinds) const {
  MutexLock lock(mutex_);
  uint64_t result = 0;
  for (size_t bit = 0; bit < counts_.size(); ++bit) {
    if ((kinds >> bit & 1) != 0) result += counts_[bit];
  }
  return result;
}

uint64_t FaultInjectionFileSystem::Injected() const {
  MutexLock lock(mutex_);
  return injected_.size();
}

std::vector<FaultKind> FaultInjectionFileSystem::InjectedKinds() const {
  MutexLock lock(mutex_);
  return injected_;
}

}  // namespace flatcow
