// SPDX-License-Identifier: Apache-2.0
#include "image/open_chain.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/registry.h"
#include "image/backing_pool.h"
#include "image/image_info.h"
#include "image/seen_files.h"
#include "io/metadata_cache.h"

namespace flatcow {
namespace {

constexpr size_t kDataFileCacheBytes = 1 << 20;

bool IsUnchanged(const FileStat& then, const FileStat& now) {
  return then.id == now.id && then.size == now.size &&
         then.mtime_ns == now.mtime_ns && then.ctime_ns == now.ctime_ns;
}

// Files of a chain that are open, locked and looked at; their layers are not
// started.
struct FoundChain;
struct FoundLayer {
  ChainLayer layer;
  std::unique_ptr<FoundChain> data_image;  // of a data file that is an image
};
struct FoundChain {
  std::vector<FoundLayer> layers;             // the image first
  std::shared_ptr<const BackingLayer> below;  // what others have open; or null
};

// Until the lock is there the file may have given its place to another one:
// writes to it would be lost.
absl::Status TakeLock(FileSystem& file_system, ChainFile& file, LockRole role) {
  file.lock = std::make_unique<ImageLock>(*file.file);
  RETURN_IF_ERROR(file.lock->Take(role));
  ASSIGN_OR_RETURN(const FileStat own, file.file->Stat());
  const auto there = file_system.Stat(file.file->path());
  if (!there.ok() || there->id == own.id) return absl::OkStatus();
  return MakeError(EBUSY, absl::StrCat(file.file->path(),
                                       ": another file took its place while it "
                                       "was being opened; try again"));
}

// QEMU looks for a data file of a relative name somewhere else.
absl::Status ExplainMissing(FileSystem& file_system, const absl::Status& status,
                            const ChainLayer& layer, const ImageLink& link) {
  if (ErrnoOf(status) != ENOENT || layer.driver != &kQcow2Format ||
      link.path == link.name || !file_system.Stat(link.name).ok()) {
    return status;
  }
  return MakeError(ENOENT,
                   absl::StrCat(status.message(),
                                "; there is one in the working directory, "
                                "where QEMU looks for it: 'amend -o "
                                "data_file=NAME' records a name relative to "
                                "the image"));
}

class ChainOpener {
 public:
  ChainOpener(FileSystem& file_system, const OpenOptions& options,
              LockRole role, std::shared_ptr<MetadataCache> cache)
      : file_system_(file_system),
        options_(options),
        role_(role),
        cache_(std::move(cache)) {}

  absl::StatusOr<OpenedChain> Open(const std::string& path);

 private:
  using Place = SeenFiles::Place;
  using Part = SeenFiles::Part;
  using Shared = std::shared_ptr<const BackingLayer>;

  bool writable(const Place* place) const {
    return place->written && options_.access == Access::kReadWrite;
  }

  absl::StatusOr<ChainFile> OpenFile(const std::string& path,
                                     const Place* place, Part part);
  absl::Status Lock(ChainFile& file, const Place* place);

  // Everything that can refuse the open without having written anything.
  absl::StatusOr<FoundChain> Find(const std::string& path,
                                  const std::string& format,
                                  const Place* place);
  absl::StatusOr<FoundLayer> FindLayer(ChainFile image,
                                       const std::string& format,
                                       const Place* place);
  absl::Status FindData(FoundLayer& found, const Place* place);
  // Opens what lies below the last of the layers: adds it to them, or sets
  // `below` when another image has it open. Precondition: `below` is null.
  absl::Status FindBacking(FoundChain& chain, const Place* place);

  // Writes to the files of a writable image.
  absl::StatusOr<Chain> Start(FoundChain found, bool writable);
  absl::Status StartLayer(FoundLayer& found, bool writable);

  // Null when nobody has this chain of backing files open, exactly as its names
  // lead to it now.
  Shared FindShared(const ChainFile& image, const FormatDriver& driver);
  bool IsStillThere(const std::string& path, const FileStat& stat);
  bool AreStillThere(absl::Span<const ChainLayer* const> layers);
  absl::Status RememberAll(absl::Span<const ChainLayer* const> layers,
                           const Place* place);

