// SPDX-License-Identifier: Apache-2.0
#include "open_views.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

void AddTo(ImageStatistics& sum, const ImageStatistics& more) {
  sum.allocated_clusters += more.allocated_clusters;
  sum.copied_bytes += more.copied_bytes;
  sum.flush_rounds += more.flush_rounds;
}

// What `now` has more.
ImageStatistics Since(const ImageStatistics& before,
                      const ImageStatistics& now) {
  return {
      .allocated_clusters = now.allocated_clusters - before.allocated_clusters,
      .copied_bytes = now.copied_bytes - before.copied_bytes,
      .flush_rounds = now.flush_rounds - before.flush_rounds};
}

}  // namespace

void OpenView::NoteChange(int64_t time_ns) {
  int64_t known = last_change_ns_.load(std::memory_order_relaxed);
  while (known < time_ns && !last_change_ns_.compare_exchange_weak(
                                known, time_ns, std::memory_order_relaxed)) {
  }
}

absl::Status OpenView::AdoptGrowth() {
  return was_passthrough() ? image_->AdoptGrowth() : absl::OkStatus();
}

absl::Status OpenView::Flush() {
  if (close_failed_.exchange(false)) {
    return ErrnoError(EIO, absl::StrCat(name_, ": flush when last closed"));
  }
  return image_->Flush();
}

OpenViews::OpenViews(FileSystem& files, Catalog& catalog, OpenOptions options,
                     Log& log)
    : files_(files),
      catalog_(catalog),
      options_(std::move(options)),
      log_(log) {}

OpenViews::~OpenViews() { CloseAll(); }

void OpenViews::EnablePassthrough(BackingFiles& files, bool never_written) {
  backing_files_ = &files;
  never_written_ = never_written;
  may_pass_through_.store(true);
}

BackingId OpenViews::ChooseServer(OpenView& view) {
  if (!may_pass_through_.load() || !view.AdoptGrowth().ok()) return 0;
  const int descriptor = view.image_->FlatFile(never_written_);
  if (descriptor < 0) return 0;
  const auto backing = backing_files_->Open(descriptor);
  if (!backing.ok()) {
    if (ErrnoOf(backing.status()) == EPERM) may_pass_through_.store(false);
    return 0;
  }
  view.was_passthrough_.store(true);
  return *backing;
}

// The files of the chain that are the host's; of an ephemeral view two are not.
std::vector<std::string> OpenViews::HostPaths(const Image& image) const {
  constexpr int kUnnamed = 2;
  std::vector<std::string> paths = image.ChainPaths();
  if (ephemeral_ != nullptr) {
    paths.erase(paths.begin(), paths.begin() + kUnnamed);
  }
  return paths;
}

OpenViews::ChainState OpenViews::StateOf(const Image& image) {
  ChainState state;
  for (const std::string& path : HostPaths(image)) {
    const auto stat = files_.Stat(path);
    if (!stat.ok()) return {};
    state.push_back(SignatureOf(*stat));
  }
  return state;
}

absl::StatusOr<std::unique_ptr<Image>> OpenViews::Open(const NodeInfo& node,
                                                       Access access) {
  OpenOptions options = options_;
  options.access = access;
  const std::string path = catalog_.AbsolutePath(node.path);
  if (ephemeral_ != nullptr) options.format = node.facts->format;
  auto image = ephemeral_ != nullptr
                   ? ephemeral_->OpenImage(files_, path, options)
                   : OpenImage(files_, path, options);
  if (!image.ok()) return image.status();
  // The name may have been given to another file since the kernel looked it
  // up; told so, the kernel looks again.
  const auto paths = HostPaths(**image);
  const auto stat = files_.Stat(paths.front());
  if (!stat.ok() || stat->id != node.stat.id) {
    return ErrnoError(ESTALE, paths.front());
  }
  return image;
}

