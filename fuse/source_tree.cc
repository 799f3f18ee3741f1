// SPDX-License-Identifier: Apache-2.0
#include "source_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include <cerrno>
#include <climits>
#include <memory>
#include <utility>

#include "absl/strings/string_view.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using UniqueDirectory = std::unique_ptr<DIR, CloseDirectory>;

// Does the file system keep attributes that only a question to a server can
// renew? For it, AT_STATX_DONT_SYNC may answer with the past.
bool IsRemote(int descriptor) {
  struct statfs info;
  if (fstatfs(descriptor, &info) != 0) return true;
  switch (static_cast<uint32_t>(info.f_type)) {
    case 0x00006969:  // NFS
    case 0x0000517b:  // SMB
    case 0xff534d42:  // CIFS
    case 0xfe534d42:  // SMB2
    case 0x01021997:  // 9P
    case 0x00c36400:  // Ceph
    case 0x5346414f:  // AFS
    case 0x01161970:  // GFS2
    case 0x7461636f:  // OCFS2
    case 0x65735546:  // FUSE
      return true;
    default:
      return false;
  }
}

int64_t Nanoseconds(const statx_timestamp& time) {
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

FileStat FromStatx(const struct statx& info) {
  FileStat stat;
  stat.id = {makedev(info.stx_dev_major, info.stx_dev_minor), info.stx_ino};
  stat.mode = info.stx_mode;
  stat.uid = info.stx_uid;
  stat.gid = info.stx_gid;
  stat.size = info.stx_size;
  stat.allocated_bytes = info.stx_blocks * uint64_t{512};
  stat.mtime_ns = Nanoseconds(info.stx_mtime);
  stat.ctime_ns = Nanoseconds(info.stx_ctime);
  return stat;
}

std::string Join(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

constexpr int kEnter = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

}  // namespace

SourceTree::SourceTree(int root, std::string only_name)
    : root_(root), only_name_(std::move(only_name)), remote_(IsRemote(root)) {}

// An empty `name` is the directory itself.
absl::StatusOr<FileStat> SourceTree::StatAt(int directory, const char* name,
                                            const std::string& path) const {
  constexpr int kFlags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH;
  struct statx info;
  if (statx(directory, name, kFlags | AT_STATX_DONT_SYNC, STATX_BASIC_STATS,
            &info) != 0) {
    return ErrnoError(errno, path);
  }
  const uint64_t device = makedev(info.stx_dev_major, info.stx_dev_minor);
  const uint64_t excluded = excluded_device_.load();
  if (excluded != 0 && device == excluded) return ErrnoError(ELOOP, path);
  if (remote_ &&
      statx(directory, name, kFlags, STATX_BASIC_STATS, &info) != 0) {
    return ErrnoError(errno, path);
  }
  return FromStatx(info);
}

absl::StatusOr<int> SourceTree::EnterParent(const std::string& path,
                                            UniqueFd& owner,
                                            std::string& name) const {
  int directory = root_;
  absl::string_view rest = path;
  while (true) {
    const size_t slash = rest.find('/');
    name = std::string(rest.substr(0, slash));
    if (slash == absl::string_view::npos) return directory;
    UniqueFd next(openat(directory, name.c_str(), kEnter));
    if (!next.ok()) return ErrnoError(errno, path);
    const auto stat = StatAt(next.get(), "", path);
    if (!stat.ok()) return stat.status();
    owner = std::move(next);
    directory = owner.get();
    rest.remove_prefix(slash + 1);
  }
}

absl::StatusOr<FileStat> SourceTree::Stat(const std::string& path) const {
  UniqueFd owner;
  std::string name;
  const auto parent = EnterParent(path, owner, name);
  if (!parent.ok()) return parent.status();
  return StatAt(*parent, name.c_str(), path);
}

// A walk in depth: the stack holds the directories from the first to where it
// is, each with the sub-directories still to be entered.
class SourceTree::Walk {
 public:
  Walk(const SourceTree& tree, const Known& known, const IsSame& is_same)
      : tree_(tree), known_(known), is_same_(is_same) {}

  absl::StatusOr<Listing> Run(const std::string& first) {
    UniqueFd owner;
    std::string first_name;
    const auto parent = tree_.EnterParent(first, owner, first_name);
    if (!parent.ok()) return parent.status();
    const absl::Status entered =
        Enter(*parent, first_name.empty() ? "." : first_name, first);
    if (!entered.ok()) return entered;
    while (!stack_.empty()) {
      Level& level = stack_.back();
      if (level.children.empty()) {
        stack_.pop_back();
        continue;
      }
      const std::string name = std::move(level.children.back());
      level.children.pop_back();
      const std::string path = Join(level.path, name);
      const absl::Status status = Enter(level.place.get(), name, path);
      if (!status.ok()) Note(status);
    }
    return std::move(listing_);
  }

 private:
  struct Level {
    UniqueFd place;
    std::string path;
    std::vector<std::string> children;
  };

  void Note(const absl::Status& status) {
    // What vanished meanwhile is simply not there; our own mount is no news.
    if (ErrnoOf(status) == ENOENT || ErrnoOf(status) == ELOOP) return;
    listing_.problems.push_back(status);
  }

  absl::Status Enter(int parent, const std::string& name,
                     const std::string& path) {
    if (path.size() >= PATH_MAX) return ErrnoError(ENAMETOOLONG, path);
    UniqueFd place(openat(parent, name.c_str(), kEnter));
    if (!place.ok()) return ErrnoError(errno, path);
    const auto stat = tree_.StatAt(place.get(), "", path);
    if (!stat.ok()) return stat.status();
    std::optional<std::vector<std::string>> children;
    if (!stack_.empty()) children = known_({path, *stat});
    Level level{std::move(place), path, {}};
    absl::Status status;
    if (children.has_value()) {
      level.children = *std::move(children);
      listing_.unread.push_back(path);
    } else {
      status = ReadNames(level);
      listing_.directories.push_back({path, *stat});
    }
    stack_.push_back(std::move(level));
    return status;
  }

  absl::Status ReadNames(Level& level) {
    UniqueFd opened(
        openat(level.place.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!opened.ok()) return ErrnoError(errno, level.path);
    if (tree_.will_read_ != nullptr) tree_.will_read_(level.path, opened.get());
    const UniqueDirectory directory(fdopendir(opened.get()));
    if (directory == nullptr) return ErrnoError(errno, level.path);
    opened.Release();
    while (true) {
      errno = 0;
      const dirent* const entry = readdir(directory.get());
      if (entry == nullptr) {
        return errno == 0 ? absl::OkStatus() : ErrnoError(errno, level.path);
      }
      const absl::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (!tree_.only_name_.empty() && name != tree_.only_name_) continue;
      switch (entry->d_type) {
        case DT_DIR:
          level.children.emplace_back(name);
          break;
        case DT_REG:
        case DT_LNK:
        case DT_UNKNOWN:
          AddName(level, *entry);
          break;
        default:
          break;
      }
    }
  }

  void AddName(Level& level, const dirent& entry) {
    std::string path = Join(level.path, entry.d_name);
    if (is_same_ != nullptr && is_same_(path, entry.d_ino)) {
      listing_.same.push_back(std::move(path));
      return;
    }
    const auto stat = tree_.StatAt(level.place.get(), entry.d_name, path);
    if (!stat.ok()) {
      Note(stat.status());
    } else if (S_ISDIR(stat->mode)) {
      level.children.emplace_back(entry.d_name);
    } else if (S_ISREG(stat->mode) || S_ISLNK(stat->mode)) {
      listing_.files.push_back({std::move(path), *stat});
    }
  }

  const SourceTree& tree_;
  const Known& known_;
  const IsSame& is_same_;
  Listing listing_;
  std::vector<Level> stack_;
};

absl::StatusOr<SourceTree::Listing> SourceTree::List(
    const std::string& path, const Known& known, const IsSame& is_same) const {
  return Walk(*this, known, is_same).Run(path);
}

}  // namespace flatcow::daemon
