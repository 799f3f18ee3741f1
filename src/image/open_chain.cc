// SPDX-License-Identifier: Apache-2.0
#include "image/open_chain.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/registry.h"
#include "image/image_info.h"

namespace flatcow {
namespace {

class ChainOpener {
 public:
  ChainOpener(FileSystem& file_system, const OpenOptions& options,
              std::shared_ptr<MetadataCache> cache)
      : file_system_(file_system),
        options_(options),
        cache_(std::move(cache)) {}

  absl::StatusOr<OpenedChain> Open(const std::string& path);

 private:
  enum class Part { kImage, kData };
  struct Seen {
    FileId id;
    size_t depth;
    Part part;
  };

  bool writable(size_t depth) const {
    return depth == 0 && options_.access == Access::kReadWrite;
  }

  LockRole RoleAt(size_t depth) const;
  absl::StatusOr<ChainFile> OpenFile(const std::string& path, size_t depth,
                                     Part part);
  absl::Status Remember(const File& file, size_t depth, Part part);
  absl::StatusOr<ChainLayer> OpenLayer(const std::string& path,
                                       const std::string& format, size_t depth);
  absl::Status OpenData(ChainLayer& layer, size_t depth);
  absl::Status StartLayer(ChainLayer& layer, size_t depth);

  FileSystem& file_system_;
  const OpenOptions& options_;
  const std::shared_ptr<MetadataCache> cache_;
  std::vector<Seen> seen_;
};

LockRole ChainOpener::RoleAt(size_t depth) const {
  if (!options_.lock) return LockRole::kNone;
  if (options_.share_writes) return LockRole::kShared;
  if (depth != 0) return LockRole::kBacking;
  return writable(depth) ? LockRole::kImageReadWrite : LockRole::kImageReadOnly;
}

// Files are compared by identity: a cycle may lead through links of any kind.
absl::Status ChainOpener::Remember(const File& file, size_t depth, Part part) {
  if (seen_.size() == kMaxChainFiles) {
    return MakeError(ELOOP,
                     absl::StrCat(file.path(), ": the chain has more than ",
                                  kMaxChainFiles, " files"));
  }
  ASSIGN_OR_RETURN(const FileStat stat, file.Stat());
  for (const Seen& seen : seen_) {
    if (seen.id != stat.id) continue;
    if (part == Part::kImage && seen.part == Part::kImage) {
      return MakeError(ELOOP, absl::StrCat(file.path(),
                                           ": stands twice in the chain of "
                                           "backing files, which is a cycle"));
    }
    // Its writes would change what it reads from below.
    const bool written = seen.depth == 0;
    const bool same_image = seen.depth == depth || seen.depth + 1 == depth;
    if (written || same_image) {
      return MakeError(ELOOP,
                       absl::StrCat(file.path(),
                                    ": is both the image or image file of an "
                                    "overlay and a file that it is based on; "
                                    "they must be different files"));
    }
  }
  seen_.push_back({stat.id, depth, part});
  return absl::OkStatus();
}

absl::StatusOr<ChainFile> ChainOpener::OpenFile(const std::string& path,
                                                size_t depth, Part part) {
  ChainFile result;
  ASSIGN_OR_RETURN(result.file, file_system_.Open(path, Access::kReadOnly));
  RETURN_IF_ERROR(Remember(*result.file, depth, part));
  if (const LockRole role = RoleAt(depth); role != LockRole::kNone) {
    result.lock = std::make_unique<ImageLock>(*result.file);
    RETURN_IF_ERROR(result.lock->Take(role));
  }
  return result;
}

absl::Status ChainOpener::OpenData(ChainLayer& layer, size_t depth) {
  const ImageLink& link = *layer.header.data_file;
  auto data = OpenFile(link.path, depth, Part::kData);
  if (!data.ok()) {
    return AnnotateLink(data.status(), *layer.image.file, "image file", link);
  }
  layer.data = *std::move(data);
  return absl::OkStatus();
}

absl::StatusOr<ChainLayer> ChainOpener::OpenLayer(const std::string& path,
                                                  const std::string& format,
                                                  size_t depth) {
  ChainLayer layer;
  ASSIGN_OR_RETURN(layer.image, OpenFile(path, depth, Part::kImage));
  ASSIGN_OR_RETURN(layer.driver, FormatOf(*layer.image.file, format));
  ASSIGN_OR_RETURN(layer.header, layer.driver->read_header(*layer.image.file));
  if (layer.header.data_file.has_value()) {
    RETURN_IF_ERROR(OpenData(layer, depth));
  }
  return layer;
}

// Writes to the files of a writable image, so it comes after everything that
// can refuse the open.
absl::Status ChainOpener::StartLayer(ChainLayer& layer, size_t depth) {
  ChainFile* const data = layer.data.has_value() ? &*layer.data : nullptr;
  if (writable(depth)) {
    for (ChainFile* const file : {&layer.image, data}) {
      if (file == nullptr) continue;
      ASSIGN_OR_RETURN(file->writable, file->file->Reopen(Access::kReadWrite));
    }
  }
  ASSIGN_OR_RETURN(
      layer.layer,
      layer.driver->open(layer.image.io(),
                         data != nullptr ? &data->io() : nullptr,
                         {.writable = writable(depth), .cache = cache_}));
  return absl::OkStatus();
}

absl::StatusOr<OpenedChain> ChainOpener::Open(const std::string& path) {
  std::vector<ChainLayer> layers;
  std::vector<std::string> warnings;
  ASSIGN_OR_RETURN(ChainLayer top, OpenLayer(path, options_.format, 0));
  layers.push_back(std::move(top));
  while (true) {
    const ChainLayer& above = layers.back();
    if (!above.header.backing.has_value() || above.header.ignores_backing) {
      break;
    }
    const ImageLink& link = *above.header.backing;
    auto below = OpenLayer(link.path, link.format, layers.size());
    if (!below.ok()) {
      return AnnotateLink(below.status(), *above.image.file, "backing file",
                          link);
    }
    if (link.format.empty() && below->driver == &kRawFormat) {
      warnings.push_back(absl::StrCat(
          above.image.file->path(), ": backing file '", link.name,
          "' has no recorded format and no magic, so it is read as raw; "
          "'rebase -u -F raw' records that"));
    }
    layers.push_back(*std::move(below));
  }
  for (size_t depth = layers.size(); depth-- > 0;) {
    const absl::Status status = StartLayer(layers[depth], depth);
    if (!status.ok()) {
      return depth == 0 ? status
                        : Annotate(status, layers.front().image.file->path());
    }
  }
  return OpenedChain{Chain(std::move(layers)), std::move(warnings)};
}

}  // namespace

absl::StatusOr<OpenedChain> OpenChain(FileSystem& file_system,
                                      const std::string& path,
                                      const OpenOptions& options,
                                      std::shared_ptr<MetadataCache> cache) {
  return ChainOpener(file_system, options, std::move(cache)).Open(path);
}

absl::StatusOr<ChainFile> OpenLocked(FileSystem& file_system,
                                     const std::string& path, LockRole role) {
  ChainFile result;
  ASSIGN_OR_RETURN(result.file, file_system.Open(path, Access::kReadOnly));
  if (role == LockRole::kNone) return result;
  result.lock = std::make_unique<ImageLock>(*result.file);
  RETURN_IF_ERROR(result.lock->Take(role));
  return result;
}

}  // namespace flatcow
