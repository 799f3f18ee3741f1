// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "format/link_name.h"
#include "format/registry.h"
#include "image/open_chain.h"
#include "ops/recorded_names.h"

namespace flatcow {
namespace {

class Creation {
 public:
  Creation(FileSystem& file_system, std::string path, CreateOptions options)
      : file_system_(file_system),
        path_(std::move(path)),
        options_(std::move(options)) {}

  absl::StatusOr<CreateResult> Run();

 private:
  absl::Status OpenBacking();
  absl::Status DecideSize();
  absl::Status OpenImageFile();
  absl::Status CreateImageFile(const std::string& path);
  // The size of the disk that an existing image file holds.
  absl::StatusOr<uint64_t> ImageFileSize(const std::string& path);
  absl::Status RoundSize();
  absl::Status CreateFile();
  absl::Status CheckNotBelow(FileId id);
  absl::Status Verify();

  ImageLink DataLink(const std::string& path) const {
    return {options_.data_file, path, options_.data_format};
  }

  FileSystem& file_system_;
  const std::string path_;
  CreateOptions options_;
  CreateResult result_;
  uint64_t backing_size_ = 0;
  ChainFile image_;
  ChainFile data_;
  std::vector<std::string> base_paths_;  // what the image is to be based on
  std::vector<std::string> created_;     // to be removed when something fails
};

// Finds the backing file's size and, where it was not given, its format.
absl::Status Creation::OpenBacking() {
  if (options_.backing_file.empty()) {
    if (options_.backing_format.empty()) return absl::OkStatus();
    return MakeError(EINVAL, "a backing format needs a backing file");
  }
  if (!options_.backing_format.empty()) {
    RETURN_IF_ERROR(FormatByName(options_.backing_format).status());
  }
  if (options_.unsafe_backing) {
    if (options_.backing_format.empty()) {
      return MakeError(EINVAL,
                       "a backing file that is not opened needs its format: "
                       "give it with -F");
    }
    return absl::OkStatus();
  }
  const std::string backing_path =
      ResolveLinkName(path_, options_.backing_file);
  const auto image =
      OpenImage(file_system_, backing_path,
                {.format = options_.backing_format, .share_writes = true});
  if (!image.ok()) {
    return Annotate(image.status(),
                    absl::StrCat("backing file '", options_.backing_file, "'"));
  }
  backing_size_ = (*image)->Size();
  base_paths_ = (*image)->ChainPaths();
  const size_t own_files = options_.data_file.empty() ? 1 : 2;
  if (base_paths_.size() + own_files > kMaxChainFiles) {
    return MakeError(ELOOP, absl::StrCat("the chain would have more than ",
                                         kMaxChainFiles, " files"));
  }
  if (options_.backing_format.empty()) {
    options_.backing_format = FoundBackingFormat(
        options_.backing_file, (*image)->Info(), result_.warnings);
  }
  return absl::OkStatus();
}

absl::Status Creation::DecideSize() {
  if (options_.size.has_value()) return absl::OkStatus();
  if (!options_.backing_file.empty() && !options_.unsafe_backing) {
    options_.size = backing_size_;
    return absl::OkStatus();
  }
  if (!options_.data_file.empty()) {
    const auto size = ImageFileSize(ResolveLinkName(path_, options_.data_file));
    if (size.ok()) {
      options_.size = *size;
      return absl::OkStatus();
    }
    if (ErrnoOf(size.status()) != ENOENT) return size.status();
  }
  return MakeError(EINVAL,
                   "the size is needed: there is no backing file to take it "
                   "from");
}

absl::StatusOr<uint64_t> Creation::ImageFileSize(const std::string& path) {
  if (!IsImage(DataLink(path))) {
    ASSIGN_OR_RETURN(const FileStat stat, file_system_.Stat(path));
    return stat.size;
  }
  ASSIGN_OR_RETURN(const auto file, file_system_.Open(path, Access::kReadOnly));
  ASSIGN_OR_RETURN(const ImageInfo info,
                   InspectImage(file_system_, *file, options_.data_format));
  return info.virtual_size;
}

// Disks of some formats are whole sectors.
absl::Status Creation::RoundSize() {
  if (!options_.size.has_value() || !IsImage(DataLink(""))) {
    return absl::OkStatus();
  }
  CreateOptions inner{.format = options_.data_format, .size = options_.size};
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatByName(inner.format));
  // Whether such an image can be made is not asked here: it may be there.
  if (driver->check_create(inner).ok()) options_.size = inner.size;
  return absl::OkStatus();
}

absl::Status Creation::CreateImageFile(const std::string& path) {
  if (IsImage(DataLink(path))) {
    RETURN_IF_ERROR(
        CreateImage(file_system_, path,
                    {.format = options_.data_format, .size = options_.size})
            .status());
    created_.push_back(path);
    ASSIGN_OR_RETURN(data_, OpenDataFile(file_system_, DataLink(path),
                                         LockRole::kImageReadWrite));
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(data_.file, file_system_.Create(path));
  created_.push_back(path);
  RETURN_IF_ERROR(data_.file->Truncate(*options_.size));
  return data_.file->Sync();
}

absl::Status Creation::OpenImageFile() {
  if (options_.data_file.empty()) return absl::OkStatus();
  const std::string path = ResolveLinkName(path_, options_.data_file);
  const auto stat = file_system_.Stat(path);
  if (ErrnoOf(stat.status()) == ENOENT) {
    return Annotate(CreateImageFile(path),
                    absl::StrCat("image file '", options_.data_file,
                                 "', which is missing"));
  }
  if (!stat.ok()) return stat.status();
  ASSIGN_OR_RETURN(const uint64_t size, ImageFileSize(path));
  if (size != *options_.size) {
    return MakeError(
        EINVAL, absl::StrCat("image file '", options_.data_file, "' has ", size,
                             " bytes, expected ", *options_.size,
                             ": its size is the size of the disk; "
                             "resize it or give its size"));
  }
  RETURN_IF_ERROR(CheckNotBelow(stat->id));
  ASSIGN_OR_RETURN(data_, OpenDataFile(file_system_, DataLink(path),
                                       LockRole::kImageReadWrite));
  if (!IsImage(DataLink(path))) {
    base_paths_.push_back(path);
    return absl::OkStatus();
  }
  const Image& inner = static_cast<const ImageFile&>(*data_.file).image();
  for (std::string& file : inner.ChainPaths()) {
    base_paths_.push_back(std::move(file));
  }
  return absl::OkStatus();
}

// Before anything is overwritten.
absl::Status Creation::CheckNotBelow(FileId id) {
  for (const std::string& path : base_paths_) {
    ASSIGN_OR_RETURN(const FileStat base, file_system_.Stat(path));
    if (base.id == id) {
      return MakeError(EINVAL, absl::StrCat(path,
                                            " would be both the image or image "
                                            "file and a file that it is based "
                                            "on"));
    }
  }
  return absl::OkStatus();
}

absl::Status Creation::CreateFile() {
  auto created = file_system_.Create(path_);
  if (created.ok()) {
    image_.file = *std::move(created);
    created_.push_back(path_);
    image_.lock = std::make_unique<ImageLock>(*image_.file);
    return image_.lock->Take(LockRole::kImageReadWrite);
  }
  if (ErrnoOf(created.status()) != EEXIST) return created.status();
  if (!options_.force) {
    return MakeError(EEXIST, "exists already; --force overwrites it");
  }
  ASSIGN_OR_RETURN(image_, OpenLocked(file_system_, path_, LockRole::kNone));
  ASSIGN_OR_RETURN(const FileStat own, image_.file->Stat());
  // Before a lock of our own on the file gets in the way.
  RETURN_IF_ERROR(CheckNotBelow(own.id));
  image_.lock = std::make_unique<ImageLock>(*image_.file);
  RETURN_IF_ERROR(image_.lock->Take(LockRole::kImageReadWrite));
  ASSIGN_OR_RETURN(image_.writable, image_.file->Reopen(Access::kReadWrite));
  return image_.writable->Truncate(0);
}

absl::StatusOr<CreateResult> Creation::Run() {
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatByName(options_.format));
  RETURN_IF_ERROR(driver->check_create(options_));
  auto remove_created = absl::MakeCleanup([this] {
    for (const std::string& path : created_) {
      file_system_.Remove(path).IgnoreError();
    }
  });
  RETURN_IF_ERROR(OpenBacking());
  RETURN_IF_ERROR(DecideSize());
  RETURN_IF_ERROR(RoundSize());
  RETURN_IF_ERROR(driver->check_create(options_));
  RETURN_IF_ERROR(OpenImageFile());
  RETURN_IF_ERROR(CreateFile());
  RETURN_IF_ERROR(driver->create(image_.io(), data_.file.get(), options_));
  if (!options_.unsafe_backing) RETURN_IF_ERROR(Verify());
  std::move(remove_created).Cancel();
  result_.size = *options_.size;
  result_.cluster_size = options_.cluster_size;
  result_.backing_format = options_.backing_format;
  return result_;
}

// Opens the chain as a user would: cycles and files used twice show here.
absl::Status Creation::Verify() {
  return OpenImage(file_system_, path_,
                   {.format = options_.format, .lock = false})
      .status();
}

}  // namespace

absl::StatusOr<CreateResult> CreateImage(FileSystem& file_system,
                                         const std::string& path,
                                         const CreateOptions& options) {
  auto result = Creation(file_system, path, options).Run();
  if (!result.ok()) return Annotate(result.status(), path);
  return result;
}

}  // namespace flatcow
