// SPDX-License-Identifier: Apache-2.0
#include "image/open_chain.h"

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/registry.h"
#include "image/backing_pool.h"
#include "image/image_info.h"

namespace flatcow {
namespace {

bool IsUnchanged(const FileStat& then, const FileStat& now) {
  return then.id == now.id && then.size == now.size &&
         then.mtime_ns == now.mtime_ns && then.ctime_ns == now.ctime_ns;
}

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
  using Shared = std::shared_ptr<const BackingLayer>;

  bool writable(size_t depth) const {
    return depth == 0 && options_.access == Access::kReadWrite;
  }

  LockRole RoleAt(size_t depth) const;
  absl::StatusOr<ChainFile> OpenFile(const std::string& path, size_t depth,
                                     Part part);
  absl::Status Lock(ChainFile& file, size_t depth);
  absl::Status Remember(const std::string& path, const FileStat& stat,
                        size_t depth, Part part);
  // Opens what lies below the last of the layers: adds it to them, or sets
  // `shared` when another image has it open. Precondition: `shared` is null.
  absl::Status OpenBacking(std::vector<ChainLayer>& layers, Shared& shared);
  absl::StatusOr<ChainLayer> OpenLayer(ChainFile image,
                                       const std::string& format, size_t depth);
  absl::Status OpenData(ChainLayer& layer, size_t depth);
  absl::Status StartLayer(ChainLayer& layer, size_t depth);

