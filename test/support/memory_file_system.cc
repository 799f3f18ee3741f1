// SPDX-License-Identifier: Apache-2.0
#include "support/memory_file_system.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

constexpr uint64_t kPageBytes = MemoryFileSystem::kPageBytes;
constexpr uint64_t kMaxSize = std::numeric_limits<int64_t>::max();
constexpr int kMaxLinks = 40;

using Page = std::array<uint8_t, kPageBytes>;

// A page that snapshots may share: copied before the first write.
class SharedPage {
 public:
  const uint8_t* data() const { return page_->data(); }

  uint8_t* Modify() {
    if (shared_) page_ = std::make_shared<Page>(*page_);
    shared_ = false;
    return page_->data();
  }

  SharedPage Share() {
    shared_ = true;
    return *this;
  }

 private:
  std::shared_ptr<Page> page_ = std::make_shared<Page>();
  bool shared_ = false;
};

// A clock that moves with every change, so that tests can see one.
int64_t NextTime() {
  static std::atomic<int64_t> time{1'000'000'000};
  return time.fetch_add(1) + 1;
}

[[noreturn]] void Die(const absl::Status& status) {
  std::fprintf(stderr, "MemoryFileSystem: %s\n",
               std::string(status.message()).c_str());
  std::abort();
}

std::string Normalize(absl::string_view path) {
  std::vector<absl::string_view> parts;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  return absl::StrCat("/", absl::StrJoin(parts, "/"));
}

absl::string_view BytesOf(const SharedPage& page) {
  return {reinterpret_cast<const char*>(page.data()), kPageBytes};
}

// What a link at `path` stands for.
std::string LinkTarget(absl::string_view path, absl::string_view target) {
  if (absl::StartsWith(target, "/")) return Normalize(target);
  return Normalize(absl::StrCat(path, "/../", target));
}

}  // namespace

struct MemoryInode {
  explicit MemoryInode(uint64_t inode_number) : number(inode_number) {}

  const uint64_t number;

  Mutex mutex;
  // By page index.
  std::map<uint64_t, SharedPage> pages ABSL_GUARDED_BY(mutex);
  uint64_t size ABSL_GUARDED_BY(mutex) = 0;
  mode_t mode ABSL_GUARDED_BY(mutex) = S_IFREG | 0644;
  int64_t mtime_ns ABSL_GUARDED_BY(mutex) = NextTime();
  int64_t ctime_ns ABSL_GUARDED_BY(mutex) = NextTime();
  // Byte to the open files that hold it.
  std::map<uint64_t, std::set<const void*>> locks ABSL_GUARDED_BY(mutex);