  FileSystem& file_system_;
  const OpenOptions& options_;
  const LockRole role_;  // of the files that are written
  const std::shared_ptr<MetadataCache> cache_;
  SeenFiles seen_;
  std::vector<std::string> warnings_;
};

absl::StatusOr<ChainFile> ChainOpener::OpenFile(const std::string& path,
                                                const Place* place, Part part) {
  ChainFile result;
  ASSIGN_OR_RETURN(result.file, file_system_.Open(path, Access::kReadOnly));
  ASSIGN_OR_RETURN(result.stat, result.file->Stat());
  RETURN_IF_ERROR(
      seen_.Remember(result.file->path(), result.stat.id, place, part));
  return result;
}

absl::Status ChainOpener::Lock(ChainFile& file, const Place* place) {
  const bool plain = role_ == LockRole::kNone || role_ == LockRole::kShared;
  const LockRole role = plain || place->written ? role_ : LockRole::kBacking;
  if (role == LockRole::kNone) return absl::OkStatus();
  return TakeLock(file_system_, file, role);
}

// ---- Finding ----

absl::Status ChainOpener::FindData(FoundLayer& found, const Place* place) {
  ChainLayer& layer = found.layer;
  const ImageLink& link = *layer.header.data_file;
  if (IsImage(link)) {
    auto image = Find(link.path, link.format, seen_.Add(place, place->written));
    if (!image.ok()) {
      return AnnotateLink(image.status(), *layer.image.file, "image file",
                          link);
    }
    found.data_image = std::make_unique<FoundChain>(*std::move(image));
    return absl::OkStatus();
  }
  auto data = OpenFile(link.path, place, Part::kData);
  if (!data.ok()) {
    return AnnotateLink(
        ExplainMissing(file_system_, data.status(), layer, link),
        *layer.image.file, DataFileRole(*layer.driver), link);
  }
  layer.data = *std::move(data);
  return Lock(*layer.data, place);
}

absl::StatusOr<FoundLayer> ChainOpener::FindLayer(ChainFile image,
                                                  const std::string& format,
                                                  const Place* place) {
  FoundLayer found;
  ChainLayer& layer = found.layer;
  layer.image = std::move(image);
  RETURN_IF_ERROR(Lock(layer.image, place));
  ASSIGN_OR_RETURN(layer.driver, FormatOf(*layer.image.file, format));
  ASSIGN_OR_RETURN(layer.header, layer.driver->read_header(*layer.image.file));
  if (layer.header.data_file.has_value()) {
    RETURN_IF_ERROR(FindData(found, place));
  }
  return found;
}

absl::Status ChainOpener::FindBacking(FoundChain& chain, const Place* place) {
  const ChainLayer& above = chain.layers.back().layer;
  const ImageLink link = *above.header.backing;
  ASSIGN_OR_RETURN(ChainFile image, OpenFile(link.path, place, Part::kImage));
  ASSIGN_OR_RETURN(const FormatDriver* const driver,
                   FormatOf(*image.file, link.format));
  if (link.format.empty() && driver == &kRawFormat) {
    warnings_.push_back(absl::StrCat(
        above.image.file->path(), ": backing file '", link.name,
        "' has no recorded format and no magic, so it is read as raw; "
        "'rebase -u -F raw' records that"));
  }
  chain.below = FindShared(image, *driver);
  if (chain.below != nullptr) return RememberAll(chain.below->Layers(), place);
  ASSIGN_OR_RETURN(FoundLayer below,
                   FindLayer(std::move(image), link.format, place));
  chain.layers.push_back(std::move(below));
  return absl::OkStatus();
}

absl::StatusOr<FoundChain> ChainOpener::Find(const std::string& path,
                                             const std::string& format,
                                             const Place* place) {
  FoundChain chain;
  ASSIGN_OR_RETURN(ChainFile image, OpenFile(path, place, Part::kImage));
  ASSIGN_OR_RETURN(FoundLayer top, FindLayer(std::move(image), format, place));
  chain.layers.push_back(std::move(top));
  while (chain.below == nullptr) {
    const ChainLayer& above = chain.layers.back().layer;
    if (!above.header.backing.has_value() || above.header.ignores_backing) {
      break;
    }
    place = seen_.Add(place, /*written=*/false);
    const size_t last = chain.layers.size() - 1;
    if (const absl::Status found = FindBacking(chain, place); !found.ok()) {
      const ChainLayer& names = chain.layers[last].layer;
      return AnnotateLink(found, *names.image.file, "backing file",
                          *names.header.backing);
    }
  }
  return chain;
}

// ---- What others have open ----

bool ChainOpener::IsStillThere(const std::string& path, const FileStat& stat) {
  const auto now = file_system_.Stat(path);
  return now.ok() && IsUnchanged(stat, *now);
}

// What the layers name.
bool ChainOpener::AreStillThere(absl::Span<const ChainLayer* const> layers) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const ChainLayer& layer = *layers[i];
    if (layer.data.has_value() &&
        !IsStillThere(layer.header.data_file->path, layer.data->stat)) {
      return false;
    }
    if (layer.data_image != nullptr &&
        !AreStillThere(layer.data_image->image().chain().Layers())) {
      return false;
    }
    if (i + 1 < layers.size() &&
        !IsStillThere(layer.header.backing->path, layers[i + 1]->image.stat)) {
      return false;
    }
  }
  return true;
}