absl::StatusOr<OpenViews::Opened> OpenViews::Acquire(const NodeInfo& node,
                                                     Access access, Use use) {
  catalog_.AddUser(node.id);
  OpenView* view = nullptr;
  bool is_first = false;
  bool upgrade = false;
  bool choose = false;
  {
    MutexLock lock(mutex_);
    while (true) {
      std::unique_ptr<OpenView>& slot = views_[node.id];
      if (slot == nullptr) {
        slot = std::make_unique<OpenView>();
        is_first = true;
      } else if (slot->state_ != OpenView::State::kOpen) {
        changed_.Wait(mutex_);
        continue;
      }
      view = slot.get();
      break;
    }
    ++view->users_;
    if (use == Use::kOpen) choose = ++view->opens_ == 1;
    if (!is_first) {
      upgrade = access == Access::kReadWrite && !view->image_->Writable();
      if (upgrade || choose) view->state_ = OpenView::State::kChanging;
    }
  }
  User user(*this, view, use);
  ChainState state;
  absl::Status status;
  if (is_first) {
    auto image = Open(node, access);
    status = image.status();
    if (image.ok()) {
      state = StateOf(**image);
      view->image_ = *std::move(image);
    }
  } else if (upgrade) {
    status = view->image_->MakeWritable();
  }
  const BackingId chosen = choose && status.ok() ? ChooseServer(*view) : 0;

  bool unchanged = false;
  BackingId backing = 0;
  {
    MutexLock lock(mutex_);
    if (choose) view->backing_ = chosen;
    if (use == Use::kOpen) backing = view->backing_;
    unchanged = !is_first && options_.lock && !view->was_passthrough_.load();
    if (is_first && status.ok()) {
      view->node_ = node.id;
      view->name_ = node.view_name;
      view->file_ = node.stat.id;
      view->close_failed_.store(failed_closes_.erase(node.stat.id) != 0);
      const auto last = at_last_close_.find(node.id);
      unchanged = last != at_last_close_.end() && !state.empty() &&
                  last->second == state;
    }
    if (is_first && !status.ok()) {
      user.Keep();
      views_.erase(node.id);
    } else if (is_first || upgrade || choose) {
      view->state_ = OpenView::State::kOpen;
    }
    changed_.NotifyAll();
  }
  if (!status.ok()) {
    if (is_first) catalog_.RemoveUser(node.id);
    return status;
  }
  return Opened{std::move(user), is_first, unchanged, backing};
}

bool OpenViews::IsToStay(const OpenView& view) const {
  if (ephemeral_ == nullptr || view.keeps_itself_ || view.is_dropped_) {
    return false;
  }
  return view.last_change_ns() != 0 || view.image_->NeedsFlush();
}

void OpenViews::DropIfGone(NodeId node) {
  if (ephemeral_ == nullptr || !catalog_.IsGone(node)) return;
  OpenView* view = nullptr;
  {
    MutexLock lock(mutex_);
    const auto it = views_.find(node);
    if (it == views_.end() || !it->second->keeps_itself_) return;
    view = it->second.get();
    view->keeps_itself_ = false;
    view->is_dropped_ = true;
  }
  Release(view, Use::kInternal);
}

void OpenViews::Release(OpenView* view, Use use) {
  const NodeId node = view->node_;
  BackingId backing = 0;
  ImageStatistics counted;  // in closed_
  bool stays = false;
  {
    MutexLock lock(mutex_);
    if (use == Use::kOpen && --view->opens_ == 0) {
      backing = std::exchange(view->backing_, 0);
    }
    // It takes the place of this user, also in the catalog.
    if (view->users_ == 1 && IsToStay(*view)) {
      view->keeps_itself_ = true;
      stays = true;
    }
    // An open that upgrades counts as a user, so the last one is not here
    // before it is done.
    if (stays || --view->users_ > 0) {
      view = nullptr;
    } else {
      view->state_ = OpenView::State::kClosing;
      counted = view->image_->Statistics();
      AddTo(closed_, counted);
    }
  }
  if (backing != 0) backing_files_->Close(backing);
  if (view != nullptr) {
    const bool flushed = FlushAndLog(*view) && !view->close_failed_.load();
    ChainState state = StateOf(*view->image_);
    const int64_t now = NowNs();
    const bool settled = std::all_of(state.begin(), state.end(),
                                     [now](const FileSignature& signature) {
                                       return IsSettled(signature, now);
                                     });
    const ImageStatistics last = Since(counted, view->image_->Statistics());
    view->image_.reset();
    // Before the view is gone: who then asks the catalog for the size must not
    // get what was true before it was opened.
    catalog_.RemoveUser(node);
    MutexLock lock(mutex_);
    if (!flushed) failed_closes_.insert(view->file_);
    AddTo(closed_, last);
    // Pages from before a passthrough are not what its file holds now.
    if (settled && !state.empty() && !view->was_passthrough_.load() &&
        !view->is_dropped_) {
      at_last_close_[node] = std::move(state);
    } else {
      at_last_close_.erase(node);
    }
    views_.erase(node);
    changed_.NotifyAll();
    return;
  }
  if (!stays) catalog_.RemoveUser(node);
}