  void Touch() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    mtime_ns = ctime_ns = NextTime();
  }

  // Precondition: the range lies within the file.
  void Read(uint64_t offset, uint8_t* to, uint64_t length) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    while (length != 0) {
      const uint64_t start = offset % kPageBytes;
      const uint64_t count = std::min(length, kPageBytes - start);
      const auto page = pages.find(offset / kPageBytes);
      if (page == pages.end()) {
        std::memset(to, 0, count);
      } else {
        std::memcpy(to, page->second.data() + start, count);
      }
      offset += count;
      to += count;
      length -= count;
    }
  }

  void Write(uint64_t offset, const uint8_t* from, uint64_t length)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (length != 0) size = std::max(size, offset + length);
    while (length != 0) {
      const uint64_t start = offset % kPageBytes;
      const uint64_t count = std::min(length, kPageBytes - start);
      std::memcpy(pages[offset / kPageBytes].Modify() + start, from, count);
      offset += count;
      from += count;
      length -= count;
    }
  }

  // Precondition: begin <= end.
  void Zero(uint64_t begin, uint64_t end) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    for (auto page = pages.lower_bound(begin / kPageBytes);
         page != pages.end() && page->first * kPageBytes < end;) {
      const uint64_t page_begin = page->first * kPageBytes;
      const uint64_t from = std::max(begin, page_begin);
      const uint64_t to = std::min(end, page_begin + kPageBytes);
      if (from == page_begin && to == page_begin + kPageBytes) {
        page = pages.erase(page);
      } else {
        std::fill_n(page->second.Modify() + (from - page_begin), to - from, 0);
        ++page;
      }
    }
  }

  void Resize(uint64_t new_size) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    // Bytes behind the end stay zero, for the day the file grows again.
    if (new_size < size) Zero(new_size, RoundUp(size, kPageBytes));
    size = new_size;
  }

  FileStat Stat() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    FileStat result;
    result.id = {1, number};
    result.mode = mode;
    static const uid_t uid = getuid();
    static const gid_t gid = getgid();
    result.uid = uid;
    result.gid = gid;
    result.size = size;
    result.allocated_bytes = pages.size() * kPageBytes;
    result.mtime_ns = mtime_ns;
    result.ctime_ns = ctime_ns;
    return result;
  }

  absl::Status CheckOpen(const std::string& path, Access access)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    if (!S_ISREG(mode)) {
      return MakeError(
          EACCES,
          absl::StrCat(path, ": is not a regular file or block device"));
    }
    if (access == Access::kReadWrite && (mode & S_IWUSR) == 0) {
      return ErrnoError(EACCES,
                        absl::StrCat(path, ": open for reading and writing"));
    }
    return absl::OkStatus();
  }
};

namespace {

class MemoryFile final : public File {
 public:
  MemoryFile(std::string path, std::shared_ptr<MemoryInode> inode,
             Access access)
      : File(std::move(path)), inode_(std::move(inode)), access_(access) {}

  ~MemoryFile() override {
    MutexLock lock(inode_->mutex);
    for (auto& [byte, holders] : inode_->locks) holders.erase(this);
  }

  absl::StatusOr<FileStat> Stat() const override {
    MutexLock lock(inode_->mutex);
    return inode_->Stat();
  }

  absl::StatusOr<size_t> Read(uint64_t offset,
                              absl::Span<uint8_t> buffer) const override {
    RETURN_IF_ERROR(CheckRange("read", offset, buffer.size()));
    MutexLock lock(inode_->mutex);
    if (offset >= inode_->size) return size_t{0};
    const uint64_t length =
        std::min<uint64_t>(buffer.size(), inode_->size - offset);
    inode_->Read(offset, buffer.data(), length);
    return static_cast<size_t>(length);
  }

  absl::Status Write(uint64_t offset, absl::Span<const iovec> pieces) override {
    uint64_t length = 0;
    for (const iovec& piece : pieces) {
      length = CheckedAdd(length, piece.iov_len).value_or(UINT64_MAX);
    }
    RETURN_IF_ERROR(CheckWrite("write", offset, length));
    MutexLock lock(inode_->mutex);
    for (const iovec& piece : pieces) {
      inode_->Write(offset, static_cast<const uint8_t*>(piece.iov_base),
                    piece.iov_len);
      offset += piece.iov_len;
    }
    if (length != 0) inode_->Touch();
    return absl::OkStatus();
  }

  absl::Status Sync() override { return absl::OkStatus(); }

  absl::Status Truncate(uint64_t size) override {
    RETURN_IF_ERROR(CheckWrite("truncate", size, 0));
    MutexLock lock(inode_->mutex);
    inode_->Resize(size);
    inode_->Touch();
    return absl::OkStatus();
  }

  absl::Status Allocate(Extent extent) override {
    RETURN_IF_ERROR(CheckWrite("allocate", extent.offset, extent.length));
    MutexLock lock(inode_->mutex);
    if (extent.length != 0) {
      inode_->size = std::max(inode_->size, extent.end());
      inode_->Touch();
    }
    return absl::OkStatus();
  }

