// SPDX-License-Identifier: Apache-2.0
#include "catalog.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

constexpr absl::string_view kSuffix = ".raw";
// As many as a chain may have; what goes on behind them is a circle.
constexpr size_t kMaxBackingPaths = 256;
constexpr size_t kMaxName = 255;  // bytes, as in most host file systems

std::string Join(const std::string& directory, absl::string_view name) {
  return directory.empty() ? std::string(name)
                           : absl::StrCat(directory, "/", name);
}

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string NameOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

bool IsViewName(const std::string& name) {
  return name.size() > kSuffix.size() && absl::EndsWith(name, kSuffix);
}

std::string ImageName(const std::string& view_name) {
  return view_name.substr(0, view_name.size() - kSuffix.size());
}

// The host's inode number where it is unique: on SOURCE's own file system.
// Others (links, mounts inside SOURCE) are mixed with their device.
uint64_t InodeOf(const FileId& id, uint64_t source_device) {
  if (id.device == source_device) return id.inode;
  uint64_t mixed = id.inode * 0x9e3779b97f4a7c15 + id.device;
  mixed ^= mixed >> 31;
  mixed *= 0xbf58476d1ce4e5b9;
  return (mixed ^ (mixed >> 29)) | (uint64_t{1} << 63);
}

}  // namespace

Catalog::Catalog(ConfinedFileSystem& files, std::string only_name, Log& log,
                 RawNames raw_names)
    : files_(files),
      only_name_(std::move(only_name)),
      log_(log),
      tree_(files.root_descriptor(0), only_name_),
      inspector_(files),
      index_(
          tree_, files, inspector_,
          [this](const FileId& file) { return FactsInUse(file); },
          std::move(raw_names), log) {
  auto root = std::make_unique<Node>();
  root->id = kRootNode;
  root->is_directory = true;
  root->links = 2;
  const auto stat = tree_.Stat("");
  if (stat.ok()) root->stat = *stat;
  source_device_ = root->stat.id.device;
  directories_[""] = kRootNode;
  nodes_[kRootNode] = std::move(root);
}

void Catalog::ExcludeDevice(uint64_t device) {
  tree_.ExcludeDevice(device);
  files_.ExcludeDevice(device);
}

std::string Catalog::AbsolutePath(const std::string& path) const {
  return absl::StrCat(files_.root_path(0), "/", path);
}

// ---- Changes on the host

void Catalog::StartWatching(std::function<void(const Change&)> changed) {
  watch_.Start(
      [this, changed = std::move(changed)](const SourceWatch::Change& seen) {
        for (const Change& change : ChangesOf(seen)) changed(change);
      });
  tree_.SetWillRead([this](const std::string& path, int descriptor) {
    watch_.Add(path, descriptor);
  });
}

// The name may be that of an image or of a folder.
std::vector<Catalog::Change> Catalog::ChangesOf(
    const SourceWatch::Change& change) {
  std::vector<Change> changes;
  MutexLock lock(mutex_);
  const auto folder = directories_.find(change.folder);
  if (folder == directories_.end()) return changes;
  const Node& parent = *nodes_[folder->second];
  for (const std::string& name :
       {absl::StrCat(change.name, kSuffix), change.name}) {
    const auto child = parent.children.find(name);
    changes.push_back({parent.id, name,
                       child != parent.children.end() ? child->second : 0,
                       change.of_names});
  }
  return changes;
}

// ---- A walk, and what it changes

absl::Status Catalog::Refresh(NodeId directory, SourceIndex::Depth depth) {
  MutexLock one_walk(scan_mutex_);
  std::string path;
  {
    MutexLock lock(mutex_);
    const auto it = nodes_.find(directory);
    if (it == nodes_.end()) return ErrnoError(ESTALE, "unknown node");
    path = it->second->path;
  }
  const auto is_new = index_.Refresh(
      path, depth,
      [this](const std::string& folder) { return IsShown(folder); });
  if (!is_new.ok()) return is_new.status();
  if (!*is_new) return absl::OkStatus();
  const std::vector<FoundImage> images = index_.Views();
  MutexLock lock(mutex_);
  Apply(images);
  return absl::OkStatus();
}

bool Catalog::IsShown(const std::string& path) {
  MutexLock lock(mutex_);
  const auto it = directories_.find(path);
  return it != directories_.end() && nodes_[it->second]->present;
}

