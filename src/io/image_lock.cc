// SPDX-License-Identifier: Apache-2.0
#include "io/image_lock.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flatcow/status.h"
#include "io/posix_file.h"

namespace flatcow {
namespace {

using LockOffset = uint64_t;

constexpr LockOffset kUsesRead = 100;
constexpr LockOffset kUsesWrite = 101;
constexpr LockOffset kUsesResize = 103;
constexpr LockOffset kKeepsRead = 200;
constexpr LockOffset kKeepsWrite = 201;
constexpr LockOffset kKeepsResize = 203;

struct LockRow {
  absl::Span<const LockOffset> takes;
  // In the order that gives the most telling message.
  absl::Span<const LockOffset> tests;
};

constexpr std::array kWriterTakes = {kUsesRead, kUsesWrite, kUsesResize,
                                     kKeepsWrite, kKeepsResize};
constexpr std::array kWriterTests = {kUsesWrite, kUsesResize, kKeepsWrite,
                                     kKeepsResize, kKeepsRead};
constexpr std::array kReaderTakes = {kUsesRead, kKeepsWrite, kKeepsResize};
constexpr std::array kReaderTests = {kUsesWrite, kUsesResize, kKeepsRead};
constexpr std::array kSharedTakes = {kUsesRead};
constexpr std::array kBackingTests = {kUsesWrite, kUsesResize};

LockRow RowOf(LockRole role) {
  switch (role) {
    case LockRole::kNone:
      return {};
    case LockRole::kImageReadOnly:
      return {kReaderTakes, kReaderTests};
    case LockRole::kImageReadWrite:
      return {kWriterTakes, kWriterTests};
    case LockRole::kShared:
      return {kSharedTakes, {}};
    case LockRole::kBacking:
      return {kReaderTakes, kBackingTests};
  }
  return {};
}

absl::string_view Conflict(LockOffset byte) {
  switch (byte) {
    case kUsesWrite:
      return "another process writes to it";
    case kUsesResize:
      return "another process may resize it";
    case kKeepsRead:
      return "another process does not let others read it";
    case kKeepsWrite:
      return "another process has it open and does not let others write";
    case kKeepsResize:
      return "another process has it open and does not let others resize it";
    default:
      return "another process holds a write lock on it";
  }
}

// One `lock:` line of a fdinfo file, as far as it matters here.
struct LockLine {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t first = 0;
  uint64_t last = 0;
};

// "lock:  1: OFDLCK ADVISORY  READ -1 fe:01:1234 100 101"
std::optional<LockLine> ParseLockLine(const std::string& line) {
  unsigned major_number = 0;
  unsigned minor_number = 0;
  unsigned long long inode = 0;
  unsigned long long first = 0;
  char last[24] = "";
  if (std::sscanf(line.c_str(),
                  "lock: %*d: OFDLCK %*s %*s %*d %x:%x:%llu %llu %23s",
                  &major_number, &minor_number, &inode, &first, last) != 5) {
    return std::nullopt;
  }
  LockLine result{makedev(major_number, minor_number), inode, first,
                  UINT64_MAX};
  if (absl::string_view(last) != "EOF" &&
      !absl::SimpleAtoi(last, &result.last)) {
    return std::nullopt;
  }
  return result;
}

// The numeric names in a directory of /proc; empty when it cannot be read.
std::vector<int> Numbers(const std::string& directory) {
  std::vector<int> result;
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()),
                                                   closedir);
  if (stream == nullptr) return result;
  while (const dirent* entry = readdir(stream.get())) {
    int number = 0;
    if (absl::SimpleAtoi(entry->d_name, &number)) result.push_back(number);
  }
  std::sort(result.begin(), result.end());
  return result;
}

// Some file systems (btrfs, overlayfs) show locks under another device number
// than stat(2) does, so the descriptor itself is asked too. Only from what is
// cached: it may lie on flatcow's own mount.
bool IsOpenOn(const std::string& descriptor, FileId id) {
  struct statx attributes;
  if (statx(AT_FDCWD, descriptor.c_str(), AT_STATX_DONT_SYNC, STATX_INO,
            &attributes) != 0) {
    return false;
  }
  return FileId{makedev(attributes.stx_dev_major, attributes.stx_dev_minor),
                attributes.stx_ino} == id;
}

bool Holds(const std::string& process, int fd, FileId id,
           std::optional<LockOffset> byte) {
  std::ifstream info(absl::StrCat(process, "/fdinfo/", fd));
  for (std::string line; std::getline(info, line);) {
    const std::optional<LockLine> lock = ParseLockLine(line);
    if (!lock.has_value() || lock->inode != id.inode) continue;
    if (byte.has_value() && (*byte < lock->first || *byte > lock->last)) {
      continue;
    }
    if (lock->device == id.device ||
        IsOpenOn(absl::StrCat(process, "/fd/", fd), id)) {
      return true;
    }
  }
  return false;
}