  absl::Status Zero(Extent extent) override {
    RETURN_IF_ERROR(CheckWrite("zero", extent.offset, extent.length));
    MutexLock lock(inode_->mutex);
    // The page that the file ends in goes too.
    const uint64_t end = extent.end() >= inode_->size
                             ? RoundUp(inode_->size, kPageBytes)
                             : extent.end();
    if (extent.offset < end) inode_->Zero(extent.offset, end);
    inode_->Touch();
    return absl::OkStatus();
  }

  absl::StatusOr<uint64_t> SeekData(uint64_t offset) const override {
    RETURN_IF_ERROR(CheckRange("seek data", offset, 0));
    MutexLock lock(inode_->mutex);
    const auto page = inode_->pages.lower_bound(offset / kPageBytes);
    if (page == inode_->pages.end()) return inode_->size;
    return std::min(inode_->size, std::max(offset, page->first * kPageBytes));
  }

  absl::StatusOr<uint64_t> SeekHole(uint64_t offset) const override {
    RETURN_IF_ERROR(CheckRange("seek hole", offset, 0));
    MutexLock lock(inode_->mutex);
    uint64_t index = offset / kPageBytes;
    for (auto page = inode_->pages.find(index);
         page != inode_->pages.end() && page->first == index; ++page) {
      ++index;
    }
    return std::min(inode_->size, std::max(offset, index * kPageBytes));
  }

  absl::StatusOr<std::unique_ptr<File>> Reopen(Access access) const override {
    {
      MutexLock lock(inode_->mutex);
      RETURN_IF_ERROR(inode_->CheckOpen(path(), access));
    }
    return std::make_unique<MemoryFile>(path(), inode_, access);
  }

  absl::Status LockByte(uint64_t offset) override {
    RETURN_IF_ERROR(CheckRange("lock", offset, 1));
    MutexLock lock(inode_->mutex);
    inode_->locks[offset].insert(this);
    return absl::OkStatus();
  }

  absl::Status UnlockByte(uint64_t offset) override {
    RETURN_IF_ERROR(CheckRange("unlock", offset, 1));
    MutexLock lock(inode_->mutex);
    inode_->locks[offset].erase(this);
    return absl::OkStatus();
  }

  absl::StatusOr<bool> IsByteLocked(uint64_t offset) const override {
    RETURN_IF_ERROR(CheckRange("test lock", offset, 1));
    MutexLock lock(inode_->mutex);
    const auto found = inode_->locks.find(offset);
    if (found == inode_->locks.end()) return false;
    return found->second.size() > found->second.count(this);
  }

 private:
  absl::Status Error(int error_number, absl::string_view operation,
                     uint64_t offset, uint64_t length) const {
    return ErrnoError(error_number,
                      absl::StrCat(path(), ": ", operation, " at ", offset,
                                   ", ", length, " bytes"));
  }

  absl::Status CheckRange(absl::string_view operation, uint64_t offset,
                          uint64_t length) const {
    if (offset > kMaxSize || length > kMaxSize - offset) {
      return Error(EFBIG, operation, offset, length);
    }
    return absl::OkStatus();
  }

  absl::Status CheckWrite(absl::string_view operation, uint64_t offset,
                          uint64_t length) const {
    if (access_ == Access::kReadOnly) {
      return Error(EBADF, operation, offset, length);
    }
    return CheckRange(operation, offset, length);
  }

  const std::shared_ptr<MemoryInode> inode_;
  const Access access_;
};

}  // namespace

MemoryFileSystem::MemoryFileSystem() = default;
MemoryFileSystem::~MemoryFileSystem() = default;

absl::StatusOr<std::pair<std::string, std::shared_ptr<MemoryInode>>>
MemoryFileSystem::Find(absl::string_view path) const {
  std::string name = Normalize(path);
  for (int links = 0; links <= kMaxLinks; ++links) {
    const auto found = names_.find(name);
    if (found == names_.end()) {
      return ErrnoError(ENOENT, absl::StrCat(path, ": open"));
    }
    if (found->second.inode != nullptr) {
      return std::make_pair(std::move(name), found->second.inode);
    }
    name = LinkTarget(name, found->second.target);
  }
  return ErrnoError(ELOOP, absl::StrCat(path, ": open"));
}