void Catalog::Apply(const std::vector<FoundImage>& images) {
  std::vector<NodeId> ids;
  for (auto& [id, node] : nodes_) {
    ids.push_back(id);
    node->present = id == kRootNode;
    node->links = node->is_directory ? 2 : 0;
    node->children.clear();
  }
  // Folders first: where an image's view and a folder want the same name, the
  // view has it, for its name depends on nothing else.
  for (const FoundImage& image : images) {
    ShowDirectory(DirectoryOf(image.path));
  }
  for (const FoundImage& image : images) ShowImage(image);
  for (const NodeId id : ids) EraseIfUnused(id);
}

void Catalog::ShowDirectory(const std::string& path) {
  // From the folder up to the first that is shown already.
  std::string at = path;
  NodeId below = 0;
  while (true) {
    const auto known = directories_.find(at);
    Node& node = known != directories_.end() ? *nodes_[known->second]
                                             : NewNode(/*is_directory=*/true);
    const bool was_shown = known != directories_.end() && node.present;
    if (known == directories_.end()) directories_[at] = node.id;
    node.present = true;
    node.path = at;
    node.view_name = at;
    if (const auto stat = index_.FolderStat(at)) node.stat = *stat;
    if (below != 0) {
      node.children[NameOf(nodes_[below]->path)] = below;
      ++node.links;
    }
    if (was_shown || node.id == kRootNode) return;
    below = node.id;
    at = DirectoryOf(at);
  }
}

void Catalog::ShowImage(const FoundImage& image) {
  const std::string name = absl::StrCat(NameOf(image.path), kSuffix);
  if (name.size() > kMaxName) {
    const std::string line =
        absl::StrCat(AbsolutePath(image.path), ": not shown: ", name.size(),
                     " bytes are too long for the name of a view (at most ",
                     kMaxName, "): rename the image");
    log_.WriteLimited(Severity::kWarning, line, line);
    return;
  }
  const auto known = views_.find(image.look.stat.id);
  Node& node = known != views_.end() ? *nodes_[known->second]
                                     : NewNode(/*is_directory=*/false);
  views_[image.look.stat.id] = node.id;
  const std::string directory = DirectoryOf(image.path);
  // Of several names the first in the alphabet, so that scans agree.
  if (!node.present || node.path.empty() || image.path < node.path) {
    node.path = image.path;
    node.view_name = Join(directory, name);
  }
  node.present = true;
  ++node.links;
  node.stat = image.look.stat;
  node.look = image.look;
  node.below_allocated = image.below_allocated;
  node.below_error = image.below_error;
  NodeId& child = nodes_[directories_[directory]]->children[name];
  if (child != 0 && child != node.id) {
    const std::string line = absl::StrCat(
        AbsolutePath(Join(directory, name)),
        ": this folder is not shown: the image ", NameOf(image.path),
        " beside it has the view of that name");
    log_.WriteLimited(Severity::kWarning, line, line);
    nodes_[child]->present = false;
  }
  child = node.id;
}

Catalog::Node& Catalog::NewNode(bool is_directory) {
  auto node = std::make_unique<Node>();
  node->id = next_id_++;
  node->is_directory = is_directory;
  node->links = is_directory ? 2 : 0;
  Node& made = *node;
  nodes_[made.id] = std::move(node);
  return made;
}

void Catalog::EraseIfUnused(NodeId id) {
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  const Node& node = *it->second;
  if (node.present || node.lookups > 0 || node.users > 0) return;
  if (node.is_directory) {
    const auto directory = directories_.find(node.path);
    if (directory != directories_.end() && directory->second == id) {
      directories_.erase(directory);
    }
  } else {
    const auto view = views_.find(node.stat.id);
    if (view != views_.end() && view->second == id) views_.erase(view);
  }
  nodes_.erase(it);
}

// ---- Single names

Catalog::Reference Catalog::ReferenceTo(const Node& node) const {
  Reference reference;
  reference.id = node.id;
  reference.is_directory = node.is_directory;
  reference.path = node.path;
  reference.view_name = node.view_name;
  reference.file = node.stat.id;
  if (node.users > 0) reference.facts_in_use = node.look.facts;
  reference.is_raw =
      node.look.facts != nullptr && node.look.facts->format == "raw";
  return reference;
}

