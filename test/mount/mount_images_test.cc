// SPDX-License-Identifier: Apache-2.0
//
// Images as the daemon finds them: locked, damaged, in a circle, by the
// thousand.
#include <dirent.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "flatcow/status.h"
#include "mount/daemon.h"
#include "mount/open_errno.h"

namespace flatcow {
namespace {

class MountImagesTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MakeRawFile(source_ / "base", 1, 65536);
    MakeQed(source_ / "good", "base", "raw");
  }

  void Start() {
    daemon_ = std::make_unique<Daemon>(source_.path());
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  }

  TemporaryDirectory source_;
  std::unique_ptr<Daemon> daemon_;
};

// ---- Locks

TEST_F(MountImagesTest, NoVerbTouchesAnImageThatAGuestWritesTo) {
  MakeAddCow(source_ / "cow", "base", "data");
  Start();
  const int qed = open(daemon_->File("good.raw").c_str(), O_RDWR | O_CLOEXEC);
  const int cow = open(daemon_->File("cow.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(qed, 0);
  ASSERT_GE(cow, 0);
  for (const char* verb :
       {"flatten good", "flatten cow", "rebase -b '' good",
        "rebase -u -b x -F raw good", "commit good", "commit cow",
        "resize good +1M", "resize --shrink cow -4k",
        "amend -o backing_file=x good", "check -r all good",
        "convert -n -O qed base good", "convert --force -O qed base good",
        "convert -n -f raw -O raw base data", "resize -f raw base +1M",
        "convert good new", "compare good base", "measure good"}) {
    const CommandResult result =
        Shell("cd " + source_.path() + " && " + ToolBinary() + " " + verb);
    EXPECT_NE(result.exit_code, 0) << verb;
    EXPECT_NE(result.output.find("(flatcow (pid " +
                                 std::to_string(daemon_->pid()) + "))"),
              std::string::npos)
        << verb << ": " << result.output;
  }
  close(qed);
  close(cow);
  MustRun("cd " + source_.path() + " && cmp base " + daemon_->File("good.raw") +
          " && cmp base " + daemon_->File("cow.raw") + " && [ ! -e new ]");
}

TEST_F(MountImagesTest, ASecondDaemonWithTheSameImageIsTurnedAway) {
  Start();
  Daemon second(source_.path());
  ASSERT_TRUE(second.mounted()) << second.Log();
  const int writer =
      open(daemon_->File("good.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  EXPECT_EQ(OpenErrno(second.File("good.raw"), O_RDWR), EBUSY);
  EXPECT_EQ(OpenErrno(second.File("good.raw"), O_RDONLY), EBUSY);
  EXPECT_TRUE(
      second.WaitForLog("flatcow (pid " + std::to_string(daemon_->pid()) + ")"))
      << second.Log();
  close(writer);
  // The kernel tells the daemon of the close after close(2) has returned.
  while (OpenErrno(second.File("good.raw"), O_RDWR) == EBUSY) sched_yield();
  // Two readers get along, once the second daemon has let go of its writer's
  // lock.
  int reader = -1;
  do {
    reader = open(daemon_->File("good.raw").c_str(), O_RDONLY | O_CLOEXEC);
  } while (reader < 0 && errno == EBUSY);
  ASSERT_GE(reader, 0);
  while (OpenErrno(second.File("good.raw"), O_RDONLY) == EBUSY) sched_yield();
  EXPECT_EQ(OpenErrno(second.File("good.raw"), O_RDWR), EBUSY);
  close(reader);
}

TEST_F(MountImagesTest, QemuAndAViewRefuseEachOther) {
  if (!HasProgram("qemu-io")) GTEST_SKIP() << "qemu-io is not installed";
  Start();
  const std::string image = source_ / "good";
  const std::string view = daemon_->File("good.raw");
  {
    const int fd = open(view.c_str(), O_RDWR | O_CLOEXEC);
    ASSERT_GE(fd, 0);
    const CommandResult writer =
        Shell("qemu-io -f qed -c 'write 0 512' " + image);
    EXPECT_NE(writer.exit_code, 0);
    EXPECT_NE(writer.output.find("lock"), std::string::npos) << writer.output;
    EXPECT_NE(Shell("qemu-io -r -f qed -c 'read 0 512' " + image).exit_code, 0);
    EXPECT_EQ(Shell("qemu-io -r -U -f qed -c 'read 0 512' " + image).exit_code,
              0);
    close(fd);
  }
  // The kernel tells the daemon of the close after close(2) has returned.
  while (Shell("qemu-io -f qed -c 'read 0 512' " + image).exit_code != 0) {
  }
  TemporaryDirectory work;
  MustRun("mkfifo " + (work / "commands"));
  // A qemu-io that holds the image until the pipe is closed.
  FILE* const qemu = popen(("qemu-io -f qed " + image + " < " +
                            (work / "commands") + " > " + (work / "out"))
                               .c_str(),
                           "w");
  const int commands = open((work / "commands").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(commands, 0);
  ASSERT_EQ(write(commands, "read 0 512\n", 11), 11);
  while (Shell("grep -q 'read 512/512' " + (work / "out")).exit_code != 0) {
  }
  EXPECT_EQ(OpenErrno(view, O_RDWR), EBUSY);
  EXPECT_EQ(OpenErrno(view, O_RDONLY), EBUSY);
  EXPECT_TRUE(daemon_->WaitForLog("qemu-io (pid ")) << daemon_->Log();
  close(commands);
  pclose(qemu);
  EXPECT_EQ(OpenErrno(view, O_RDWR), 0);
}

TEST_F(MountImagesTest, TheToolIsRefusedWhileAViewIsWritten) {
  Start();
  const int fd = open(daemon_->File("good.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  const CommandResult check =
      Shell(ToolBinary() + " check " + (source_ / "good"));
  EXPECT_EQ(check.exit_code, 1);
  EXPECT_NE(check.output.find("flatcow (pid "), std::string::npos)
      << check.output;
  close(fd);
}

// ---- Damage

TEST_F(MountImagesTest, ADamagedImageIsListedAndExplainsItself) {
  MustRun("cp " + (source_ / "good") + " " + (source_ / "bad"));
  MustRun("printf '\\377\\377' | dd of=" + (source_ / "bad") +
          " bs=1 seek=4 conv=notrunc status=none");
  MustRun("cksum < " + (source_ / "bad") + " > " + (source_ / "bad.sum"));
  Start();
  struct stat stat;
  ASSERT_EQ(::stat(daemon_->File("bad.raw").c_str(), &stat), 0);
  EXPECT_EQ(stat.st_size, 0);
  EXPECT_EQ(stat.st_mode & 07777, 0u);
  EXPECT_EQ(OpenErrno(daemon_->File("bad.raw")), EINVAL);
  EXPECT_EQ(OpenErrno(daemon_->File("bad.raw"), O_RDWR), EINVAL);
  EXPECT_TRUE(daemon_->WaitForLog("cluster_size")) << daemon_->Log();
  MustRun("cksum < " + (source_ / "bad") + " | cmp - " + (source_ / "bad.sum"));
  MustRun("cmp " + (source_ / "base") + " " + daemon_->File("good.raw"));
}

TEST_F(MountImagesTest, EveryTruncationIsSurvived) {
  struct stat stat;
  ASSERT_EQ(::stat((source_ / "good").c_str(), &stat), 0);
  for (off_t length = 4; length < stat.st_size; length += 9973) {
    const std::string name = "cut" + std::to_string(length);
    MustRun("head -c " + std::to_string(length) + " " + (source_ / "good") +
            " > " + (source_ / name));
  }
  Start();
  for (off_t length = 4; length < stat.st_size; length += 9973) {
    const std::string name = "cut" + std::to_string(length);
    EXPECT_EQ(OpenErrno(daemon_->File(name + ".raw"), O_RDWR), EINVAL) << name;
    struct stat after;
    ASSERT_EQ(::stat((source_ / name).c_str(), &after), 0);
    EXPECT_EQ(after.st_size, length);
  }
  MustRun("cmp " + (source_ / "base") + " " + daemon_->File("good.raw"));
}

TEST_F(MountImagesTest, ABadEntryFailsTheReadThatNeedsItAndNoOther) {
  MakeQed(source_ / "bad", "base", "raw");
  {
    const auto image = OpenImage(PosixFileSystem(), source_ / "bad",
                                 {.access = Access::kReadWrite});
    ASSERT_TRUE(image.ok()) << image.status();
    const uint8_t byte = 1;
    ASSERT_TRUE((*image)->Write(0, absl::MakeConstSpan(&byte, 1)).ok());
  }
  // The L1 table is at 65536 of a fresh image.
  MustRun("printf '\\001' | dd of=" + (source_ / "bad") +
          " bs=1 seek=65536 conv=notrunc status=none");
  Start();
  const CommandResult read = Shell("cat " + daemon_->File("bad.raw"));
  EXPECT_NE(read.output.find("Input/output error"), std::string::npos);
  EXPECT_TRUE(daemon_->WaitForLog("L1 entry 0")) << daemon_->Log();
  MustRun("cmp " + (source_ / "base") + " " + daemon_->File("good.raw"));
}

TEST_F(MountImagesTest, CirclesAndMissingFiles) {
  const auto make = [&](const std::string& name, const std::string& backing) {
    CreateOptions options;
    options.format = "qed";
    options.size = 65536;
    options.backing_file = backing;
    options.backing_format = "qed";
    options.unsafe_backing = true;
    const auto created =
        CreateImage(PosixFileSystem(), source_ / name, options);
    ASSERT_TRUE(created.ok()) << created.status();
  };
  make("self", "self");
  make("a", "b");
  make("b", "a");
  make("hard1", "hard2");
  MustRun("ln " + (source_ / "hard1") + " " + (source_ / "hard2"));
  make("soft", "link");
  MustRun("ln -s soft " + (source_ / "link"));
  make("missing", "nowhere");
  Start();
  for (const char* name : {"self", "a", "b", "hard1", "hard2", "soft"}) {
    EXPECT_EQ(OpenErrno(daemon_->File(std::string(name) + ".raw")), ELOOP)
        << name;
  }
  EXPECT_EQ(OpenErrno(daemon_->File("missing.raw")), ENOENT);
  EXPECT_TRUE(daemon_->WaitForLog("nowhere")) << daemon_->Log();
}

TEST_F(MountImagesTest, OtherFormatsAreRefusedByName) {
  if (!HasProgram("qemu-img")) GTEST_SKIP() << "qemu-img is not installed";
  MakeQed(source_ / "top", "good", "qed");
  MustRun("cd " + source_.path() +
          " && qemu-img create -q -f vmdk cloud 1M && qemu-img create -q -f "
          "qcow2 -b cloud -F vmdk over");
  Start();
  EXPECT_EQ(OpenErrno(daemon_->File("over.raw")), ENOTSUP);
  EXPECT_TRUE(daemon_->WaitForLog("vmdk")) << daemon_->Log();
  EXPECT_EQ(OpenErrno(daemon_->File("top.raw")), 0);
}

// ---- Many

// System calls of one kind that the daemon makes while `work` runs.
std::map<std::string, int> CountCalls(pid_t pid, const std::string& work) {
  TemporaryDirectory directory;
  const std::string trace = directory / "trace";
  MustRun("strace -f -qq -e trace=%file,%desc -o " + trace + " -p " +
          std::to_string(pid) +
          " & tracer=$!; "
          "until grep -q 'TracerPid:.[1-9]' /proc/" +
          std::to_string(pid) + "/task/*/status; do :; done; " + work +
          "; kill $tracer; wait $tracer; true");
  std::map<std::string, int> calls;
  std::istringstream counted(
      MustRun("sed -nE 's/^[0-9]+ +([a-z0-9_]+)\\(.*/\\1/p' " + trace +
              " | sort | uniq -c"));
  int count = 0;
  std::string name;
  while (counted >> count >> name) calls[name] += count;
  return calls;
}

int OpenDescriptors(pid_t pid) {
  int count = 0;
  DIR* const stream = opendir(("/proc/" + std::to_string(pid) + "/fd").c_str());
  while (readdir(stream) != nullptr) ++count;
  closedir(stream);
  return count;
}

TEST_F(MountImagesTest, AThousandImagesCostAThousandTimesOne) {
  if (!HasProgram("strace")) GTEST_SKIP() << "strace is not installed";
  const auto calls_for = [&](int images) {
    TemporaryDirectory source;
    MakeRawFile(source / "base", 1, 65536);
    for (int i = 0; i < images; ++i) {
      MakeQed(source / ("disk" + std::to_string(i)), "base", "raw");
    }
    Daemon daemon(source.path());
    EXPECT_TRUE(daemon.mounted()) << daemon.Log();
    const int before = OpenDescriptors(daemon.pid());
    const auto calls = CountCalls(
        daemon.pid(), "test $(ls -f " + daemon.mountpoint() +
                          " | grep -c raw) = " + std::to_string(images));
    // Nothing is held for images that nobody has open.
    EXPECT_LE(OpenDescriptors(daemon.pid()), before);
    return calls;
  };
  const auto hundred = calls_for(100);
  const auto thousand = calls_for(1000);
  int total_hundred = 0;
  int total_thousand = 0;
  for (const auto& [name, count] : hundred) total_hundred += count;
  for (const auto& [name, count] : thousand) total_thousand += count;
  RecordProperty("calls_for_1000", total_thousand);
  EXPECT_GT(total_thousand, 1000);
  EXPECT_LT(total_thousand, 12 * total_hundred);
  // Each image is opened once: by location and then for reading.
  const auto opens = thousand.find("openat");
  ASSERT_NE(opens, thousand.end());
  EXPECT_LT(opens->second, 2 * 1000 + 200);
}

}  // namespace
}  // namespace flatcow
