// SPDX-License-Identifier: Apache-2.0
#include "control_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "filesystem_of.h"
#include "readings.h"

namespace flatcow::daemon::control {
namespace {

ControlText* TextOf(const fuse_file_info* fi) {
  return reinterpret_cast<ControlText*>(fi->fh);
}

struct stat StatOf(NodeId node) {
  struct stat stat = {};
  stat.st_ino = node;
  const bool is_folder = node == kControlFolder;
  stat.st_mode = is_folder ? S_IFDIR | 0555 : S_IFREG | 0444;
  stat.st_nlink = is_folder ? 2 : 1;
  stat.st_uid = geteuid();
  stat.st_gid = getegid();
  stat.st_blksize = 4096;
  clock_gettime(CLOCK_REALTIME_COARSE, &stat.st_mtim);
  stat.st_atim = stat.st_mtim;
  stat.st_ctim = stat.st_mtim;
  return stat;
}

}  // namespace

void ReplyEntry(fuse_req_t request, NodeId node) {
  fuse_entry_param entry = {};
  entry.ino = node;
  entry.attr = StatOf(node);
  fuse_reply_entry(request, &entry);
}

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (parent != kControlFolder) return void(fuse_reply_err(request, ENOTDIR));
  for (const ControlFile& file : kControlFiles) {
    if (std::string(file.name) == name) return ReplyEntry(request, file.node);
  }
  fuse_reply_err(request, ENOENT);
}

void GetAttr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  const struct stat stat = StatOf(node);
  fuse_reply_attr(request, &stat, 0);
}

void GetXattr(fuse_req_t request, fuse_ino_t, const char*, size_t) {
  fuse_reply_err(request, ENODATA);
}

void ListXattr(fuse_req_t request, fuse_ino_t, size_t size) {
  if (size == 0) return void(fuse_reply_xattr(request, 0));
  fuse_reply_buf(request, nullptr, 0);
}

void Open(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi) {
  if ((fi->flags & O_ACCMODE) != O_RDONLY) {
    return void(fuse_reply_err(request, EPERM));
  }
  Filesystem& filesystem = FilesystemOf(request);
  const Readings readings = filesystem.TakeReadings();
  ControlText* const text = filesystem.control_texts().Keep(
      std::make_unique<ControlText>(std::make_shared<const std::string>(
          node == kMetricsFile ? MetricsPage(readings)
                               : StatusPage(readings))));
  fi->fh = reinterpret_cast<uint64_t>(text);
  fi->direct_io = true;  // for its size is not known in advance
  if (fuse_reply_open(request, fi) == -ENOENT) {
    filesystem.control_texts().Drop(text);
  }
}

void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset,
          fuse_file_info* fi) {
  const ControlText text = *TextOf(fi);
  const size_t begin = static_cast<size_t>(
      std::min<uint64_t>(static_cast<uint64_t>(offset), text->size()));
  fuse_reply_buf(request, text->data() + begin,
                 std::min(size, text->size() - begin));
}

void Release(fuse_req_t request, fuse_ino_t, fuse_file_info* fi) {
  FilesystemOf(request).control_texts().Drop(TextOf(fi));
  fuse_reply_err(request, 0);
}

void Fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
  fuse_reply_err(request, 0);
}

// Not ENOSYS, after which the kernel would not ask for views either.
void Seek(fuse_req_t request, fuse_ino_t, off_t, int, fuse_file_info*) {
  fuse_reply_err(request, EINVAL);
}

void OpenDir(fuse_req_t request, fuse_ino_t, fuse_file_info* fi) {
  fuse_reply_open(request, fi);
}

void ReadDir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset,
             fuse_file_info*) {
  std::vector<std::pair<const char*, NodeId>> entries = {{".", node},
                                                         {"..", kRootNode}};
  for (const ControlFile& file : kControlFiles) {
    entries.emplace_back(file.name, file.node);
  }
  std::vector<char> reply(size);
  size_t used = 0;
  for (auto at = static_cast<size_t>(offset); at < entries.size(); ++at) {
    const struct stat stat = StatOf(entries[at].second);
    const size_t needed =
        fuse_add_direntry(request, reply.data() + used, size - used,
                          entries[at].first, &stat, static_cast<off_t>(at + 1));
    if (needed > size - used) break;
    used += needed;
  }
  fuse_reply_buf(request, reply.data(), used);
}

void ReleaseDir(fuse_req_t request, fuse_ino_t, fuse_file_info*) {
  fuse_reply_err(request, 0);
}

}  // namespace flatcow::daemon::control
