// SPDX-License-Identifier: Apache-2.0
//
// The views that are open: one image for each, however many times it is open.
//
//   opening ----> open <----> changing (a first writer: MakeWritable; a first
//      |            |                   open: who serves it?)
//      v            v  last user gone
//   (failed)     closing ----> (gone)
//
// Whoever finds a view opening, changing or closing waits: an image that is
// just letting go of its locks would refuse the next open of ourselves.
//
// A view is used by its opens, and for a moment by others: a look-up, truncate,
// the timer. An ephemeral view that has been written to is also used by itself:
// it stays open until the end, for with its image it would lose what it holds,
// or until nobody can ask for it again. Its first open decides who serves it
// until its last open ends: the daemon, or the kernel from the host file that
// the image is (passthrough). The kernel does not let the two mix.
#ifndef FLATCOW_FUSE_OPEN_VIEWS_H_
#define FLATCOW_FUSE_OPEN_VIEWS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "catalog.h"
#include "ephemeral_place.h"
#include "file_signature.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "log.h"
#include "mutex.h"
#include "passthrough.h"

namespace flatcow::daemon {

class OpenView {
 public:
  // Valid while the caller has the view open.
  Image& image() const { return *image_; }
  NodeId node() const { return node_; }
  const std::string& name() const { return name_; }

  // When the guest last changed something that the host's time stamps may not
  // show yet; 0 if never. NoteChange() wants the time before the change, which
  // the host's own stamp then never falls behind.
  int64_t last_change_ns() const {
    return last_change_ns_.load(std::memory_order_relaxed);
  }
  void NoteChange(int64_t time_ns);

  // Others than the image write, or wrote, to its file since it was opened, so
  // that its size may be more than the image knows.
  bool was_passthrough() const { return was_passthrough_.load(); }

  // Image::AdoptGrowth(), where that is so. For the size, and for what compares
  // with it.
  absl::Status AdoptGrowth();

  // Image::Flush(). Where the flush of the last close failed, which nobody was
  // told, that is the answer to the first flush of the next open.
  absl::Status Flush();

 private:
  friend class OpenViews;
  enum class State { kOpening, kOpen, kChanging, kClosing };

  NodeId node_ = 0;
  std::string name_;
  FileId file_;
  std::unique_ptr<Image> image_;
  std::atomic<int64_t> last_change_ns_{0};
  std::atomic<bool> close_failed_{false};  // and not told yet
  std::atomic<bool> was_passthrough_{false};

  // Guarded by OpenViews::mutex_.
  State state_ = State::kOpening;
  uint64_t users_ = 0;         // the opens among them
  bool keeps_itself_ = false;  // is one of its users
  bool is_dropped_ = false;    // never again
  uint64_t opens_ = 0;
  BackingId backing_ = 0;  // of all its opens; 0: the daemon serves them
};

enum class Use {
  kOpen,      // an open of the view, until its RELEASE
  kInternal,  // the daemon's own
};

// What an open view is doing, for those who look at the daemon.
struct OpenViewState {
  NodeId node = 0;
  std::string name;
  std::string image;  // path of the image file
  std::string format;
  uint64_t virtual_size = 0;  // bytes
  uint64_t opens = 0;         // the daemon's own uses do not count
  bool writable = false;
  bool passthrough = false;     // the kernel serves it
  bool dirty_metadata = false;  // newer than its file
  ImageStatistics statistics;
};

// Thread-safe.
class OpenViews {
 public:
  // Lets go of the view at the end of the scope.
  class User {
   public:
    User() = default;
    User(OpenViews& views, OpenView* view, Use use)
        : views_(&views), view_(view), use_(use) {}
    User(User&& other) noexcept
        : views_(other.views_),
          view_(std::exchange(other.view_, nullptr)),
          use_(other.use_) {}
    User& operator=(User&&) = delete;
    ~User() {
      if (view_ != nullptr) views_->Release(view_, use_);
    }

    explicit operator bool() const { return view_ != nullptr; }
    OpenView* operator->() const { return view_; }
    OpenView* get() const { return view_; }
    // The caller now has to call Release().
    OpenView* Keep() { return std::exchange(view_, nullptr); }