// With `byte`, only those that hold this byte.
std::string Holders(FileId id, const File* self,
                    std::optional<LockOffset> byte) {
  const auto* own_file = dynamic_cast<const PosixFile*>(self);
  std::vector<std::string> holders;
  for (const int pid : Numbers("/proc")) {
    const std::string process = absl::StrCat("/proc/", pid);
    const int own_fd =
        own_file != nullptr && pid == getpid() ? own_file->Descriptor() : -1;
    const std::vector<int> descriptors = Numbers(process + "/fdinfo");
    if (std::any_of(descriptors.begin(), descriptors.end(), [&](int fd) {
          return fd != own_fd && Holds(process, fd, id, byte);
        })) {
      std::string name;
      std::ifstream comm(process + "/comm");
      std::getline(comm, name);
      holders.push_back(absl::StrCat(name, " (pid ", pid, ")"));
    }
  }
  return absl::StrJoin(holders, ", ");
}

absl::Status Refusal(const File& file, LockOffset byte) {
  std::string holders;
  if (const absl::StatusOr<FileStat> stat = file.Stat(); stat.ok()) {
    holders = Holders(stat->id, &file, byte);
  }
  return MakeError(
      EBUSY, absl::StrCat(file.path(), ": locked: ", Conflict(byte), " (",
                          holders.empty() ? "holder not visible" : holders,
                          "); close it there first"));
}

// `status` of a system call on a lock byte, in words that help.
absl::Status Explain(const File& file, LockOffset byte,
                     const absl::Status& status) {
  switch (ErrnoOf(status)) {
    case EAGAIN:
    case EACCES:
      // Nobody who keeps to the protocol takes a write lock.
      return Refusal(file, byte);
    case ENOLCK:
    case EOPNOTSUPP:
    case EINVAL:
    case ENOSYS:
      return MakeError(ENOLCK,
                       absl::StrCat(file.path(),
                                    ": the file system refuses locks; lock=off "
                                    "opens without them (",
                                    status.message(), ")"));
    default:
      return status;
  }
}

// What stood in the way of a role.
struct Obstacle {
  LockOffset byte;
  absl::Status status;  // OK: somebody holds the byte
};

std::optional<Obstacle> TakeBytes(File& file,
                                  absl::Span<const LockOffset> bytes,
                                  std::vector<LockOffset>& taken) {
  for (const LockOffset byte : bytes) {
    absl::Status status = file.LockByte(byte);
    if (!status.ok()) return Obstacle{byte, std::move(status)};
    taken.push_back(byte);
  }
  return std::nullopt;
}

std::optional<Obstacle> TestBytes(const File& file,
                                  absl::Span<const LockOffset> bytes) {
  for (const LockOffset byte : bytes) {
    const absl::StatusOr<bool> locked = file.IsByteLocked(byte);
    if (!locked.ok()) return Obstacle{byte, locked.status()};
    if (*locked) return Obstacle{byte, absl::OkStatus()};
  }
  return std::nullopt;
}

std::vector<LockOffset> Without(absl::Span<const LockOffset> bytes,
                                absl::Span<const LockOffset> excluded) {
  std::vector<LockOffset> result;
  std::copy_if(bytes.begin(), bytes.end(), std::back_inserter(result),
               [&](LockOffset byte) {
                 return std::find(excluded.begin(), excluded.end(), byte) ==
                        excluded.end();
               });
  return result;
}

// A byte that stays locked refuses others for longer than needed, no worse.
void Unlock(File& file, absl::Span<const LockOffset> bytes) {
  for (const LockOffset byte : bytes) file.UnlockByte(byte).IgnoreError();
}

}  // namespace

ImageLock::~ImageLock() { Unlock(file_, RowOf(role_).takes); }

absl::Status ImageLock::Take(LockRole role) {
  const LockRow wanted = RowOf(role);
  const LockRow held = RowOf(role_);
  std::vector<LockOffset> taken;
  std::optional<Obstacle> obstacle =
      TakeBytes(file_, Without(wanted.takes, held.takes), taken);
  if (!obstacle.has_value()) obstacle = TestBytes(file_, wanted.tests);
  if (obstacle.has_value()) {
    // Before the search for the holder: it takes a while, and somebody else
    // would find our bytes.
    Unlock(file_, taken);
    return obstacle->status.ok()
               ? Refusal(file_, obstacle->byte)
               : Explain(file_, obstacle->byte, obstacle->status);
  }
  Unlock(file_, Without(held.takes, wanted.takes));
  role_ = role;
  return absl::OkStatus();
}

std::string LockHolders(FileId id, const File* self) {
  return Holders(id, self, std::nullopt);
}

}  // namespace flatcow
