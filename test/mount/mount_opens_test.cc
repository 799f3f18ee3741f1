// SPDX-License-Identifier: Apache-2.0
//
// Every file that the daemon opens, seen by strace, while it serves images that
// would have it open others. Descriptors that say where a file is, and no more
// (O_PATH), do not count: nothing is read through them, and no device or FIFO
// notices.
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "mount/daemon.h"

namespace flatcow {
namespace {

using testing::ElementsAre;
using testing::IsSubsetOf;

struct Opened {
  std::set<std::string> inside;   // names in SOURCE
  std::set<std::string> outside;  // each number in them is an N
};

class MountOpensTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    if (!HasProgram("strace")) GTEST_SKIP() << "strace is not installed";
    MustRun("mkdir " + source() + " " + allowed());
    MakeRawFile(source() + "/base", 1, 65536);
    MakeQed(source() + "/good", "base", "raw");
  }

  std::string source() const { return root_ / "source"; }
  std::string allowed() const { return root_ / "allowed"; }

  // Mounts, lists, and opens every view in both ways.
  Opened WatchTheDaemon() {
    TemporaryDirectory work;
    const std::string trace = work / "trace";
    {
      const ThroughProgram traced(
          "strace -f -qq -y -e signal=none "
          "-e trace='?open,openat,openat2,?creat,open_by_handle_at' -o " +
          trace);
      Daemon daemon(source(), {"-o", "allow=" + allowed()});
      EXPECT_TRUE(daemon.mounted()) << daemon.Log();
      DIR* const stream = opendir(daemon.mountpoint().c_str());
      std::vector<std::string> views;
      while (const dirent* entry = readdir(stream)) {
        if (entry->d_type == DT_REG) views.emplace_back(entry->d_name);
      }
      closedir(stream);
      for (const std::string& view : views) {
        for (const int flags : {O_RDONLY, O_RDWR}) {
          const int fd = open(daemon.File(view).c_str(), flags | O_CLOEXEC);
          char byte;
          if (fd >= 0 && pread(fd, &byte, 1, 0) < 0) ADD_FAILURE() << view;
          if (fd >= 0) close(fd);
        }
      }
    }
    return Read(trace);
  }

  // A line: PID openat(..., "...", FLAGS) = 7</where/it/is>
  Opened Read(const std::string& trace) const {
    static const std::regex kResult(" = [0-9]+<(.*)>$");
    static const std::regex kNumber("[0-9]+");
    Opened opened;
    std::ifstream file(trace);
    for (std::string line; std::getline(file, line);) {
      std::smatch result;
      if (absl::StrContains(line, "O_PATH") ||
          !std::regex_search(line, result, kResult)) {
        continue;
      }
      const std::string path = result[1];
      if (path == source() || absl::StartsWith(path, source() + "/")) {
        opened.inside.insert(path.substr(source().size()));
      } else {
        opened.outside.insert(std::regex_replace(path, kNumber, "N"));
      }
    }
    return opened;
  }

  TemporaryDirectory root_;
};

TEST_F(MountOpensTest, NothingButWhatItServes) {
  const Opened benign = WatchTheDaemon();
  EXPECT_THAT(benign.inside, ElementsAre("", "/base", "/good"));
  EXPECT_TRUE(benign.outside.contains("/dev/fuse"));

  MakeRawFile(root_ / "outside", 2, 65536);
  MakeRawFile(allowed() + "/base", 3, 65536);
  MustRun("cd " + source() +
          "; ln -s /etc/shadow shadow; ln -s ../outside up; ln -s .. parent; "
          "ln -s /proc/self/environ environ; ln -s /dev/zero zero; "
          "mkfifo fifo; mknod device c 1 5; "
          "python3 -c 'import socket as s; "
          "s.socket(s.AF_UNIX).bind(\"socket\")'");
  const std::vector<std::string> targets = {"/etc/shadow",
                                            "../outside",
                                            "parent/outside",
                                            "shadow",
                                            "up",
                                            "environ",
                                            "zero",
                                            "/dev/zero",
                                            "fifo",
                                            "device",
                                            "socket",
                                            "/proc/self/mem",
                                            "/proc/self/fd/0",
                                            "/proc/self/root/etc/shadow",
                                            "/dev/stdin",
                                            "../source/../outside",
                                            "new\nline",
                                            "\033[31mred",
                                            "/",
                                            ".",
                                            ".."};
  std::set<std::string> regular = {"", "/base", "/good", "/allowed"};
  for (size_t i = 0; i < targets.size(); ++i) {
    const std::string name = absl::StrCat("/link", i);
    MakeUnchecked(source() + name, targets[i]);
    regular.insert(name);
  }
  MakeUnchecked(source() + "/allowed", allowed() + "/base");

  Opened hostile = WatchTheDaemon();
  EXPECT_EQ(hostile.inside, regular);
  const std::regex number("[0-9]+");
  EXPECT_EQ(hostile.outside.erase(
                std::regex_replace(allowed() + "/base", number, "N")),
            1u);
  // What the program itself needs: its libraries, /dev/fuse and the like.
  EXPECT_THAT(hostile.outside, IsSubsetOf(benign.outside));
}

}  // namespace
}  // namespace flatcow