absl::StatusOr<Catalog::Reference> Catalog::FindChild(NodeId parent,
                                                      const std::string& name) {
  MutexLock lock(mutex_);
  const auto it = nodes_.find(parent);
  if (it == nodes_.end()) return ErrnoError(ESTALE, name);
  const Node& directory = *it->second;
  if (!directory.is_directory) return ErrnoError(ENOTDIR, name);
  const auto child = directory.children.find(name);
  if (child == directory.children.end()) return ErrnoError(ENOENT, name);
  const Node& node = *nodes_[child->second];
  Reference reference = ReferenceTo(node);
  reference.path =
      Join(directory.path, node.is_directory ? name : ImageName(name));
  reference.view_name = Join(directory.path, name);
  return reference;
}

bool Catalog::IsInSource(NodeId parent, const std::string& name) {
  std::string directory;
  {
    MutexLock lock(mutex_);
    const auto it = nodes_.find(parent);
    if (it == nodes_.end()) return false;
    directory = it->second->path;
  }
  if (IsViewName(name)) {
    const std::string image = ImageName(name);
    if (only_name_.empty() || image == only_name_) {
      const auto stat = tree_.Stat(Join(directory, image));
      if (stat.ok() && (S_ISREG(stat->mode) || S_ISLNK(stat->mode))) {
        return true;
      }
    }
  }
  if (!only_name_.empty()) return false;
  const auto stat = tree_.Stat(Join(directory, name));
  return stat.ok() && S_ISDIR(stat->mode);
}

absl::StatusOr<Look> Catalog::LookAt(const Reference& reference) {
  auto stat = tree_.Stat(reference.path);
  const bool through_link = stat.ok() && S_ISLNK(stat->mode);
  if (through_link) {
    stat = files_.Stat(AbsolutePath(reference.path));
  }
  if (!stat.ok()) return stat.status();
  if (reference.is_directory) {
    if (!S_ISDIR(stat->mode)) return ErrnoError(ESTALE, reference.path);
    return Look{*stat, std::nullopt, nullptr};
  }
  if (stat->id != reference.file) return ErrnoError(ESTALE, reference.path);
  Look look{*stat, std::nullopt, reference.facts_in_use};
  if (look.facts == nullptr && reference.is_raw) {
    look = LookAtRaw(*stat);
  } else if (look.facts == nullptr) {
    auto inspected = inspector_.Inspect(AbsolutePath(reference.path), *stat);
    if (!inspected.ok()) return inspected.status();
    if (inspected->facts == nullptr) return ErrnoError(ESTALE, reference.path);
    look = *std::move(inspected);
  } else if (look.facts->data_file.has_value()) {
    const auto data = files_.Stat(look.facts->data_file->path);
    if (data.ok()) look.data_stat = *data;
  }
  look.through_link = through_link;
  return look;
}

absl::StatusOr<NodeInfo> Catalog::Verify(const Reference& reference,
                                         uint64_t lookups) {
  const auto look = LookAt(reference);
  if (!look.ok()) return ErrnoError(ESTALE, look.status().message());
  MutexLock lock(mutex_);
  const auto it = nodes_.find(reference.id);
  if (it == nodes_.end()) return ErrnoError(ESTALE, reference.path);
  Node& node = *it->second;
  node.lookups += lookups;
  node.stat = look->stat;
  node.path = reference.path;
  node.view_name = reference.view_name;
  if (!node.is_directory) node.look = *look;
  return Describe(node);
}

absl::StatusOr<NodeInfo> Catalog::Lookup(NodeId parent,
                                         const std::string& name) {
  using Depth = SourceIndex::Depth;
  const auto look_up = [&]() -> absl::StatusOr<NodeInfo> {
    const auto child = FindChild(parent, name);
    if (!child.ok()) return child.status();
    return Verify(*child, 1);
  };
  auto info = look_up();
  const int error = ErrnoOf(info.status());
  if (error != ENOENT && error != ESTALE) return info;
  if (error == ENOENT && !IsInSource(parent, name)) return info;
  // A name that is new is seen without looking at all that are not.
  for (const Depth depth : {Depth::kNewFiles, Depth::kAllFiles}) {
    const absl::Status refreshed = Refresh(parent, depth);
    if (!refreshed.ok()) return refreshed;
    info = look_up();
    if (info.ok()) return info;
  }
  return ErrnoError(ENOENT, name);
}