ChainOpener::Shared ChainOpener::FindShared(const ChainFile& image,
                                            const FormatDriver& driver) {
  if (options_.backing_pool == nullptr) return nullptr;
  Shared shared =
      options_.backing_pool->Find({image.file->path(), driver.name});
  if (shared == nullptr ||
      !IsUnchanged(shared->parts().image.stat, image.stat) ||
      !AreStillThere(shared->Layers())) {
    return nullptr;
  }
  return shared;
}

// What the layers name; the file of the first one has been remembered.
absl::Status ChainOpener::RememberAll(
    absl::Span<const ChainLayer* const> layers, const Place* place) {
  for (size_t i = 0; i < layers.size(); ++i) {
    const ChainLayer& layer = *layers[i];
    if (layer.data.has_value()) {
      const bool is_image = layer.data_image != nullptr;
      const Place* const at = is_image ? seen_.Add(place, false) : place;
      RETURN_IF_ERROR(seen_.Remember(layer.data->file->path(),
                                     layer.data->stat.id, at,
                                     is_image ? Part::kImage : Part::kData));
      if (is_image) {
        RETURN_IF_ERROR(
            RememberAll(layer.data_image->image().chain().Layers(), at));
      }
    }
    if (i + 1 == layers.size()) break;
    place = seen_.Add(place, false);
    const ChainFile& below = layers[i + 1]->image;
    RETURN_IF_ERROR(
        seen_.Remember(below.file->path(), below.stat.id, place, Part::kImage));
  }
  return absl::OkStatus();
}

// ---- Starting ----

absl::Status ChainOpener::StartLayer(FoundLayer& found, bool writable) {
  ChainLayer& layer = found.layer;
  if (found.data_image != nullptr) {
    auto chain = Start(std::move(*found.data_image), writable);
    if (!chain.ok()) {
      return AnnotateLink(chain.status(), *layer.image.file, "image file",
                          *layer.header.data_file);
    }
    const FileStat stat = chain->image().image.stat;
    auto file = std::make_unique<ImageFile>(
        MakeOverlay(*std::move(chain), writable, cache_, {}));
    layer.data_image = file.get();
    layer.data.emplace().file = std::move(file);
    layer.data->stat = stat;
  }
  ChainFile* const data = layer.data.has_value() ? &*layer.data : nullptr;
  if (writable) {
    for (ChainFile* const file : {&layer.image, data}) {
      if (file == nullptr || file->file.get() == layer.data_image) continue;
      ASSIGN_OR_RETURN(file->writable, file->file->Reopen(Access::kReadWrite));
    }
  }
  ASSIGN_OR_RETURN(layer.layer,
                   layer.driver->open(layer.image.io(),
                                      data != nullptr ? &data->io() : nullptr,
                                      {.writable = writable, .cache = cache_}));
  return absl::OkStatus();
}

