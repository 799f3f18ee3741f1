// SPDX-License-Identifier: Apache-2.0
//
// What a service manager is told, and that its unit is in order.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mount/daemon.h"
#include "mount/loop_device.h"

namespace flatcow {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr int kMinute = 60'000;

// The service manager's end of NOTIFY_SOCKET.
class NotifySocket {
 public:
  // `name` is a path, or begins with '@' for one in the abstract name space.
  explicit NotifySocket(const std::string& name)
      : name_(name), socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    EXPECT_LT(name.size(), sizeof(address.sun_path));
    name.copy(address.sun_path, sizeof(address.sun_path));
    if (name[0] == '@') address.sun_path[0] = '\0';
    EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) +
                                          name.size())),
              0);
  }
  ~NotifySocket() { close(socket_); }
  NotifySocket(const NotifySocket&) = delete;
  NotifySocket& operator=(const NotifySocket&) = delete;

  const std::string& name() const { return name_; }

  // The next datagram; empty when none comes in this time.
  std::string Next(int milliseconds = kMinute) const {
    pollfd event = {socket_, POLLIN, 0};
    if (poll(&event, 1, milliseconds) != 1) return "";
    std::string text(8192, '\0');
    const ssize_t length = recv(socket_, text.data(), text.size(), 0);
    text.resize(length < 0 ? 0 : static_cast<size_t>(length));
    return text;
  }

 private:
  const std::string name_;
  const int socket_;
};

class MountServiceTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MakeRawFile(source_ / "base", 1, 1 << 20);
    MakeQed(source_ / "disk", "base", "raw");
    MustRun("mkdir " + mountpoint_);
  }

  void TearDown() override {
    umount2(mountpoint_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);  // only after a failure is there something to kill
    WaitForExit();
  }

  // As a service manager does. `words` follow the name of the program.
  void Start(const NotifySocket& socket, std::vector<std::string> words) {
    words.insert(words.begin(), DaemonBinary());
    pid_ = fork();
    if (pid_ != 0) return;
    setenv("NOTIFY_SOCKET", socket.name().c_str(), 1);
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  void StartInForeground(const NotifySocket& socket) {
    Start(socket, {"-f", source_.path(), mountpoint_});
  }

  int WaitForExit() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
  }

  bool MountAnswers() const {
    return access((mountpoint_ + "/disk.raw").c_str(), R_OK) == 0;
  }

  TemporaryDirectory source_;
  TemporaryDirectory work_;
  const std::string mountpoint_ = work_ / "mnt";
  pid_t pid_ = -1;
};

TEST_F(MountServiceTest, ReadyWhenTheMountAnswersAndNotEarlier) {
  const std::string abstract = absl::StrCat("@flatcow-test-", getpid());
  for (const std::string& name : {work_ / "notify", abstract}) {
    const NotifySocket socket(name);
    StartInForeground(socket);
    const std::string ready = socket.Next();
    EXPECT_THAT(ready, StartsWith("READY=1\n")) << name;
    EXPECT_TRUE(MountAnswers()) << name;
    EXPECT_THAT(ready, HasSubstr("STATUS=serving " + source_.path() + " at " +
                                 mountpoint_));
    EXPECT_THAT(ready, Not(HasSubstr("MAINPID")));
    kill(pid_, SIGTERM);
    EXPECT_EQ(socket.Next(), "STOPPING=1");
    EXPECT_EQ(WaitForExit(), 0);
  }
}

TEST_F(MountServiceTest, ReadinessIsSaidBehindAnAnswerOfTheMount) {
  if (!HasProgram("strace")) GTEST_SKIP() << "needs strace";
  const NotifySocket socket(work_ / "notify");
  const ThroughProgram strace(
      "strace -f -qq -e trace=sendto,newfstatat,mount -o " + (work_ / "trace"));
  StartInForeground(socket);
  EXPECT_THAT(socket.Next(), StartsWith("READY=1\n"));
  MustRun("umount " + mountpoint_);
  WaitForExit();
  // In the order of the trace: the mount, a stat of it that succeeds, READY.
  const std::string calls =
      MustRun("grep -oE 'mount\\(\"|stat.*\"" + mountpoint_ +
              "\".*= 0|READY=1' " + (work_ / "trace") +
              " | cut -c 1-5 | tr -d "
              "'\\n'");
  EXPECT_THAT(calls, HasSubstr("mount"));
  EXPECT_THAT(calls.substr(calls.find("mount")), HasSubstr("stataREADY"));
}

TEST_F(MountServiceTest, NothingIsReadyWhenTheMountFails) {
  const NotifySocket socket(work_ / "notify");
  Start(socket, {"-f", work_ / "nowhere", mountpoint_});
  EXPECT_EQ(WaitForExit(), 2);
  EXPECT_EQ(socket.Next(0), "");
}

