// SPDX-License-Identifier: Apache-2.0
#include "source_index.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "hidden_files.h"

namespace flatcow::daemon {
namespace {

constexpr int kMaxDepth = 256;  // files in a chain

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

bool IsBelow(const std::string& path, const std::string& directory) {
  return directory.empty() ||
         (path.size() > directory.size() && path[directory.size()] == '/' &&
          absl::StartsWith(path, directory));
}

// Only what the user called so is: else raw files are no images.
bool IsRaw(const Look& look) { return look.facts->format == "raw"; }

bool SameImages(const std::vector<FoundImage>& a,
                const std::vector<FoundImage>& b) {
  return std::equal(
      a.begin(), a.end(), b.begin(), b.end(),
      [](const FoundImage& x, const FoundImage& y) {
        return x.path == y.path && x.look.stat.id == y.look.stat.id &&
               (x.look.facts == y.look.facts || *x.look.facts == *y.look.facts);
      });
}

}  // namespace

SourceIndex::SourceIndex(const SourceTree& tree, ConfinedFileSystem& files,
                         ImageInspector& inspector, FactsInUse facts_in_use,
                         RawNames raw_names, Log& log)
    : tree_(tree),
      files_(files),
      inspector_(inspector),
      facts_in_use_(std::move(facts_in_use)),
      raw_names_(std::move(raw_names)),
      log_(log) {}

void SourceIndex::LogOnce(absl::string_view message,
                          absl::string_view consequence) {
  const std::string line = absl::StrCat(message, " (", consequence, ")");
  log_.WriteLimited(Severity::kWarning, line, line);
}

// ---- Looking

std::optional<std::vector<std::string>> SourceIndex::KnownChildren(
    const SourceTree::Entry& folder, const IsShown& is_shown) const {
  const auto known = folders_.find(folder.path);
  if (known == folders_.end() || !known->second.settled ||
      SignatureOf(known->second.stat) != SignatureOf(folder.stat) ||
      !is_shown(folder.path)) {
    return std::nullopt;
  }
  const std::string prefix = folder.path + "/";
  std::vector<std::string> children;
  for (auto it = folders_.lower_bound(prefix);
       it != folders_.end() && absl::StartsWith(it->first, prefix); ++it) {
    const std::string rest = it->first.substr(prefix.size());
    if (!absl::StrContains(rest, '/')) children.push_back(rest);
  }
  return children;
}

absl::StatusOr<bool> SourceIndex::Refresh(const std::string& path, Depth depth,
                                          const IsShown& is_shown) {
  const int64_t now = NowNs();
  const auto known_children = [&](const SourceTree::Entry& folder) {
    return KnownChildren(folder, is_shown);
  };
  SourceTree::IsSame is_same;
  if (depth == Depth::kNewFiles) {
    is_same = [this](const std::string& file, uint64_t inode) {
      return IsKnown(file, inode);
    };
  }
  auto listing = tree_.List(path, known_children, is_same);
  if (!listing.ok()) {
    if (path.empty()) return listing.status();
    // Gone, with all below it.
    listing = SourceTree::Listing();
  }
  for (const absl::Status& problem : listing->problems) {
    LogOnce(problem.message(), "not searched");
  }
  Folders fresh;
  for (const SourceTree::Entry& directory : listing->directories) {
    Folder& folder = fresh[directory.path];
    folder.stat = directory.stat;
    folder.settled = IsSettled(SignatureOf(directory.stat), now);
  }
  for (const SourceTree::Entry& file : listing->files) {
    AddFile(file, fresh[DirectoryOf(file.path)]);
  }
  AddSame(listing->same, fresh);
  const bool is_new = Replace(path, *listing, std::move(fresh));
  ForgetFiles();
  return is_new;
}

bool SourceIndex::Replace(const std::string& path,
                          const SourceTree::Listing& listing, Folders fresh) {
  const absl::flat_hash_set<std::string> unread(listing.unread.begin(),
                                                listing.unread.end());
  bool is_new = false;
  for (auto it = folders_.lower_bound(path); it != folders_.end();) {
    const std::string& known = it->first;
    // A neighbour such as "a-b" stands between "a" and "a/b".
    if (known != path && !IsBelow(known, path)) {
      if (!absl::StartsWith(known, path)) break;
      ++it;
      continue;
    }
    if (fresh.contains(known) || unread.contains(known)) {
      ++it;
    } else {
      is_new = is_new || !it->second.images.empty();
      it = folders_.erase(it);
    }
  }
  for (auto& [name, folder] : fresh) {
    std::sort(folder.images.begin(), folder.images.end(),
              [](const FoundImage& a, const FoundImage& b) {
                return a.path < b.path;
              });
    Folder& known = folders_[name];
    is_new = is_new || !SameImages(known.images, folder.images);
    known = std::move(folder);
  }
  return is_new;
}

void SourceIndex::AddFile(const SourceTree::Entry& entry, Folder& folder) {
  FileStat stat = entry.stat;
  const std::string path = absl::StrCat(files_.root_path(0), "/", entry.path);
  if (S_ISLNK(stat.mode)) {
    const auto target = files_.Stat(path);
    if (!target.ok()) {
      // Only where an option could help: links to folders and dangling ones
      // are nobody's mistake.
      if (absl::StrContains(target.status().message(), "allow=")) {
        LogOnce(target.status().message(), "not shown");
      }
      return;
    }
    if (!S_ISREG(target->mode)) return;
    stat = *target;
  }
  folder.files[entry.path] = {entry.stat.id.inode, stat.id};
  auto facts = facts_in_use_(stat.id);
  // Which names of a raw file are shown hangs on the names.
  if (facts != nullptr && facts->format != "raw") {
    Look look{stat, std::nullopt, std::move(facts)};
    if (look.facts->data_file.has_value()) {
      const auto data = files_.Stat(look.facts->data_file->path);
      if (data.ok()) look.data_stat = *data;
    }
    folder.images.push_back({entry.path, std::move(look), 0, 0});
    return;
  }
  auto look = LookAt(entry.path, stat);
  if (!look.ok()) {
    const int error = ErrnoOf(look.status());
    if (error != ENOENT && error != ESTALE) {
      LogOnce(look.status().message(), "not shown");
    }
    return;
  }
  if (look->facts == nullptr) return;
  folder.images.push_back({entry.path, *std::move(look), 0, 0});
}

absl::StatusOr<Look> SourceIndex::LookAt(const std::string& path,
                                         const FileStat& stat) {
  if (raw_names_.Matches(path)) return LookAtRaw(stat);
  auto look =
      inspector_.Inspect(absl::StrCat(files_.root_path(0), "/", path), stat);
  const bool has_magic = !look.ok() || look->facts != nullptr;
  return has_magic || !raw_names_.others_too() ? look : LookAtRaw(look->stat);
}

bool SourceIndex::IsKnown(const std::string& path, uint64_t inode) const {
  const auto folder = folders_.find(DirectoryOf(path));
  if (folder == folders_.end()) return false;
  const auto file = folder->second.files.find(path);
  return file != folder->second.files.end() && file->second.inode == inode;
}

void SourceIndex::AddSame(const std::vector<std::string>& paths,
                          Folders& fresh) const {
  if (paths.empty()) return;
  for (const std::string& path : paths) {
    const std::string directory = DirectoryOf(path);
    fresh[directory].files[path] = folders_.at(directory).files.at(path);
  }
  const absl::flat_hash_set<std::string> same(paths.begin(), paths.end());
  for (auto& [directory, folder] : fresh) {
    const auto known = folders_.find(directory);
    if (known == folders_.end()) continue;
    std::copy_if(
        known->second.images.begin(), known->second.images.end(),
        std::back_inserter(folder.images),
        [&](const FoundImage& image) { return same.contains(image.path); });
  }
}

// Not each time, for it takes as long as there are files.
void SourceIndex::ForgetFiles() {
  size_t files = 0;
  for (const auto& [path, folder] : folders_) files += folder.files.size();
  if (inspector_.size() <= 2 * files + 64) return;
  absl::flat_hash_set<FileId> known;
  for (const auto& [path, folder] : folders_) {
    for (const auto& [name, file] : folder.files) known.insert(file.id);
  }
  inspector_.Keep(known);
}

std::optional<FileStat> SourceIndex::FolderStat(const std::string& path) const {
  const auto it = folders_.find(path);
  if (it == folders_.end()) return std::nullopt;
  return it->second.stat;
}

// ---- Deciding

std::vector<FoundImage> SourceIndex::Views() {
  std::vector<FoundImage> images;
  FactsOf facts_of;
  for (const auto& [path, folder] : folders_) {
    for (const FoundImage& image : folder.images) {
      images.push_back(image);
    }
  }
  Agree(images);
  for (const FoundImage& image : images) {
    facts_of[image.look.stat.id] = image.look.facts;
  }
  LinkStats stats;
  Hide(images, facts_of, stats);
  for (FoundImage& image : images) AddBelow(image, facts_of, stats);
  return images;
}

// Many images share one backing file, which is asked for once only.
std::optional<FileStat> SourceIndex::StatLink(const std::string& path,
                                              LinkStats& stats) {
  const auto [it, is_new] = stats.try_emplace(path);
  if (is_new) {
    const auto stat = files_.Stat(path);
    if (stat.ok()) it->second = *stat;
  }
  return it->second;
}

void SourceIndex::Agree(std::vector<FoundImage>& images) {
  absl::flat_hash_set<FileId> raw;
  for (const FoundImage& image : images) {
    if (IsRaw(image.look)) raw.insert(image.look.stat.id);
  }
  for (FoundImage& image : images) {
    if (!raw.contains(image.look.stat.id)) continue;
    image.look.facts = LookAtRaw(image.look.stat).facts;
    image.look.data_stat.reset();
  }
}

// What the image uses as raw files, or in their place: an image file that is an
// image is hidden, and what it uses in turn is not to show for that.
void SourceIndex::AddRawFiles(const ImageFacts& facts, const FactsOf& facts_of,
                              LinkStats& stats,
                              std::vector<FileId>& raw_files) {
  const ImageFacts* at = &facts;
  for (int depth = 0; at != nullptr && depth < kMaxDepth; ++depth) {
    if (at->backing.has_value() && at->backing->format == "raw") {
      const auto stat = StatLink(at->backing->path, stats);
      // Who asks for it as a disk is shown it, for what he writes goes
      // elsewhere.
      const auto known =
          stat.has_value() ? facts_of.find(stat->id) : facts_of.end();
      const bool asked_for =
          known != facts_of.end() && known->second->format == "raw";
      if (stat.has_value() && !asked_for) raw_files.push_back(stat->id);
    }
    if (!at->data_file.has_value()) return;
    const auto stat = StatLink(at->data_file->path, stats);
    if (!stat.has_value()) return;
    raw_files.push_back(stat->id);
    if (at->data_file->format == "raw") return;
    const auto known = facts_of.find(stat->id);
    at = known != facts_of.end() ? known->second.get() : nullptr;
  }
}

void SourceIndex::Hide(std::vector<FoundImage>& images, const FactsOf& facts_of,
                       LinkStats& stats) {
  RawFilesOf raw_files_of;
  for (const FoundImage& image : images) {
    AddRawFiles(*image.look.facts, facts_of, stats,
                raw_files_of[image.look.stat.id]);
  }
  const auto hidden = HiddenFiles(raw_files_of);
  std::erase_if(images, [&hidden](const FoundImage& image) {
    return hidden.contains(image.look.stat.id);
  });
}

// Follows the chain through images that are known; whatever lies below a file
// that isn't is left out.
void SourceIndex::AddBelow(FoundImage& image, const FactsOf& facts_of,
                           LinkStats& stats) {
  std::vector<const ImageFacts*> branches = {image.look.facts.get()};
  // Of the image file itself `look` knows.
  for (int depth = 0; depth < kMaxDepth; ++depth) {
    const ImageFacts& above = *branches.back();
    if (!above.data_file.has_value() || above.data_file->format == "raw") break;
    const auto stat = StatLink(above.data_file->path, stats);
    const auto known =
        stat.has_value() ? facts_of.find(stat->id) : facts_of.end();
    if (known == facts_of.end()) break;
    const ImageFacts& inner = *known->second;
    if (inner.data_file.has_value()) {
      const auto data = StatLink(inner.data_file->path, stats);
      if (data.has_value()) image.below_allocated += data->allocated_bytes;
    }
    branches.push_back(&inner);
  }
  for (const ImageFacts* branch : branches) {
    AddBacking(image, branch, facts_of, stats);
  }
}

void SourceIndex::AddBacking(FoundImage& image, const ImageFacts* facts,
                             const FactsOf& facts_of, LinkStats& stats) {
  for (int depth = 0; depth < kMaxDepth && facts->backing.has_value();
       ++depth) {
    const auto stat = StatLink(facts->backing->path, stats);
    if (!stat.has_value()) return;
    image.below_allocated += stat->allocated_bytes;
    if (facts->backing->format == "raw") return;
    const auto known = facts_of.find(stat->id);
    if (known == facts_of.end()) return;
    facts = known->second.get();
    if (facts->error != 0) {
      image.below_error = facts->error;
      return;
    }
    if (facts->data_file.has_value()) {
      const auto data = StatLink(facts->data_file->path, stats);
      if (data.has_value()) image.below_allocated += data->allocated_bytes;
    }
  }
}

}  // namespace flatcow::daemon