  // Null when nobody has this chain of backing files open, exactly as its names
  // lead to it now.
  Shared FindShared(const ChainFile& image, const FormatDriver& driver);
  bool IsStillThere(const std::string& path, const FileStat& stat);
  absl::Status RememberAll(const BackingLayer& shared, size_t depth);

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
absl::Status ChainOpener::Remember(const std::string& path,
                                   const FileStat& stat, size_t depth,
                                   Part part) {
  if (seen_.size() == kMaxChainFiles) {
    return MakeError(ELOOP, absl::StrCat(path, ": the chain has more than ",
                                         kMaxChainFiles, " files"));
  }
  for (const Seen& seen : seen_) {
    if (seen.id != stat.id) continue;
    if (part == Part::kImage && seen.part == Part::kImage) {
      return MakeError(ELOOP, absl::StrCat(path,
                                           ": stands twice in the chain of "
                                           "backing files, which is a cycle"));
    }
    // Its writes would change what it reads from below.
    const bool written = seen.depth == 0;
    const bool same_image = seen.depth == depth || seen.depth + 1 == depth;
    if (written || same_image) {
      return MakeError(ELOOP, absl::StrCat(path,
                                           ": is both the image or image file "
                                           "of an overlay and a file that it "
                                           "is based on; they must be "
                                           "different files"));
    }
  }
  seen_.push_back({stat.id, depth, part});
  return absl::OkStatus();
}

absl::StatusOr<ChainFile> ChainOpener::OpenFile(const std::string& path,
                                                size_t depth, Part part) {
  ChainFile result;
  ASSIGN_OR_RETURN(result.file, file_system_.Open(path, Access::kReadOnly));
  ASSIGN_OR_RETURN(result.stat, result.file->Stat());
  RETURN_IF_ERROR(Remember(result.file->path(), result.stat, depth, part));
  return result;
}

absl::Status ChainOpener::Lock(ChainFile& file, size_t depth) {
  const LockRole role = RoleAt(depth);
  if (role == LockRole::kNone) return absl::OkStatus();
  file.lock = std::make_unique<ImageLock>(*file.file);
  return file.lock->Take(role);
}

absl::Status ChainOpener::OpenData(ChainLayer& layer, size_t depth) {
  const ImageLink& link = *layer.header.data_file;
  auto data = OpenFile(link.path, depth, Part::kData);
  if (!data.ok()) {
    return AnnotateLink(data.status(), *layer.image.file, "image file", link);
  }
  layer.data = *std::move(data);
  return Lock(*layer.data, depth);
}

absl::StatusOr<ChainLayer> ChainOpener::OpenLayer(ChainFile image,
                                                  const std::string& format,
                                                  size_t depth) {
  ChainLayer layer;
  layer.image = std::move(image);
  RETURN_IF_ERROR(Lock(layer.image, depth));
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

bool ChainOpener::IsStillThere(const std::string& path, const FileStat& stat) {
  const auto now = file_system_.Stat(path);
  return now.ok() && IsUnchanged(stat, *now);
}

ChainOpener::Shared ChainOpener::FindShared(const ChainFile& image,
                                            const FormatDriver& driver) {
  if (options_.backing_pool == nullptr) return nullptr;
  Shared shared =
      options_.backing_pool->Find({image.file->path(), driver.name});
  if (shared == nullptr || !IsUnchanged(shared->parts().image.stat, image.stat))
    return nullptr;
  for (const BackingLayer* at = shared.get(); at != nullptr; at = at->below()) {
    const ChainLayer& parts = at->parts();
    if (parts.data.has_value() &&
        !IsStillThere(parts.header.data_file->path, parts.data->stat)) {
      return nullptr;
    }
    if (at->below() != nullptr &&
        !IsStillThere(parts.header.backing->path,
                      at->below()->parts().image.stat)) {
      return nullptr;
    }
  }
  return shared;
}

absl::Status ChainOpener::RememberAll(const BackingLayer& shared,
                                      size_t depth) {
  for (const BackingLayer* at = &shared; at != nullptr;
       at = at->below(), ++depth) {
    const ChainLayer& parts = at->parts();
    if (at != &shared) {
      RETURN_IF_ERROR(Remember(parts.image.file->path(), parts.image.stat,
                               depth, Part::kImage));
    }
    if (parts.data.has_value()) {
      RETURN_IF_ERROR(Remember(parts.data->file->path(), parts.data->stat,
                               depth, Part::kData));
    }
  }
  return absl::OkStatus();
}

absl::Status ChainOpener::OpenBacking(std::vector<ChainLayer>& layers,
                                      Shared& shared) {
  const size_t depth = layers.size();
  const ImageLink& link = *layers.back().header.backing;
  ASSIGN_OR_RETURN(ChainFile image, OpenFile(link.path, depth, Part::kImage));
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatOf(*image.file, link.format));
  shared = FindShared(image, *driver);
  if (shared != nullptr) return RememberAll(*shared, depth);
  ASSIGN_OR_RETURN(ChainLayer below,
                   OpenLayer(std::move(image), link.format, depth));
  layers.push_back(std::move(below));
  return absl::OkStatus();
}

absl::StatusOr<OpenedChain> ChainOpener::Open(const std::string& path) {
  std::vector<ChainLayer> layers;
  std::vector<std::string> warnings;
  Shared below;
  ASSIGN_OR_RETURN(ChainFile image, OpenFile(path, 0, Part::kImage));
  ASSIGN_OR_RETURN(ChainLayer top,
                   OpenLayer(std::move(image), options_.format, 0));
  layers.push_back(std::move(top));
  while (below == nullptr && layers.back().header.backing.has_value() &&
         !layers.back().header.ignores_backing) {
    const ImageLink link = *layers.back().header.backing;
    const std::string above = layers.back().image.file->path();
    if (const absl::Status opened = OpenBacking(layers, below); !opened.ok()) {
      return AnnotateLink(opened, *layers.back().image.file, "backing file",
                          link);
    }
    const FormatDriver* const driver =
        below != nullptr ? below->parts().driver : layers.back().driver;
    if (link.format.empty() && driver == &kRawFormat) {
      warnings.push_back(absl::StrCat(
          above, ": backing file '", link.name,
          "' has no recorded format and no magic, so it is read as raw; "
          "'rebase -u -F raw' records that"));
    }
  }
  for (size_t depth = layers.size(); depth-- > 0;) {
    ChainLayer& layer = layers[depth];
    const absl::Status status = StartLayer(layer, depth);
    if (!status.ok()) {
      return depth == 0 ? status
                        : Annotate(status, layers.front().image.file->path());
    }
    if (depth == 0) break;
    const BackingPool::Key key{layer.image.file->path(), layer.driver->name};
    below = std::make_shared<BackingLayer>(std::move(layer), std::move(below),
                                           cache_);
    if (options_.backing_pool != nullptr) {
      options_.backing_pool->Add(key, below);
    }
  }
  return OpenedChain{Chain(std::move(layers.front()), std::move(below)),
                     std::move(warnings)};
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