void Catalog::Forget(NodeId id, uint64_t lookups) {
  MutexLock lock(mutex_);
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return;
  it->second->lookups -= std::min(it->second->lookups, lookups);
  EraseIfUnused(id);
}

absl::StatusOr<NodeInfo> Catalog::Get(NodeId id) {
  Reference reference;
  {
    MutexLock lock(mutex_);
    const auto it = nodes_.find(id);
    if (it == nodes_.end()) return ErrnoError(ESTALE, "unknown node");
    reference = ReferenceTo(*it->second);
  }
  auto info = Verify(reference, 0);
  if (info.ok()) return info;
  MutexLock lock(mutex_);
  const auto it = nodes_.find(id);
  if (it == nodes_.end()) return ErrnoError(ESTALE, "unknown node");
  NodeInfo last = Describe(*it->second);
  if (id != kRootNode) last.links = 0;
  return last;
}

absl::StatusOr<std::vector<DirectoryEntry>> Catalog::List(NodeId directory) {
  const absl::Status refreshed =
      Refresh(directory, SourceIndex::Depth::kAllFiles);
  if (!refreshed.ok()) return refreshed;
  MutexLock lock(mutex_);
  const auto it = nodes_.find(directory);
  if (it == nodes_.end()) return ErrnoError(ESTALE, "unknown node");
  if (!it->second->is_directory) return ErrnoError(ENOTDIR, it->second->path);
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, id] : it->second->children) {
    const Node& node = *nodes_[id];
    entries.push_back(
        {name, InodeOf(node.stat.id, source_device_), node.is_directory});
  }
  return entries;
}

std::vector<std::string> Catalog::BackingPaths(const ImageFacts& facts) {
  std::vector<std::string> paths;
  std::shared_ptr<const ImageFacts> below;
  const ImageFacts* at = &facts;
  while (at->backing.has_value() && !at->all_allocated &&
         paths.size() < kMaxBackingPaths) {
    paths.push_back(at->backing->path);
    if (at->backing->format == "raw") break;
    const auto stat = files_.Stat(paths.back());
    if (!stat.ok()) break;
    const auto look = inspector_.Inspect(paths.back(), *stat);
    if (!look.ok() || look->facts == nullptr) break;
    below = look->facts;
    at = below.get();
  }
  return paths;
}

void Catalog::AddUser(NodeId view) {
  MutexLock lock(mutex_);
  const auto it = nodes_.find(view);
  if (it != nodes_.end()) ++it->second->users;
}

void Catalog::RemoveUser(NodeId view) {
  MutexLock lock(mutex_);
  const auto it = nodes_.find(view);
  if (it == nodes_.end()) return;
  --it->second->users;
  EraseIfUnused(view);
}

bool Catalog::IsGone(NodeId view) {
  MutexLock lock(mutex_);
  const auto it = nodes_.find(view);
  return it == nodes_.end() ||
         (!it->second->present && it->second->lookups == 0);
}

std::shared_ptr<const ImageFacts> Catalog::FactsInUse(const FileId& file) {
  MutexLock lock(mutex_);
  const auto it = views_.find(file);
  if (it == views_.end()) return nullptr;
  const Node& node = *nodes_[it->second];
  return node.users > 0 ? node.look.facts : nullptr;
}

NodeInfo Catalog::Describe(const Node& node) const {
  NodeInfo info;
  info.id = node.id;
  info.is_directory = node.is_directory;
  info.inode = InodeOf(node.stat.id, source_device_);
  info.path = node.path;
  info.view_name = node.view_name;
  info.stat = node.stat;
  info.links = node.links;
  info.watched =
      !node.look.through_link && watch_.Watches(DirectoryOf(node.path));
  info.mtime_ns = node.stat.mtime_ns;
  if (node.is_directory) return info;
  const ImageFacts& facts = *node.look.facts;
  info.error = facts.error != 0 ? facts.error : node.below_error;
  info.facts = node.look.facts;
  info.virtual_size = info.error == 0 ? facts.virtual_size : 0;
  info.allocated_bytes = node.stat.allocated_bytes + node.below_allocated;
  if (node.look.data_stat.has_value()) {
    info.allocated_bytes += node.look.data_stat->allocated_bytes;
    info.mtime_ns = std::max(info.mtime_ns, node.look.data_stat->mtime_ns);
  }
  return info;
}

}  // namespace flatcow::daemon
