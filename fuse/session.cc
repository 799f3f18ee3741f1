// SPDX-License-Identifier: Apache-2.0
//
// The order of things:
//
//   look up paths -> fork -> open SOURCE -> mount -> exclude our own device ->
//   answer INIT -> threads -> [the mount answers: the parent exits] -> serve ->
//   flush -> exit
//
// What may fail stands before the parent's exit; what opens an image stands
// behind the exclusion, or it could wait for the daemon itself.
#include "session.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "background.h"
#include "catalog.h"
#include "commit_timer.h"
#include "ephemeral_place.h"
#include "filesystem.h"
#include "flatcow/confined_file_system.h"
#include "flatcow/status.h"
#include "fuse_api.h"
#include "fuse_ops.h"
#include "holders.h"
#include "init_step.h"
#include "log.h"
#include "mount_point.h"
#include "passthrough.h"
#include "places.h"
#include "raw_names.h"
#include "readings.h"
#include "service_notify.h"
#include "signal_thread.h"
#include "user_mount.h"

namespace flatcow::daemon {
namespace {

constexpr unsigned kReadAheadKib = 1024;

struct DestroySession {
  void operator()(fuse_session* session) const {
    fuse_session_destroy(session);
  }
};
using UniqueSession = std::unique_ptr<fuse_session, DestroySession>;

// libfuse's own messages have no other way to find the log.
std::atomic<Log*> library_log{nullptr};

[[gnu::format(printf, 2, 0)]] void LogOfLibrary(fuse_log_level level,
                                                const char* format,
                                                va_list arguments) {
  char text[1024];
  vsnprintf(text, sizeof(text), format, arguments);
  absl::string_view line = text;
  while (absl::ConsumeSuffix(&line, "\n")) {
  }
  Log* const log = library_log.load();
  if (log == nullptr || line.empty()) return;
  log->Write(level <= FUSE_LOG_ERR ? Severity::kError : Severity::kInfo, line);
}

// A comma or backslash in a value, for libfuse's parser of -o.
std::string Escape(absl::string_view option) {
  std::string escaped;
  for (const char c : option) {
    if (c == ',' || c == '\\') escaped.push_back('\\');
    escaped.push_back(c);
  }
  return escaped;
}

std::vector<std::string> MountArguments(const Options& options,
                                        const std::string& source) {
  std::vector<std::string> mount_options = {
      "default_permissions", "fsname=" + source, "subtype=flatcow"};
  if (options.allow_other) mount_options.push_back("allow_other");
  if (options.allow_root) mount_options.push_back("allow_root");
  mount_options.insert(mount_options.end(), options.mount_options.begin(),
                       options.mount_options.end());
  std::vector<std::string> arguments = {"flatcow"};
  for (const std::string& option : mount_options) {
    arguments.push_back("-o");
    arguments.push_back(Escape(option));
  }
  if (options.debug) arguments.push_back("-d");
  return arguments;
}

void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Tells the kernel that others' dirty pages are written through us: a view may
// have a loop device on it. When memory is short, an allocation of ours must
// not wait for such a page to be written, for that would wait for us; and we
// are not slowed down for pages that others have made dirty. Threads inherit
// it. Without the right to (CAP_SYS_RESOURCE), or before Linux 5.6, we do
// without.
void BecomeIoFlusher() { prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0); }

class Session {
 public:
  Session(const Options& options, Places places, Background& background,
          Log& log)
      : options_(options),
        places_(std::move(places)),
        background_(background),
        log_(log) {}

  int Run() {
    SignalThread::Block();
    RaiseDescriptorLimit();
    BecomeIoFlusher();
    if (chdir("/") != 0) return Fail(ErrnoError(errno, "/"), kExitSystem);
    absl::Status status = OpenSource();
    if (!status.ok()) return Fail(status, kExitSystem);
    status = Mount();
    if (!status.ok()) return Fail(status, kExitMount);
    const int exit_code = Serve();
    // The kernel does not release what is open when the mount ends.
    filesystem_->views().CloseAll();
    return exit_code;
  }

 private:
  int Fail(const absl::Status& status, int exit_code) {
    log_.Write(Severity::kError, status.message());
    return exit_code;
  }