   private:
    OpenViews* views_ = nullptr;
    OpenView* view_ = nullptr;
    Use use_ = Use::kInternal;
  };

  struct Opened {
    User user;
    bool is_first = false;  // nobody else had it open
    // Every file of the chain is as it was when the view was last open, or it
    // is open already: what the kernel has cached of it still holds.
    bool unchanged = false;
    // Of an open: what the kernel is to serve it from; 0: the daemon serves it.
    BackingId backing = 0;
  };

  // `files`, `catalog` and `log` outlive this. `options.access` is not used.
  OpenViews(FileSystem& files, Catalog& catalog, OpenOptions options, Log& log);
  ~OpenViews();

  // Views whose image is a flat file are from now on served from it by the
  // kernel, where `files` can be told to: see Image::FlatFile() for it and for
  // `never_written`. Once EPERM was the answer it is not asked again. `files`
  // outlives this. Call it before the first Acquire().
  void EnablePassthrough(BackingFiles& files, bool never_written);

  // From now on no image is written to: what is written goes to `place`, which
  // outlives this, and is dropped at the end. Call it before the first
  // Acquire().
  void MakeEphemeral(const EphemeralPlace& place) { ephemeral_ = &place; }

  // Opens the image of a view for one more user. Errors: those of OpenImage()
  // and Image::MakeWritable(); ESTALE the name is another file by now.
  absl::StatusOr<Opened> Acquire(const NodeInfo& node, Access access, Use use);

  // The last user's Release() flushes and closes, and returns after that.
  void Release(OpenView* view, Use use);

  // One more user of a view that is open, if it is. Waits for one that is
  // closing to be gone: until then it may be ahead of its file.
  User Find(NodeId node);

  // The kernel has forgotten the view, so it has nothing cached of it.
  void Forget(NodeId node);

  // The views that are open now, but for those about to be opened, closed or
  // made writable.
  std::vector<OpenViewState> States();
  bool IsPassthrough(const OpenView& view);
  // What all images have done that are open or were.
  ImageStatistics Statistics();
  // Views may be served by the kernel.
  bool may_pass_through() const { return may_pass_through_.load(); }

  // Flushes all that need it, one after the other; the log says what fails.
  void FlushAll();

  // Flushes and closes what is still open; no thread may be using it. For the
  // end: the kernel does not release each view when the mount goes away.
  void CloseAll();

 private:
  using ChainState = std::vector<FileSignature>;

  absl::StatusOr<std::unique_ptr<Image>> Open(const NodeInfo& node,
                                              Access access);
  // Decides who serves the view's opens. Return values: its backing id, or 0.
  BackingId ChooseServer(OpenView& view);
  std::vector<std::string> HostPaths(const Image& image) const;
  // Empty when a file can't be looked at.
  ChainState StateOf(const Image& image);
  // Return values: false when it failed.
  bool FlushAndLog(OpenView& view);
  // The caller holds mutex_.
  OpenViewState Describe(const OpenView& view) const;
  // The last user of the view is about to leave: shall it stay open?
  bool IsToStay(const OpenView& view) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Ends a view that keeps itself, when nobody can ask for it again.
  void DropIfGone(NodeId node);

  FileSystem& files_;
  Catalog& catalog_;
  const OpenOptions options_;
  Log& log_;
  const EphemeralPlace* ephemeral_ = nullptr;
  BackingFiles* backing_files_ = nullptr;
  bool never_written_ = false;
  std::atomic<bool> may_pass_through_{false};

  // Held for no system call. Never held while the catalog is called.
  Mutex mutex_;
  CondVar changed_;
  absl::flat_hash_map<NodeId, std::unique_ptr<OpenView>> views_
      ABSL_GUARDED_BY(mutex_);
  absl::flat_hash_map<NodeId, ChainState> at_last_close_
      ABSL_GUARDED_BY(mutex_);
  // Images whose last close failed to flush, until they are opened again.
  absl::flat_hash_set<FileId> failed_closes_ ABSL_GUARDED_BY(mutex_);
  ImageStatistics closed_ ABSL_GUARDED_BY(mutex_);  // of images closed again
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_OPEN_VIEWS_H_
