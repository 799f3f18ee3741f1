// SPDX-License-Identifier: Apache-2.0
#include "crash/disk_change.h"

#include <algorithm>
#include <memory>

#include "absl/types/span.h"
#include "base/checked_math.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

using Kind = FileOperation::Kind;

void Write(File& file, uint64_t offset, std::string data) {
  const iovec piece{data.data(), data.size()};
  Must(file.Write(offset, absl::MakeConstSpan(&piece, 1)));
}

void Repeat(const FileOperation& operation, File& file) {
  const Extent extent{operation.offset, operation.length};
  switch (operation.kind) {
    case Kind::kWrite:
      return Write(file, operation.offset, operation.data);
    case Kind::kTruncate:
      return Must(file.Truncate(operation.length));
    case Kind::kAllocate:
      return Must(file.Allocate(extent));
    case Kind::kZero:
      return Must(file.Zero(extent));
    case Kind::kCreate:
    case Kind::kRemove:
    case Kind::kReplace:
    case Kind::kSync:
      return;
  }
}

}  // namespace

DiskChange::DiskChange(const FileOperation& operation,
                       MemoryFileSystem& page_cache)
    : operation_(operation) {
  const Kind kind = operation.kind;
  is_barrier_ =
      kind == Kind::kCreate || kind == Kind::kRemove || kind == Kind::kReplace;
  if (kind == Kind::kCreate) Must(page_cache.Create(path()).status());
  if (kind == Kind::kRemove) Must(page_cache.Remove(path()));
  if (kind == Kind::kReplace) Must(page_cache.Replace(old_path(), path()));
  if (is_barrier_) return;

  const auto file = Must(page_cache.Open(path(), Access::kReadWrite));
  const uint64_t old_size = Must(file->Stat()).size;
  Repeat(operation, *file);
  const uint64_t size = Must(file->Stat()).size;
  extends_ = size > old_size;
  is_barrier_ = size < old_size;
  // A write extends a file whose earlier extension was lost.
  if (kind != Kind::kZero) end_ = operation.offset + operation.length;
  if (kind == Kind::kWrite || kind == Kind::kZero) {
    const uint64_t end = operation.offset + operation.length;
    offset_ = RoundDown(operation.offset, kDiskSector);
    data_.resize(std::min(RoundUp(end, kDiskSector), size) - offset_);
    Must(file->Read(offset_,
                    absl::MakeSpan(reinterpret_cast<uint8_t*>(data_.data()),
                                   data_.size()))
             .status());
  }
}

std::string DiskChange::old_path() const {
  return operation_.kind == Kind::kReplace ? operation_.data : "";
}

void DiskChange::Apply(const DiskPart& part, MemoryFileSystem& disk) const {
  if (operation_.kind == Kind::kCreate) {
    return Must(disk.Create(path()).status());
  }
  if (operation_.kind == Kind::kRemove) return Must(disk.Remove(path()));
  if (operation_.kind == Kind::kReplace) {
    return Must(disk.Replace(old_path(), path()));
  }
  const auto file = Must(disk.Open(path(), Access::kReadWrite));
  uint64_t size = Must(file->Stat()).size;
  if (part.size) {
    const uint64_t end = std::min(end_, part.to);
    if (is_barrier_ || end > size) {
      Must(file->Truncate(end));
      size = end;
    }
  }
  if (!part.data) return;
  const uint64_t begin = std::max(offset_, part.from);
  const uint64_t end = std::min({offset_ + data_.size(), part.to, size});
  if (begin < end) {
    Write(*file, begin, data_.substr(begin - offset_, end - begin));
  }
}

}  // namespace flatcow
