// SPDX-License-Identifier: Apache-2.0
#include "mount/daemon.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <thread>

#include "flatcow/image_ops.h"
#include "model/disk_model.h"

namespace flatcow {
namespace {

std::string FromEnvironment(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr ? value : "";
}

// A datagram socket that hears READY=1, or nothing when the daemon has gone.
class ReadySocket {
 public:
  explicit ReadySocket(const std::string& path) {
    socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
    bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    chmod(path.c_str(), 0666);  // the daemon may be another user's
    timeval timeout = {0, 100'000};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  ~ReadySocket() { close(socket_); }

  bool WaitReady(pid_t pid, int* status) {
    while (true) {
      char text[256];
      const ssize_t n = recv(socket_, text, sizeof(text) - 1, 0);
      if (n > 0 && std::string(text, static_cast<size_t>(n)).find("READY=1") !=
                       std::string::npos) {
        return true;
      }
      if (waitpid(pid, status, WNOHANG) == pid) return false;
    }
  }

 private:
  int socket_;
};

int ExitCode(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
}

}  // namespace

bool CanMount(std::string* why_not) {
  if (access("/dev/fuse", R_OK | W_OK) != 0) {
    *why_not = "no access to /dev/fuse";
    return false;
  }
  if (DaemonBinary().empty()) {
    *why_not = "FLATCOW_BINARY is not set: run the tests through meson";
    return false;
  }
  return true;
}

std::string DaemonBinary() { return FromEnvironment("FLATCOW_BINARY"); }
std::string ToolBinary() { return FromEnvironment("FLATCOW_IMG_BINARY"); }

ThroughProgram::ThroughProgram(const std::string& command)
    : before_(DaemonBinary()) {
  const std::string script = directory_ / "flatcow";
  std::ofstream(script) << "#!/bin/sh\nexec " << command << " '" << before_
                        << "' \"$@\"\n";
  chmod(script.c_str(), 0755);
  setenv("FLATCOW_BINARY", script.c_str(), 1);
}

ThroughProgram::~ThroughProgram() {
  setenv("FLATCOW_BINARY", before_.c_str(), 1);
}

Daemon::Daemon(const std::string& source, std::vector<std::string> arguments,
               const std::string& mountpoint)
    : own_directory_(std::make_unique<TemporaryDirectory>()),
      mountpoint_(mountpoint) {
  if (mountpoint_.empty()) {
    mountpoint_ = *own_directory_ / "mnt";
    mkdir(mountpoint_.c_str(), 0755);
  }
  // Other users must be able to get as far as the mount and the socket.
  chmod(own_directory_->path().c_str(), 0755);
  const std::string ready_path = *own_directory_ / "ready";
  ReadySocket ready(ready_path);
  std::vector<std::string> words = {DaemonBinary(), "-f"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  words.push_back(source);
  words.push_back(mountpoint_);
  const std::string log = *own_directory_ / "log";
  pid_ = fork();
  if (pid_ == 0) {
    // Whoever runs the tests under nohup ignores it.
    signal(SIGHUP, SIG_DFL);
    const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, STDERR_FILENO);
    dup2(fd, STDOUT_FILENO);
    close(fd);
    setenv("NOTIFY_SOCKET", ready_path.c_str(), 1);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  mounted_ = ready.WaitReady(pid_, &status);
  if (!mounted_) {
    exit_code_ = ExitCode(status);
    pid_ = -1;
  }
}

Daemon::~Daemon() {
  if (pid_ > 0) Stop();
  // What a killed daemon leaves there; on a caller's place it is the caller's.
  umount2((*own_directory_ / "mnt").c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
}

std::string Daemon::Log() const {
  std::ifstream file(*own_directory_ / "log");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool Daemon::WaitForLog(const std::string& text) const {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (Log().find(text) == std::string::npos) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

int Daemon::Stop() {
  if (pid_ > 0) {
    // A file may still be on its way to being closed.
    while (umount2(mountpoint_.c_str(), UMOUNT_NOFOLLOW) != 0 &&
           errno == EBUSY) {
      std::this_thread::yield();
    }
  }
  return WaitForExit();
}

void Daemon::Signal(int signal) const { kill(pid_, signal); }

int Daemon::WaitForExit() {
  if (pid_ > 0) {
    int status = 0;
    waitpid(pid_, &status, 0);
    exit_code_ = ExitCode(status);
    pid_ = -1;
  }
  return exit_code_;
}

CommandResult Shell(const std::string& command) {
  CommandResult result;
  FILE* const pipe = popen(("( " + command + " ) 2>&1").c_str(), "r");
  char buffer[4096];
  size_t n = 0;
  while ((n = fread(buffer, 1, sizeof(buffer), pipe)) > 0) {
    result.output.append(buffer, n);
  }
  result.exit_code = ExitCode(pclose(pipe));
  return result;
}

std::string MustRun(const std::string& command) {
  const CommandResult result = Shell(command);
  EXPECT_EQ(result.exit_code, 0) << command << "\n" << result.output;
  return result.output;
}

bool HasProgram(const std::string& name) {
  return Shell("command -v " + name).exit_code == 0;
}

void MakeRawFile(const std::string& path, uint64_t tag, uint64_t size) {
  const std::vector<uint8_t> bytes = Pattern(tag, size);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  ASSERT_TRUE(file.good()) << path;
}

void MakeQed(const std::string& path, const std::string& backing,
             const std::string& backing_format, uint64_t size,
             uint32_t cluster_size) {
  CreateOptions options;
  options.format = "qed";
  options.backing_file = backing;
  options.backing_format = backing_format;
  if (size != 0) options.size = size;
  options.cluster_size = cluster_size;
  const auto created = CreateImage(PosixFileSystem(), path, options);
  ASSERT_TRUE(created.ok()) << created.status();
}

void MakeAddCow(const std::string& path, const std::string& backing,
                const std::string& image_file, uint64_t size,
                uint32_t cluster_size) {
  CreateOptions options;
  options.format = "add-cow";
  options.backing_file = backing;
  if (!backing.empty()) options.backing_format = "raw";
  options.data_file = image_file;
  if (size != 0) options.size = size;
  options.cluster_size = cluster_size;
  const auto created = CreateImage(PosixFileSystem(), path, options);
  ASSERT_TRUE(created.ok()) << created.status();
}

void MakeUnchecked(const std::string& path, const std::string& backing) {
  CreateOptions options;
  options.format = "qed";
  options.size = 65536;
  options.backing_file = backing;
  options.backing_format = "raw";
  options.unsafe_backing = true;
  const auto created = CreateImage(PosixFileSystem(), path, options);
  ASSERT_TRUE(created.ok()) << created.status();
}

}  // namespace flatcow