  absl::Status OpenSource() {
    auto files = ConfinedFileSystem::Open(places_.roots);
    if (!files.ok()) return files.status();
    files_ = *std::move(files);
    const bool ephemeral = options_.ephemeral.has_value();
    // One file that has no magic can't be meant for anything but a raw disk.
    catalog_ = std::make_unique<Catalog>(
        *files_, places_.only_name, log_,
        RawNames(options_.raw, ephemeral && !places_.only_name.empty()));
    filesystem_ = std::make_unique<Filesystem>(*files_, *catalog_,
                                               backing_files_, options_, log_);
    if (!ephemeral) return absl::OkStatus();
    auto place = EphemeralPlace::Open(places_.ephemeral);
    if (!place.ok()) return place.status();
    ephemeral_place_ = *std::move(place);
    filesystem_->MakeEphemeral(*ephemeral_place_);
    return absl::OkStatus();
  }

  absl::Status Mount() {
    const absl::Status permitted = CheckUserMount(options_);
    if (!permitted.ok()) return permitted;
    if (!places_.only_name.empty()) {
      const auto views = catalog_->List(kRootNode);
      if (!views.ok()) return views.status();
      if (views->empty()) {
        return MakeError(
            EINVAL,
            absl::StrCat(options_.source,
                         ": not an image of a known format; -o ephemeral shows "
                         "a raw disk, and drops what is written to it"));
      }
    }
    std::vector<std::string> words = MountArguments(options_, places_.source);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    fuse_args arguments =
        FUSE_ARGS_INIT(static_cast<int>(argv.size()), argv.data());
    if (!options_.debug) {
      library_log.store(&log_);
      fuse_set_log_func(LogOfLibrary);
    }
    session_.reset(fuse_session_new(&arguments, &FuseOperations(),
                                    sizeof(fuse_lowlevel_ops),
                                    filesystem_.get()));
    fuse_opt_free_args(&arguments);
    const std::string& place = places_.mountpoint;
    if (session_ == nullptr) {
      return MakeError(EINVAL, absl::StrCat(place, ": libfuse refused"));
    }
    if (fuse_session_mount(session_.get(), place.c_str()) != 0) {
      return MakeError(EIO, absl::StrCat(place, ": the mount failed"));
    }
    const auto device = DeviceAt(place);
    if (!device.ok()) {
      fuse_session_unmount(session_.get());
      return device.status();
    }
    device_ = *device;
    catalog_->ExcludeDevice(device_);
    catalog_->StartWatching(
        [this](const Catalog::Change& change) { TellKernel(change); });
    backing_files_.Connect(fuse_session_fd(session_.get()));
    const Agreed agreed =
        AnswerInit(session_.get(), filesystem_->wants_passthrough());
    if (agreed.passthrough) filesystem_->EnablePassthrough();
    if (agreed.handle_killpriv_v2) filesystem_->EnableViewAttributes();
    return absl::OkStatus();
  }

  // Whatever the kernel does not know it does not mind being told. A name is
  // dropped only when it leads elsewhere: a view that is open and changes keeps
  // its place.
  void TellKernel(const Catalog::Change& change) {
    if (change.of_name) {
      fuse_lowlevel_notify_inval_entry(session_.get(), change.parent,
                                       change.name.c_str(), change.name.size());
    }
    if (change.node != 0) {
      constexpr off_t kAttributesOnly = -1;
      fuse_lowlevel_notify_inval_inode(session_.get(), change.node,
                                       kAttributesOnly, 0);
    }
  }

  // Not an unmount, if the kernel ended the session: then it is done.
  void Unmount() {
    backing_files_.Disconnect();
    fuse_session_unmount(session_.get());
    catalog_->StopWatching();
  }

