// SPDX-License-Identifier: Apache-2.0
#include "image_facts.h"

#include <cerrno>
#include <utility>

#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

// The virtual size of an add-cow image is its data file's: the length of a raw
// file, otherwise something inside it. Plain writes to a raw one don't matter.
bool SameData(const ImageLink& link, const FileSignature& a,
              const FileSignature& b) {
  if (link.format == "raw") return a.id == b.id && a.size == b.size;
  return a == b;
}

// Does the data file's signature say whether the size is still the same? Where
// it is an add-cow image, that is in a file that is not looked at here.
bool TellsSize(const ImageLink& link) { return link.format != "add-cow"; }

// Is this an error that says "an image, but not usable"?
bool IsVerdict(const absl::Status& status) {
  switch (ErrnoOf(status)) {
    case EINVAL:
    case ENOTSUP:
    case ENOENT:
    case EACCES:
    case ELOOP:
      return true;
    default:
      return false;
  }
}

}  // namespace

Look LookAtRaw(const FileStat& stat) {
  auto facts = std::make_shared<ImageFacts>();
  facts->format = "raw";
  facts->virtual_size = stat.size;
  return {stat, std::nullopt, std::move(facts)};
}

std::optional<Look> ImageInspector::Remembered(const FileStat& stat) {
  Look look{stat, std::nullopt, nullptr};
  std::optional<FileSignature> data_signature;
  {
    MutexLock lock(mutex_);
    const auto it = records_.find(stat.id);
    if (it == records_.end() || !it->second.settled ||
        it->second.signature != SignatureOf(stat)) {
      return std::nullopt;
    }
    look.facts = it->second.facts;
    data_signature = it->second.data_signature;
  }
  if (look.facts == nullptr || !look.facts->data_file.has_value()) return look;
  const auto data = files_.Stat(look.facts->data_file->path);
  if (!data.ok() || !data_signature.has_value() ||
      !SameData(*look.facts->data_file, SignatureOf(*data), *data_signature)) {
    return std::nullopt;
  }
  look.data_stat = *data;
  return look;
}

absl::StatusOr<Look> ImageInspector::Open(const std::string& path,
                                          const FileId& expected) {
  const auto file = files_.Open(path, Access::kReadOnly);
  if (!file.ok()) return file.status();
  // Taken before the header is read: if that changes now, the next look sees
  // other time stamps.
  const auto stat = (*file)->Stat();
  if (!stat.ok()) return stat.status();
  if (stat->id != expected) return ErrnoError(ESTALE, path);
  Look look{*stat, std::nullopt, nullptr};
  const auto info = InspectImage(files_, **file);
  if (!info.ok() && !IsVerdict(info.status())) return info.status();
  if (info.ok() && info->format == "raw") return look;
  auto facts = std::make_shared<ImageFacts>();
  facts->error = ErrnoOf(info.status());
  if (info.ok()) {
    facts->format = info->format;
    facts->virtual_size = info->virtual_size;
    facts->cluster_size = info->cluster_size;
    facts->all_allocated = info->all_allocated;
    facts->data_file = info->data_file;
    facts->backing = info->backing;
    facts->read_only = info->read_only;
    if (facts->data_file.has_value()) {
      const auto data = files_.Stat(facts->data_file->path);
      if (data.ok()) look.data_stat = *data;
    }
  }
  look.facts = std::move(facts);
  return look;
}

absl::StatusOr<Look> ImageInspector::Inspect(const std::string& path,
                                             const FileStat& stat) {
  if (auto known = Remembered(stat)) return *std::move(known);
  auto look = Open(path, stat.id);
  if (!look.ok()) return look.status();
  Record record;
  record.signature = SignatureOf(look->stat);
  // A verdict may hang on another file, so it is not kept.
  record.settled =
      IsSettled(record.signature, NowNs()) &&
      (look->facts == nullptr ||
       (look->facts->error == 0 && (!look->facts->data_file.has_value() ||
                                    TellsSize(*look->facts->data_file))));
  if (look->data_stat.has_value()) {
    record.data_signature = SignatureOf(*look->data_stat);
  }
  record.facts = look->facts;
  MutexLock lock(mutex_);
  records_[look->stat.id] = std::move(record);
  return look;
}

size_t ImageInspector::size() {
  MutexLock lock(mutex_);
  return records_.size();
}

void ImageInspector::Keep(const absl::flat_hash_set<FileId>& files) {
  MutexLock lock(mutex_);
  absl::erase_if(records_, [&files](const auto& record) {
    return !files.contains(record.first);
  });
}

}  // namespace flatcow::daemon
