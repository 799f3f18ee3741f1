// SPDX-License-Identifier: Apache-2.0
//
// Left out on purpose, so that libfuse answers ENOSYS and the kernel stops
// asking: flush (close() has nothing to wait for), fsyncdir, getlk, setlk and
// flock (the kernel keeps the locks itself, as VMs expect), setting extended
// attributes, access (default_permissions), copy_file_range (the kernel reads
// and writes instead).
#include "fuse_ops.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "control_files.h"
#include "control_ops.h"
#include "filesystem_of.h"
#include "flatcow/status.h"
#include "init_step.h"
#include "metrics.h"
#include "open_reply.h"
#include "thread_buffer.h"

namespace flatcow::daemon {
namespace {

// Of the kernel interface of Linux 6.6, the first that drops cached pages when
// a FOPEN_DIRECT_IO file is written.
constexpr unsigned kCoherentMinor = 39;

OpenView* ViewOf(const fuse_file_info* fi) {
  return reinterpret_cast<OpenView*>(fi->fh);
}

OpenDirectory* FolderOf(const fuse_file_info* fi) {
  return reinterpret_cast<OpenDirectory*>(fi->fh);
}

void ReplyStatus(fuse_req_t request, const absl::Status& status) {
  fuse_reply_err(request, ErrnoOf(status));
}

timespec TimeOf(int64_t ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  timespec time;
  time.tv_sec = ns / kSecond - (ns % kSecond < 0);
  time.tv_nsec = ns - time.tv_sec * kSecond;
  return time;
}

struct stat StatOf(const Attributes& attributes) {
  struct stat stat = {};
  stat.st_ino = attributes.inode;
  stat.st_mode = attributes.mode;
  stat.st_nlink = attributes.links;
  stat.st_uid = attributes.uid;
  stat.st_gid = attributes.gid;
  stat.st_size = static_cast<off_t>(attributes.size);
  stat.st_blocks = static_cast<blkcnt_t>(attributes.blocks);
  stat.st_blksize = 4096;
  stat.st_mtim = TimeOf(attributes.mtime_ns);
  stat.st_atim = stat.st_mtim;
  stat.st_ctim = TimeOf(attributes.ctime_ns);
  return stat;
}

void ReplyAttributes(fuse_req_t request, fuse_ino_t node) {
  const auto attributes = FilesystemOf(request).GetAttributes(node);
  if (!attributes.ok()) return ReplyStatus(request, attributes.status());
  const struct stat stat = StatOf(*attributes);
  fuse_reply_attr(request, &stat, attributes->timeout_seconds);
}

// ---- The connection

void Init(void* userdata, fuse_conn_info* connection) {
  const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO |
                          FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS;
  const unsigned unwanted = FUSE_CAP_AUTO_INVAL_DATA |
                            FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_SPLICE_READ |
                            FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                            FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;
  connection->want |= connection->capable & wanted;
  connection->want &= ~unwanted;
  connection->max_write = kMaxRequestBytes;
  Filesystem& filesystem = *static_cast<Filesystem*>(userdata);
  filesystem.SetDirectIoCoherent(connection->proto_minor >= kCoherentMinor);
  const Agreed agreed = AskLibrary(*connection, filesystem.wants_passthrough());
  if (agreed.passthrough) filesystem.EnablePassthrough();
  if (agreed.handle_killpriv_v2) filesystem.EnableViewAttributes();
}

// ---- Names and attributes

void Lookup(fuse_req_t request, fuse_ino_t parent, const char* name) {
  if (parent == kRootNode && name == kControlFolderName) {
    return control::ReplyEntry(request, kControlFolder);
  }
  const auto attributes = FilesystemOf(request).Lookup(parent, name);
  if (!attributes.ok()) return ReplyStatus(request, attributes.status());
  fuse_entry_param entry = {};
  entry.ino = attributes->node;
  entry.attr = StatOf(*attributes);
  entry.attr_timeout = attributes->timeout_seconds;
  entry.entry_timeout = attributes->name_timeout_seconds;
  fuse_reply_entry(request, &entry);
}

void Forget(fuse_req_t request, fuse_ino_t node, uint64_t lookups) {
  FilesystemOf(request).Forget(node, lookups);
  fuse_reply_none(request);
}

void GetAttr(fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
  ReplyAttributes(request, node);
}

void SetAttr(fuse_req_t request, fuse_ino_t node, struct stat* wanted,
             int to_set, fuse_file_info*) {
  constexpr int kOwnership =
      FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID;
  constexpr int kTimes = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME |
                         FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
  if ((to_set & kOwnership) != 0) return void(fuse_reply_err(request, EPERM));
  if ((to_set & FUSE_SET_ATTR_SIZE) != 0) {
    // The times that come with a size are the kernel's, not the caller's.
    const absl::Status status = FilesystemOf(request).SetSize(
        node, static_cast<uint64_t>(wanted->st_size));
    if (!status.ok()) return ReplyStatus(request, status);
  } else if ((to_set & kTimes) != 0) {
    return void(fuse_reply_err(request, EPERM));
  }
  ReplyAttributes(request, node);
}

void StatFs(fuse_req_t request, fuse_ino_t) {
  const auto info = FilesystemOf(request).StatFileSystem();
  if (!info.ok()) return ReplyStatus(request, info.status());
  fuse_reply_statfs(request, &*info);
}

// ---- Extended attributes

// `size` 0 asks how long the text is.
void ReplyText(fuse_req_t request, absl::string_view text, size_t size) {
  if (size == 0) {
    fuse_reply_xattr(request, text.size());
  } else if (text.size() > size) {
    fuse_reply_err(request, ERANGE);
  } else {
    fuse_reply_buf(request, text.data(), text.size());
  }
}

// Where the kernel would ask for security.capability before every write, ENOSYS
// is the answer to the first question and the kernel asks no more.
void GetXattr(fuse_req_t request, fuse_ino_t node, const char* name,
              size_t size) {
  Filesystem& filesystem = FilesystemOf(request);
  if (!filesystem.has_view_attributes()) {
    return void(fuse_reply_err(request, ENOSYS));
  }
  if (!absl::StartsWith(name, kAttributePrefix)) {
    return void(fuse_reply_err(request, ENODATA));
  }
  const auto attributes = filesystem.GetViewAttributes(node, name);
  if (!attributes.ok()) return ReplyStatus(request, attributes.status());
  for (const auto& [known, value] : *attributes) {
    if (known == name) return ReplyText(request, value, size);
  }
  fuse_reply_err(request, ENODATA);
}

void ListXattr(fuse_req_t request, fuse_ino_t node, size_t size) {
  Filesystem& filesystem = FilesystemOf(request);
  if (!filesystem.has_view_attributes()) {
    return void(fuse_reply_err(request, ENOSYS));
  }
  const auto attributes = filesystem.GetViewAttributes(node);
  if (!attributes.ok()) return ReplyStatus(request, attributes.status());
  std::string names;
  for (const auto& [name, value] : *attributes) {
    names.append(name).push_back('\0');
  }
  ReplyText(request, names, size);
}

// ---- Views

void Open(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi) {
  const auto opened = FilesystemOf(request).Open(node, fi->flags);
  if (!opened.ok()) return ReplyStatus(request, opened.status());
  fi->fh = reinterpret_cast<uint64_t>(opened->view);
  fi->direct_io = opened->direct_io;
  fi->keep_cache = opened->keep_cache;
  Filesystem& filesystem = FilesystemOf(request);
  if (ReplyOpen(request, *fi, opened->backing) == -ENOENT) {
    filesystem.Release(opened->view);
  }
}

void Release(fuse_req_t request, fuse_ino_t, fuse_file_info* fi) {
  FilesystemOf(request).Release(ViewOf(fi));
  fuse_reply_err(request, 0);
}

void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset,
          fuse_file_info* fi) {
  const absl::Span<uint8_t> buffer = ThreadBuffer(size);
  const auto read = FilesystemOf(request).Read(
      ViewOf(fi), static_cast<uint64_t>(offset), buffer);
  if (!read.ok()) return ReplyStatus(request, read.status());
  fuse_reply_buf(request, reinterpret_cast<const char*>(buffer.data()), *read);
}

void Write(fuse_req_t request, fuse_ino_t, const char* data, size_t size,
           off_t offset, fuse_file_info* fi) {
  // The kernel sends no fsync behind a direct write: its flags say it.
  const bool durable = (fi->flags & (O_SYNC | O_DSYNC)) != 0;
  const auto written = FilesystemOf(request).Write(
      ViewOf(fi), static_cast<uint64_t>(offset),
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(data), size),
      durable);
  if (!written.ok()) return ReplyStatus(request, written.status());
  fuse_reply_write(request, *written);
}