absl::StatusOr<Chain> ChainOpener::Start(FoundChain found, bool writable) {
  std::vector<FoundLayer>& layers = found.layers;
  Shared below = std::move(found.below);
  for (size_t depth = layers.size(); --depth > 0;) {
    ChainLayer& layer = layers[depth].layer;
    if (const absl::Status status = StartLayer(layers[depth], false);
        !status.ok()) {
      return Annotate(status, layers.front().layer.image.file->path());
    }
    const BackingPool::Key key{layer.image.file->path(), layer.driver->name};
    below = std::make_shared<BackingLayer>(std::move(layer), std::move(below),
                                           cache_);
    if (options_.backing_pool != nullptr) {
      options_.backing_pool->Add(key, below);
    }
  }
  RETURN_IF_ERROR(StartLayer(layers.front(), writable));
  return Chain(std::move(layers.front().layer), std::move(below));
}

absl::StatusOr<OpenedChain> ChainOpener::Open(const std::string& path) {
  const Place* const place = seen_.Add(nullptr, /*written=*/true);
  ASSIGN_OR_RETURN(FoundChain found, Find(path, options_.format, place));
  ASSIGN_OR_RETURN(Chain chain, Start(std::move(found), writable(place)));
  return OpenedChain{std::move(chain), std::move(warnings_)};
}

LockRole RoleOf(const OpenOptions& options) {
  if (!options.lock) return LockRole::kNone;
  if (options.share_writes) return LockRole::kShared;
  return options.access == Access::kReadWrite ? LockRole::kImageReadWrite
                                              : LockRole::kImageReadOnly;
}

}  // namespace

absl::StatusOr<OpenedChain> OpenChain(FileSystem& file_system,
                                      const std::string& path,
                                      const OpenOptions& options,
                                      std::shared_ptr<MetadataCache> cache) {
  return ChainOpener(file_system, options, RoleOf(options), std::move(cache))
      .Open(path);
}

std::unique_ptr<Overlay> MakeOverlay(Chain chain, bool writable,
                                     std::shared_ptr<MetadataCache> cache,
                                     std::vector<std::string> warnings) {
  const ChainLayer& top = chain.image();
  ImageInfo info = MakeImageInfo(*top.image.file, *top.driver, top.header);
  info.virtual_size = top.layer->size();
  return std::make_unique<Overlay>(std::move(chain), std::move(info), writable,
                                   LayerOptions{.cache = std::move(cache)},
                                   std::move(warnings));
}

absl::StatusOr<ChainFile> OpenLocked(FileSystem& file_system,
                                     const std::string& path, LockRole role) {
  ChainFile result;
  ASSIGN_OR_RETURN(result.file, file_system.Open(path, Access::kReadOnly));
  if (role == LockRole::kNone) return result;
  RETURN_IF_ERROR(TakeLock(file_system, result, role));
  return result;
}

absl::StatusOr<ChainFile> OpenDataFile(FileSystem& file_system,
                                       const ImageLink& link, LockRole role) {
  if (!IsImage(link)) return OpenLocked(file_system, link.path, role);
  const OpenOptions options{.format = link.format};
  const auto cache = std::make_shared<MetadataCache>(kDataFileCacheBytes);
  ASSIGN_OR_RETURN(
      OpenedChain opened,
      ChainOpener(file_system, options, role, cache).Open(link.path));
  ChainFile result;
  result.stat = opened.chain.image().image.stat;
  result.file = std::make_unique<ImageFile>(
      MakeOverlay(std::move(opened.chain), /*writable=*/false, cache,
                  std::move(opened.warnings)));
  return result;
}

}  // namespace flatcow