  int Serve() {
    const absl::Status started = signals_.Start(
        [this] { AwaitReady(); }, [this](int signal) { HandleSignal(signal); });
    if (!started.ok()) {
      Unmount();
      return Fail(started, kExitSystem);
    }
    CommitTimer timer(filesystem_->views(),
                      std::chrono::seconds(options_.commit_seconds));

    fuse_loop_config* const config = fuse_loop_cfg_create();
    const unsigned threads =
        options_.max_threads != 0
            ? options_.max_threads
            : std::max(2u, 2 * std::thread::hardware_concurrency());
    fuse_loop_cfg_set_max_threads(config, threads);
    fuse_loop_cfg_set_idle_threads(config, threads);
    fuse_loop_cfg_set_clone_fd(config, 0);
    const int result = fuse_session_loop_mt(session_.get(), config);
    fuse_loop_cfg_destroy(config);

    Unmount();
    signals_.Stop();
    if (!stopping_.exchange(true)) NotifyService("STOPPING=1");
    // ECONNABORTED ends a session as ENODEV does, which libfuse takes for 0: a
    // detached mount whose last file was closed while a thread read, or an
    // abort through fusectl.
    if (result < 0 && result != -ECONNABORTED) {
      return Fail(ErrnoError(-result, "/dev/fuse"), kExitSystem);
    }
    if (!answered_.load()) return kExitMount;
    log_.Write(Severity::kInfo,
               absl::StrCat(places_.mountpoint, ": unmounted"));
    return 0;
  }

  // Not on the thread that starts to serve, for it asks the mount something.
  void AwaitReady() {
    struct stat root;
    if (stat(places_.mountpoint.c_str(), &root) != 0) {
      log_.Write(Severity::kError,
                 ErrnoError(errno, places_.mountpoint).message());
      const absl::Status detached = DetachMount(places_.mountpoint, device_);
      if (!detached.ok()) log_.Write(Severity::kError, detached.message());
      return;
    }
    answered_.store(true);
    // Not earlier: the answer to INIT sets it too.
    SetReadAhead(device_, kReadAheadKib);
    if (background_.forked()) log_.UseSyslog();
    background_.Succeed();
    NotifyService(absl::StrCat(
        "READY=1\n",
        background_.forked() ? absl::StrCat("MAINPID=", getpid(), "\n") : "",
        ServiceStatus(absl::StrCat("serving ", places_.source, " at ",
                                   places_.mountpoint))));
  }

  void HandleSignal(int signal) {
    if (signal == SIGUSR1) {
      log_.Write(Severity::kInfo, SummaryLine(filesystem_->TakeReadings()));
    } else if (!stopping_.exchange(true)) {
      Detach();
    } else {
      NotifyService(ServiceStatus("leaving views that are in use"));
      log_.Write(Severity::kWarning,
                 "second signal: flushing and leaving views that are in use");
      filesystem_->views().FlushAll();
      _exit(0);
    }
  }

  // The kernel ends the session when the last file is closed; a guest must not
  // lose its disk before.
  void Detach() {
    NotifyService("STOPPING=1");
    const auto holders = FindHolders(places_.mountpoint, device_);
    const absl::Status detached = DetachMount(places_.mountpoint, device_);
    NotifyService(WaitingStatus(holders));
    if (!detached.ok()) {
      const std::string line =
          absl::StrCat("can't unmount: ", detached.message(),
                       "; serving until it is, or a second signal");
      log_.Write(Severity::kError, line);
      NotifyService(ServiceStatus(line));
    }
    for (const std::string& holder : holders) {
      log_.Write(Severity::kInfo, absl::StrCat("still in use by ", holder));
    }
  }

  const Options& options_;
  const Places places_;
  Background& background_;
  Log& log_;
  std::unique_ptr<ConfinedFileSystem> files_;
  std::unique_ptr<EphemeralPlace> ephemeral_place_;
  std::unique_ptr<Catalog> catalog_;
  KernelBackingFiles backing_files_;
  std::unique_ptr<Filesystem> filesystem_;
  UniqueSession session_;
  uint64_t device_ = 0;
  std::atomic<bool> answered_{false};
  std::atomic<bool> stopping_{false};
  // Last, so that it ends first: its handler uses the others.
  SignalThread signals_;
};

}  // namespace

int RunSession(const Options& options) {
  Log log;
  int exit_code = kExitSystem;
  auto places = FindPlaces(options, log, exit_code);
  if (!places.ok()) {
    log.Write(Severity::kError, places.status().message());
    return exit_code;
  }
  Background background;
  if (!options.foreground) {
    const absl::Status forked = background.Fork();
    if (!forked.ok()) {
      log.Write(Severity::kError, forked.message());
      return kExitSystem;
    }
  }
  {
    Session session(options, *std::move(places), background, log);
    exit_code = session.Run();
  }
  library_log.store(nullptr);
  background.Fail(exit_code);
  return exit_code;
}

}  // namespace flatcow::daemon