TEST_F(MountServiceTest, TheBackgroundNamesItsProcess) {
  const NotifySocket socket(work_ / "notify");
  Start(socket, {source_.path(), mountpoint_});
  EXPECT_EQ(WaitForExit(), 0);
  const std::string ready = socket.Next();
  EXPECT_THAT(ready, AllOf(StartsWith("READY=1\n"), HasSubstr("\nMAINPID=")));
  const pid_t daemon =
      static_cast<pid_t>(std::atoi(ready.c_str() + ready.find("MAINPID=") + 8));
  ASSERT_GT(daemon, 1);
  EXPECT_EQ(MustRun(absl::StrCat("cat /proc/", daemon, "/comm")), "flatcow\n");
  kill(daemon, SIGTERM);
  EXPECT_EQ(socket.Next(), "STOPPING=1");
}

TEST_F(MountServiceTest, AnUnmountFromOutsideIsAStopToo) {
  const NotifySocket socket(work_ / "notify");
  StartInForeground(socket);
  EXPECT_THAT(socket.Next(), StartsWith("READY=1\n"));
  MustRun("umount " + mountpoint_);
  EXPECT_EQ(socket.Next(), "STOPPING=1");
  EXPECT_EQ(WaitForExit(), 0);
}

TEST_F(MountServiceTest, TheStatusNamesWhoHoldsViewsAfterSigterm) {
  const NotifySocket socket(work_ / "notify");
  StartInForeground(socket);
  EXPECT_THAT(socket.Next(), StartsWith("READY=1\n"));
  const int fd = open((mountpoint_ + "/disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  kill(pid_, SIGTERM);
  EXPECT_EQ(socket.Next(), "STOPPING=1");
  EXPECT_THAT(socket.Next(),
              AllOf(StartsWith("STATUS=detached; waiting for "),
                    HasSubstr(absl::StrCat("(pid ", getpid(), ")")),
                    EndsWith(mountpoint_ + "/disk.raw")));
  // Detached, and still there for the one who has it open.
  EXPECT_FALSE(MountAnswers());
  EXPECT_EQ(pwrite(fd, "still served", 12, 4096), 12);
  EXPECT_EQ(fsync(fd), 0);
  EXPECT_EQ(waitpid(pid_, nullptr, WNOHANG), 0);
  close(fd);
  EXPECT_EQ(WaitForExit(), 0);
}

TEST_F(MountServiceTest, ASecondSigtermSaysThatItLeaves) {
  const NotifySocket socket(work_ / "notify");
  StartInForeground(socket);
  EXPECT_THAT(socket.Next(), StartsWith("READY=1\n"));
  const int fd = open((mountpoint_ + "/disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  kill(pid_, SIGTERM);
  EXPECT_EQ(socket.Next(), "STOPPING=1");
  EXPECT_THAT(socket.Next(), StartsWith("STATUS=detached"));
  kill(pid_, SIGTERM);
  EXPECT_EQ(socket.Next(), "STATUS=leaving views that are in use");
  EXPECT_EQ(WaitForExit(), 0);
  close(fd);
}

TEST_F(MountServiceTest, ALoopDeviceIsNamedToo) {
  SKIP_WITHOUT_LOOP();
  const NotifySocket socket(work_ / "notify");
  StartInForeground(socket);
  EXPECT_THAT(socket.Next(), StartsWith("READY=1\n"));
  {
    const LoopDevice loop(mountpoint_ + "/disk.raw");
    kill(pid_, SIGTERM);
    EXPECT_EQ(socket.Next(), "STOPPING=1");
    EXPECT_THAT(socket.Next(), HasSubstr(loop.path()));
  }
  EXPECT_EQ(WaitForExit(), 0);
}

TEST_F(MountServiceTest, AStatusOfHostileNamesIsOneShortLine) {
  const NotifySocket socket(work_ / "notify");
  const std::string hostile = std::string(120, 'x') + "\nREADY=1\n\xff";
  MakeQed(source_ / hostile, "base", "raw");
  StartInForeground(socket);
  EXPECT_THAT(socket.Next(), StartsWith("READY=1\n"));
  std::vector<int> fds;
  for (const std::string& view :
       std::vector<std::string>{"disk.raw", hostile + ".raw"}) {
    fds.push_back(open((mountpoint_ + "/" + view).c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_GE(fds.back(), 0);
  }
  kill(pid_, SIGTERM);
  EXPECT_EQ(socket.Next(), "STOPPING=1");
  const std::string status = socket.Next();
  EXPECT_THAT(status, HasSubstr("xxx\\x0aREADY=1\\x0a\\xff.raw"));
  EXPECT_THAT(status, Not(HasSubstr("\n")));
  EXPECT_LT(status.size(), 4096u);
  for (const int fd : fds) close(fd);
  EXPECT_EQ(WaitForExit(), 0);
}

TEST_F(MountServiceTest, ASocketThatIsGoneDoesNotMatter) {
  setenv("NOTIFY_SOCKET", (work_ / "gone").c_str(), 1);
  MustRun(DaemonBinary() + " " + source_.path() + " " + mountpoint_);
  unsetenv("NOTIFY_SOCKET");
  EXPECT_TRUE(MountAnswers());
  MustRun("umount " + mountpoint_);
}

}  // namespace
}  // namespace flatcow