std::shared_ptr<MemoryInode> MemoryFileSystem::MustFind(
    absl::string_view path) const {
  MutexLock lock(mutex_);
  auto found = Find(path);
  if (!found.ok()) Die(found.status());
  return found->second;
}

std::shared_ptr<MemoryInode> MemoryFileSystem::NewInode() {
  return std::make_shared<MemoryInode>(++last_inode_);
}

absl::StatusOr<std::unique_ptr<File>> MemoryFileSystem::Open(
    const std::string& path, Access access) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(auto found, Find(path));
  auto& [name, inode] = found;
  {
    MutexLock inode_lock(inode->mutex);
    RETURN_IF_ERROR(inode->CheckOpen(name, access));
  }
  return std::make_unique<MemoryFile>(name, inode, access);
}

absl::StatusOr<std::unique_ptr<File>> MemoryFileSystem::Create(
    const std::string& path) {
  MutexLock lock(mutex_);
  const std::string name = Normalize(path);
  const auto [entry, inserted] = names_.try_emplace(name);
  if (!inserted) return ErrnoError(EEXIST, absl::StrCat(path, ": create"));
  entry->second.inode = NewInode();
  return std::make_unique<MemoryFile>(name, entry->second.inode,
                                      Access::kReadWrite);
}

absl::Status MemoryFileSystem::Remove(const std::string& path) {
  MutexLock lock(mutex_);
  if (names_.erase(Normalize(path)) == 0) {
    return ErrnoError(ENOENT, absl::StrCat(path, ": remove"));
  }
  return absl::OkStatus();
}

absl::Status MemoryFileSystem::Replace(const std::string& from,
                                       const std::string& to) {
  MutexLock lock(mutex_);
  const auto source = names_.find(Normalize(from));
  const auto target = names_.find(Normalize(to));
  for (const auto& found : {source, target}) {
    if (found == names_.end() || found->second.inode == nullptr) {
      return ErrnoError(ENOENT, absl::StrCat(to, ": replace by ", from));
    }
  }
  const auto mode_of = [](MemoryInode& inode) {
    MutexLock inode_lock(inode.mutex);
    return inode.mode;
  };
  const mode_t mode = mode_of(*target->second.inode);
  MemoryInode& inode = *source->second.inode;
  target->second.inode = source->second.inode;
  names_.erase(source);
  MutexLock inode_lock(inode.mutex);
  inode.mode = mode;
  inode.ctime_ns = NextTime();
  return absl::OkStatus();
}

absl::StatusOr<FileStat> MemoryFileSystem::Stat(const std::string& path) {
  MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(const auto found, Find(path));
  MutexLock inode_lock(found.second->mutex);
  RETURN_IF_ERROR(found.second->CheckOpen(path, Access::kReadOnly));
  return found.second->Stat();
}

std::unique_ptr<MemoryFileSystem> MemoryFileSystem::Snapshot() const {
  auto copy = std::make_unique<MemoryFileSystem>();
  MutexLock lock(mutex_);
  MutexLock copy_lock(copy->mutex_);
  copy->last_inode_ = last_inode_;
  std::map<const MemoryInode*, std::shared_ptr<MemoryInode>> copies;
  for (const auto& [path, name] : names_) {
    Name& target = copy->names_[path];
    target.target = name.target;
    if (name.inode == nullptr) continue;
    std::shared_ptr<MemoryInode>& inode = copies[name.inode.get()];
    if (inode == nullptr) {
      inode = std::make_shared<MemoryInode>(name.inode->number);
      MutexLock from_lock(name.inode->mutex);
      MutexLock to_lock(inode->mutex);
      for (auto& [index, page] : name.inode->pages) {
        inode->pages.emplace_hint(inode->pages.end(), index, page.Share());
      }
      inode->size = name.inode->size;
      inode->mode = name.inode->mode;
      inode->mtime_ns = name.inode->mtime_ns;
      inode->ctime_ns = name.inode->ctime_ns;
    }
    target.inode = inode;
  }
  return copy;
}

