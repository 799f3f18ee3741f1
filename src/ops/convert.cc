// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/link_name.h"
#include "ops/disk_writer.h"
#include "ops/pieces.h"
#include "ops/segment_cursor.h"

namespace flatcow {
namespace {

// What is compared with the backing file is written in units of so many bytes.
constexpr uint64_t kDiffUnit = 4096;

class Conversion {
 public:
  Conversion(FileSystem& file_system, const std::string& source,
             const std::string& target, const ConvertOptions& options)
      : file_system_(file_system),
        source_path_(source),
        target_path_(target),
        options_(options) {}

  absl::StatusOr<ConvertResult> Run();

 private:
  absl::Status OpenSource();
  absl::Status CheckNotOfSource(const std::string& path);
  absl::Status CreateTarget();
  absl::Status OpenTarget();
  absl::Status OpenBase();
  // The file that is the disk, byte for byte; null: there is none.
  absl::StatusOr<std::unique_ptr<File>> OpenFlatFile();
  absl::StatusOr<Stretch> Survey(uint64_t offset);
  absl::Status Copy(const Piece& piece, absl::Span<uint8_t> buffer);
  absl::Status CopyDifferences(const Piece& piece, absl::Span<uint8_t> buffer);

  FileSystem& file_system_;
  const std::string& source_path_;
  const std::string& target_path_;
  const ConvertOptions& options_;
  std::unique_ptr<Image> source_;
  std::unique_ptr<Image> target_;
  std::unique_ptr<Image> base_;  // what the new target is based on; may be null
  std::unique_ptr<SegmentCursor> source_cursor_;
  std::unique_ptr<SegmentCursor> base_cursor_;
  std::unique_ptr<DiskWriter> writer_;
  bool target_is_zero_ = false;
  std::vector<std::string> created_;  // to be removed when something fails
  ConvertResult result_;
};

absl::Status Conversion::OpenSource() {
  ASSIGN_OR_RETURN(source_, OpenImage(file_system_, source_path_,
                                      {.format = options_.format,
                                       .share_writes = options_.share_writes}));
  source_cursor_ = std::make_unique<SegmentCursor>(*source_);
  result_.warnings = source_->Warnings();
  return absl::OkStatus();
}

absl::Status Conversion::CheckNotOfSource(const std::string& path) {
  const auto target = file_system_.Stat(path);
  if (!target.ok()) return absl::OkStatus();
  for (const std::string& file : source_->ChainPaths()) {
    ASSIGN_OR_RETURN(const FileStat stat, file_system_.Stat(file));
    if (stat.id == target->id) {
      return MakeError(EINVAL,
                       absl::StrCat(path,
                                    ": is a file of the source and would "
                                    "be overwritten"));
    }
  }
  return absl::OkStatus();
}

absl::Status Conversion::CreateTarget() {
  CreateOptions create = options_.target;
  create.size = source_->Size();
  std::vector<std::string> files = {target_path_};
  if (!create.data_file.empty()) {
    files.push_back(ResolveLinkName(target_path_, create.data_file));
  }
  std::vector<std::string> missing;
  for (const std::string& file : files) {
    RETURN_IF_ERROR(CheckNotOfSource(file));
    if (!file_system_.Stat(file).ok()) missing.push_back(file);
  }
  ASSIGN_OR_RETURN(const CreateResult created,
                   CreateImage(file_system_, target_path_, create));
  result_.warnings.insert(result_.warnings.end(), created.warnings.begin(),
                          created.warnings.end());
  // An image file that was there already holds what it held.
  target_is_zero_ =
      create.backing_file.empty() &&
      (create.data_file.empty() ||
       std::find(missing.begin(), missing.end(), files[1]) != missing.end());
  created_ = std::move(missing);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> Conversion::OpenFlatFile() {
  if (target_->FlatFile(/*never_written=*/false) < 0) return nullptr;
  const ImageInfo& info = target_->Info();
  return file_system_.Open(
      info.data_file.has_value() ? info.data_file->path : info.path,
      Access::kReadWrite);
}

absl::Status Conversion::OpenTarget() {
  ASSIGN_OR_RETURN(target_, OpenImage(file_system_, target_path_,
                                      {.access = Access::kReadWrite,
                                       .format = options_.target.format}));
  if (target_->Size() < source_->Size()) {
    return MakeError(ENOSPC,
                     absl::StrCat(target_path_, ": has ", target_->Size(),
                                  " bytes, the source ", source_->Size(),
                                  ": resize it first"));
  }
  result_.size = target_->Size();
  ASSIGN_OR_RETURN(auto flat, OpenFlatFile());
  writer_ = std::make_unique<DiskWriter>(
      *target_, std::move(flat),
      DiskWriter::Options{.is_zero = target_is_zero_,
                          .sparse_bytes = options_.sparse_bytes});
  return absl::OkStatus();
}

absl::Status Conversion::OpenBase() {
  if (!options_.create_target || options_.target.backing_file.empty()) {
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(
      base_,
      OpenImage(file_system_,
                ResolveLinkName(target_path_, options_.target.backing_file),
                {.format = options_.target.backing_format}));
  base_cursor_ = std::make_unique<SegmentCursor>(*base_);
  return absl::OkStatus();
}

absl::StatusOr<Stretch> Conversion::Survey(uint64_t offset) {
  ASSIGN_OR_RETURN(const Segment shown, source_cursor_->At(offset));
  const bool zero = shown.kind == Segment::Kind::kZero;
  if (base_ == nullptr) {
    const bool is_there = zero && target_is_zero_ && options_.sparse_bytes != 0;
    return Stretch{
        is_there ? Todo::kNothing : (zero ? Todo::kZero : Todo::kData),
        shown.length};
  }
  ASSIGN_OR_RETURN(const Segment below, base_cursor_->At(offset));
  return Stretch{AreSame(shown, below) ? Todo::kNothing
                                       : (zero ? Todo::kZero : Todo::kData),
                 std::min(shown.length, below.length)};
}

absl::Status Conversion::CopyDifferences(const Piece& piece,
                                         absl::Span<uint8_t> buffer) {
  const auto length = static_cast<size_t>(piece.extent.length);
  const auto shown = buffer.first(length);
  const auto below = buffer.subspan(kPairBytes, length);
  const uint64_t begin = piece.extent.offset;
  RETURN_IF_ERROR(ReadPadded(*source_, begin, shown));
  RETURN_IF_ERROR(ReadPadded(*base_, begin, below));
  const auto differs = [&](size_t at) {
    return std::memcmp(&shown[at], &below[at],
                       std::min<size_t>(kDiffUnit, length - at)) != 0;
  };
  for (size_t at = 0; at < length;) {
    size_t end = at;
    while (end < length && differs(end)) end += kDiffUnit;
    end = std::min(end, length);
    if (end != at) {
      RETURN_IF_ERROR(
          writer_->WriteData(begin + at, shown.subspan(at, end - at)));
    }
    at = end + kDiffUnit;  // the unit at `end` is the same
  }
  return absl::OkStatus();
}

absl::Status Conversion::Copy(const Piece& piece, absl::Span<uint8_t> buffer) {
  if (piece.zero) return writer_->WriteZeroes(piece.extent);
  if (base_ != nullptr) return CopyDifferences(piece, buffer);
  return writer_->CopyFrom(*source_, piece.extent, buffer);
}

absl::StatusOr<ConvertResult> Conversion::Run() {
  RETURN_IF_ERROR(OpenSource());
  auto remove_created = absl::MakeCleanup([this] {
    writer_.reset();
    target_.reset();
    for (const std::string& path : created_) {
      file_system_.Remove(path).IgnoreError();
    }
  });
  if (options_.create_target) {
    RETURN_IF_ERROR(CreateTarget());
  } else {
    RETURN_IF_ERROR(CheckNotOfSource(target_path_));
  }
  RETURN_IF_ERROR(OpenTarget());
  RETURN_IF_ERROR(OpenBase());
  RETURN_IF_ERROR(WorkOnPieces(
      // A size that was rounded up is made up with zeroes.
      options_.create_target ? target_->Size() : source_->Size(), options_.work,
      base_ != nullptr ? kPairBytes : kPieceBytes,
      [this](uint64_t offset) { return Survey(offset); },
      [this](const Piece& piece, absl::Span<uint8_t> buffer) {
        return Copy(piece, buffer);
      }));
  RETURN_IF_ERROR(target_->Flush());
  std::move(remove_created).Cancel();
  result_.written_bytes = writer_->written_bytes();
  return result_;
}

}  // namespace

absl::StatusOr<ConvertResult> ConvertImage(FileSystem& file_system,
                                           const std::string& source,
                                           const std::string& target,
                                           const ConvertOptions& options) {
  return Conversion(file_system, source, target, options).Run();
}

}  // namespace flatcow