void Fsync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* fi) {
  ReplyStatus(request, FilesystemOf(request).Flush(ViewOf(fi)));
}

void Fallocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset,
               off_t length, fuse_file_info* fi) {
  const Extent extent{static_cast<uint64_t>(offset),
                      static_cast<uint64_t>(length)};
  ReplyStatus(request,
              FilesystemOf(request).Fallocate(ViewOf(fi), mode, extent));
}

void Seek(fuse_req_t request, fuse_ino_t, off_t offset, int whence,
          fuse_file_info* fi) {
  if (whence != SEEK_DATA && whence != SEEK_HOLE) {
    return void(fuse_reply_err(request, EINVAL));
  }
  const auto found = FilesystemOf(request).Seek(
      ViewOf(fi), static_cast<uint64_t>(offset),
      whence == SEEK_DATA ? SeekTarget::kData : SeekTarget::kHole);
  if (!found.ok()) return ReplyStatus(request, found.status());
  fuse_reply_lseek(request, static_cast<off_t>(*found));
}

void Ioctl(fuse_req_t request, fuse_ino_t, unsigned, void*, fuse_file_info*,
           unsigned, const void*, size_t, size_t) {
  fuse_reply_err(request, ENOTTY);
}

// ---- Folders

void OpenDir(fuse_req_t request, fuse_ino_t node, fuse_file_info* fi) {
  Filesystem& filesystem = FilesystemOf(request);
  const auto folder = filesystem.OpenFolder(node);
  if (!folder.ok()) return ReplyStatus(request, folder.status());
  fi->fh = reinterpret_cast<uint64_t>(*folder);
  if (fuse_reply_open(request, fi) == -ENOENT) {
    filesystem.ReleaseFolder(*folder);
  }
}