OpenViews::User OpenViews::Find(NodeId node) {
  OpenView* view = nullptr;
  {
    MutexLock lock(mutex_);
    while (true) {
      const auto it = views_.find(node);
      if (it == views_.end()) return {};
      view = it->second.get();
      if (view->state_ == OpenView::State::kOpening) return {};
      if (view->state_ != OpenView::State::kClosing) break;
      changed_.Wait(mutex_);
    }
    ++view->users_;
  }
  catalog_.AddUser(node);
  return User(*this, view, Use::kInternal);
}

OpenViewState OpenViews::Describe(const OpenView& view) const {
  const Image& image = *view.image_;
  const ImageInfo& info = image.Info();
  const bool ephemeral = ephemeral_ != nullptr;
  return {.node = view.node_,
          .name = view.name_,
          .image = HostPaths(image).front(),
          .format = ephemeral ? info.backing->format : info.format,
          .virtual_size = image.Size(),
          .opens = view.opens_,
          .writable = image.Writable(),
          .passthrough = view.backing_ != 0,
          .dirty_metadata = !ephemeral && image.NeedsFlush(),
          .statistics = image.Statistics()};
}

std::vector<OpenViewState> OpenViews::States() {
  std::vector<OpenViewState> states;
  {
    MutexLock lock(mutex_);
    for (const auto& [node, view] : views_) {
      if (view->state_ == OpenView::State::kOpen) {
        states.push_back(Describe(*view));
      }
    }
  }
  std::sort(states.begin(), states.end(),
            [](const OpenViewState& a, const OpenViewState& b) {
              return a.name < b.name;
            });
  return states;
}

bool OpenViews::IsPassthrough(const OpenView& view) {
  MutexLock lock(mutex_);
  return view.backing_ != 0;
}

ImageStatistics OpenViews::Statistics() {
  MutexLock lock(mutex_);
  ImageStatistics sum = closed_;
  for (const auto& [node, view] : views_) {
    // Of one that is being closed, closed_ has it already.
    if (view->state_ == OpenView::State::kOpen ||
        view->state_ == OpenView::State::kChanging) {
      AddTo(sum, view->image_->Statistics());
    }
  }
  return sum;
}

void OpenViews::Forget(NodeId node) {
  MutexLock lock(mutex_);
  at_last_close_.erase(node);
}

bool OpenViews::FlushAndLog(OpenView& view) {
  if (!view.image_->NeedsFlush()) return true;
  const absl::Status status = view.image_->Flush();
  if (status.ok()) return true;
  log_.WriteLimited(Severity::kError, absl::StrCat(view.name_, " flush"),
                    absl::StrCat(view.name_, ": flush: ", status.message()));
  return false;
}

void OpenViews::FlushAll() {
  std::vector<NodeId> nodes;
  {
    MutexLock lock(mutex_);
    for (const auto& [node, view] : views_) nodes.push_back(node);
  }
  // One at a time: a view that its last user leaves meanwhile is closed here,
  // and need not wait for the flushes of others.
  for (const NodeId node : nodes) {
    {
      const User user = Find(node);
      if (user) FlushAndLog(*user.get());
    }
    DropIfGone(node);
  }
}

void OpenViews::CloseAll() {
  FlushAll();
  absl::flat_hash_map<NodeId, std::unique_ptr<OpenView>> views;
  {
    MutexLock lock(mutex_);
    views.swap(views_);
  }
  for (auto& [node, view] : views) view->image_.reset();
}

}  // namespace flatcow::daemon