uint64_t MemoryFileSystem::Fingerprint() const {
  static constexpr Page kZeroes{};
  MutexLock lock(mutex_);
  size_t hash = 0;
  for (const auto& [path, name] : names_) {
    hash = absl::HashOf(hash, path, name.target);
    if (name.inode == nullptr) continue;
    MutexLock inode_lock(name.inode->mutex);
    hash = absl::HashOf(hash, name.inode->size);
    for (const auto& [index, page] : name.inode->pages) {
      if (std::memcmp(page.data(), kZeroes.data(), kPageBytes) == 0) continue;
      hash = absl::HashOf(hash, index, BytesOf(page));
    }
  }
  return hash;
}

bool MemoryFileSystem::Exists(absl::string_view path) const {
  MutexLock lock(mutex_);
  return Find(path).ok();
}

std::vector<std::string> MemoryFileSystem::Paths() const {
  MutexLock lock(mutex_);
  std::vector<std::string> result;
  for (const auto& [path, name] : names_) result.push_back(path);
  return result;
}

std::string MemoryFileSystem::Contents(absl::string_view path) const {
  const std::shared_ptr<MemoryInode> inode = MustFind(path);
  MutexLock lock(inode->mutex);
  std::string result(inode->size, '\0');
  for (const auto& [index, page] : inode->pages) {
    const uint64_t offset = index * kPageBytes;
    std::memcpy(result.data() + offset, page.data(),
                std::min(kPageBytes, inode->size - offset));
  }
  return result;
}

void MemoryFileSystem::SetContents(absl::string_view path,
                                   absl::string_view contents) {
  std::shared_ptr<MemoryInode> inode;
  {
    MutexLock lock(mutex_);
    auto found = Find(path);
    if (found.ok()) {
      inode = found->second;
    } else {
      inode = NewInode();
      names_[Normalize(path)] = Name{inode, ""};
    }
  }
  MutexLock lock(inode->mutex);
  inode->pages.clear();
  inode->size = contents.size();
  inode->Touch();
  while (!contents.empty()) {
    // From the back, so that what is left says the offset.
    const size_t offset = RoundDown(contents.size() - 1, kPageBytes);
    const absl::string_view page = contents.substr(offset);
    if (page.find_first_not_of('\0') != absl::string_view::npos) {
      std::memcpy(inode->pages[offset / kPageBytes].Modify(), page.data(),
                  page.size());
    }
    contents.remove_suffix(page.size());
  }
}

void MemoryFileSystem::Link(absl::string_view existing,
                            absl::string_view path) {
  std::shared_ptr<MemoryInode> inode = MustFind(existing);
  MutexLock lock(mutex_);
  names_[Normalize(path)] = Name{std::move(inode), ""};
}

void MemoryFileSystem::Symlink(absl::string_view target,
                               absl::string_view path) {
  MutexLock lock(mutex_);
  names_[Normalize(path)] = Name{nullptr, std::string(target)};
}

void MemoryFileSystem::SetReadOnly(absl::string_view path, bool read_only) {
  const std::shared_ptr<MemoryInode> inode = MustFind(path);
  MutexLock lock(inode->mutex);
  inode->mode = (inode->mode & ~mode_t{0777}) | (read_only ? 0444 : 0644);
  inode->ctime_ns = NextTime();
}

void MemoryFileSystem::SetMode(absl::string_view path, mode_t mode) {
  const std::shared_ptr<MemoryInode> inode = MustFind(path);
  MutexLock lock(inode->mutex);
  inode->mode = mode;
  inode->ctime_ns = NextTime();
}

}  // namespace flatcow