void ReadDir(fuse_req_t request, fuse_ino_t, size_t size, off_t offset,
             fuse_file_info* fi) {
  const auto entries = FilesystemOf(request).ReadFolder(
      FolderOf(fi), static_cast<uint64_t>(offset));
  if (!entries.ok()) return ReplyStatus(request, entries.status());
  std::vector<char> reply(size);
  size_t used = 0;
  for (const DirectoryEntry& entry : *entries) {
    struct stat stat = {};
    stat.st_ino = entry.inode;
    stat.st_mode = entry.is_directory ? S_IFDIR : S_IFREG;
    const size_t needed =
        fuse_add_direntry(request, reply.data() + used, size - used,
                          entry.name.c_str(), &stat, ++offset);
    if (needed > size - used) break;
    used += needed;
  }
  fuse_reply_buf(request, reply.data(), used);
}

void ReleaseDir(fuse_req_t request, fuse_ino_t, fuse_file_info* fi) {
  FilesystemOf(request).ReleaseFolder(FolderOf(fi));
  fuse_reply_err(request, 0);
}

// ---- What a mount of views does not do

template <typename... Arguments>
void NotPermitted(fuse_req_t request, Arguments...) {
  fuse_reply_err(request, EPERM);
}

// Nothing may be thrown into libfuse; the only thing thrown here is a lack of
// memory, always before the reply.
template <typename Handler, typename... Arguments>
void Guard(Handler handler, fuse_req_t request, Arguments... arguments) {
  try {
    handler(request, arguments...);
  } catch (const std::bad_alloc&) {
    fuse_reply_err(request, ENOMEM);
  }
}

// A request for a node: counted and timed, unless it is for a control file;
// those without a handler of their own do not permit it.
template <Operation kOperation, auto kHandler, auto kForControlFile = nullptr>
struct Serve;

template <Operation kOperation, typename... Arguments,
          void (*kHandler)(fuse_req_t, fuse_ino_t, Arguments...),
          auto kForControlFile>
struct Serve<kOperation, kHandler, kForControlFile> {
  static void Call(fuse_req_t request, fuse_ino_t node,
                   Arguments... arguments) noexcept {
    if (IsControlNode(node)) {
      if constexpr (kForControlFile == nullptr) {
        NotPermitted(request);
      } else {
        Guard(kForControlFile, request, node, arguments...);
      }
      return;
    }
    const RequestTimer timer(FilesystemOf(request).metrics(), kOperation);
    Guard(kHandler, request, node, arguments...);
  }
};

fuse_lowlevel_ops MakeOperations() {
  fuse_lowlevel_ops operations = {};
  operations.init = Init;
  operations.lookup = Serve<Operation::kLookup, Lookup, control::Lookup>::Call;
  operations.forget = Forget;
  operations.getattr =
      Serve<Operation::kGetAttr, GetAttr, control::GetAttr>::Call;
  operations.setattr = Serve<Operation::kSetAttr, SetAttr>::Call;
  operations.statfs = Serve<Operation::kStatFs, StatFs, StatFs>::Call;
  operations.getxattr =
      Serve<Operation::kGetXattr, GetXattr, control::GetXattr>::Call;
  operations.listxattr =
      Serve<Operation::kListXattr, ListXattr, control::ListXattr>::Call;
  operations.open = Serve<Operation::kOpen, Open, control::Open>::Call;
  operations.release =
      Serve<Operation::kRelease, Release, control::Release>::Call;
  operations.read = Serve<Operation::kRead, Read, control::Read>::Call;
  operations.write = Serve<Operation::kWrite, Write>::Call;
  operations.fsync = Serve<Operation::kFsync, Fsync, control::Fsync>::Call;
  operations.fallocate = Serve<Operation::kFallocate, Fallocate>::Call;
  operations.lseek = Serve<Operation::kSeek, Seek, control::Seek>::Call;
  operations.ioctl = Serve<Operation::kIoctl, Ioctl, Ioctl>::Call;
  operations.opendir =
      Serve<Operation::kOpenDir, OpenDir, control::OpenDir>::Call;
  operations.readdir =
      Serve<Operation::kReadDir, ReadDir, control::ReadDir>::Call;
  operations.releasedir =
      Serve<Operation::kReleaseDir, ReleaseDir, control::ReleaseDir>::Call;
  operations.create = NotPermitted;
  operations.mknod = NotPermitted;
  operations.mkdir = NotPermitted;
  operations.unlink = NotPermitted;
  operations.rmdir = NotPermitted;
  operations.rename = NotPermitted;
  operations.symlink = NotPermitted;
  operations.link = NotPermitted;
  return operations;
}

}  // namespace

const fuse_lowlevel_ops& FuseOperations() {
  static const fuse_lowlevel_ops operations = MakeOperations();
  return operations;
}

}  // namespace flatcow::daemon
