// SPDX-License-Identifier: Apache-2.0
#include "flatcow/ephemeral.h"

#include <cerrno>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "io/deferred_file.h"

namespace flatcow {
namespace {

// What the overlay, its image file and its backing file are called. A name that
// an image on the host records is resolved from that image's absolute path, so
// it has a slash; these have none.
constexpr char kOverlay[] = "ephemeral overlay";
constexpr char kData[] = "ephemeral data";
constexpr char kBase[] = "image";

// A page is what guests write, and a write of whole clusters copies nothing up.
// The bitmap is a sparse file, so its size costs nothing: what is used of it is
// 4 KiB for every 128 MiB of the disk that are written to.
constexpr uint32_t kClusterSize = 4096;

// How often the image may change its size while it is opened.
constexpr int kMostTries = 4;

// The host's files, and among them the three names.
class EphemeralFiles final : public FileSystem {
 public:
  EphemeralFiles(FileSystem& files, std::string base,
                 const UnnamedFileMaker& make_file)
      : files_(files), base_(std::move(base)), make_file_(make_file) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override {
    if (path == kBase) return files_.Open(base_, access);
    std::shared_ptr<DeferredContents>* const contents = Find(path);
    if (contents == nullptr) return files_.Open(path, access);
    if (*contents == nullptr) return ErrnoError(ENOENT, path);
    return DeferredFile(path, *contents).Reopen(access);
  }

  absl::StatusOr<std::unique_ptr<File>> Create(
      const std::string& path) override {
    std::shared_ptr<DeferredContents>* const contents = Find(path);
    if (contents == nullptr) return files_.Create(path);
    if (*contents != nullptr) return ErrnoError(EEXIST, path);
    *contents = std::make_shared<DeferredContents>(make_file_);
    return std::make_unique<DeferredFile>(path, *contents);
  }

  absl::Status Remove(const std::string& path) override {
    std::shared_ptr<DeferredContents>* const contents = Find(path);
    if (contents == nullptr) return files_.Remove(path);
    contents->reset();
    return absl::OkStatus();
  }

  absl::Status Replace(const std::string& from,
                       const std::string& to) override {
    return files_.Replace(from, to);
  }

  absl::StatusOr<FileStat> Stat(const std::string& path) override {
    if (path == kBase) return files_.Stat(base_);
    std::shared_ptr<DeferredContents>* const contents = Find(path);
    if (contents == nullptr) return files_.Stat(path);
    if (*contents == nullptr) return ErrnoError(ENOENT, path);
    return DeferredFile(path, *contents).Stat();
  }

 private:
  // Null: a file of the host's.
  std::shared_ptr<DeferredContents>* Find(const std::string& path) {
    if (path == kOverlay) return &overlay_;
    return path == kData ? &data_ : nullptr;
  }

  FileSystem& files_;
  const std::string base_;
  const UnnamedFileMaker& make_file_;
  std::shared_ptr<DeferredContents> overlay_;
  std::shared_ptr<DeferredContents> data_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Image>> OpenEphemeral(
    FileSystem& file_system, const std::string& path,
    const OpenOptions& options, UnnamedFileMaker make_file) {
  const auto inspect = [&]() -> absl::StatusOr<ImageInfo> {
    ASSIGN_OR_RETURN(const auto file,
                     file_system.Open(path, Access::kReadOnly));
    return InspectImage(file_system, *file, options.format);
  };
  for (int tries = 0; tries < kMostTries; ++tries) {
    ASSIGN_OR_RETURN(const ImageInfo info, inspect());
    EphemeralFiles files(file_system, path, make_file);
    RETURN_IF_ERROR(CreateImage(files, kOverlay,
                                {.format = "add-cow",
                                 .size = info.virtual_size,
                                 .backing_file = kBase,
                                 .backing_format = info.format,
                                 .unsafe_backing = true,
                                 .cluster_size = kClusterSize,
                                 .data_file = kData})
                        .status());
    OpenOptions overlay_options = options;
    overlay_options.format = "add-cow";
    ASSIGN_OR_RETURN(auto image, OpenImage(files, kOverlay, overlay_options));
    // From now on the lock holds it.
    ASSIGN_OR_RETURN(const ImageInfo now, inspect());
    if (now.virtual_size == info.virtual_size) return image;
  }
  return MakeError(EBUSY, absl::StrCat(path,
                                       ": its size changed again and again "
                                       "while it was being opened"));
}

}  // namespace flatcow
