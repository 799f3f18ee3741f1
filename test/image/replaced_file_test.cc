// SPDX-License-Identifier: Apache-2.0
//
// A file that gives its place to another one while it is being opened: its
// lock says nothing of the file that is there now.
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <string>
#include <utility>

#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "image/open_fixture.h"
#include "model/image_testing.h"
#include "support/file_system_wrapper.h"

namespace flatcow {
namespace {

// Once `victim` has been opened, "/new" takes its place.
class ReplacingFileSystem final : public FileSystemWrapper {
 public:
  ReplacingFileSystem(FileSystem& files, std::string victim)
      : FileSystemWrapper(files), victim_(std::move(victim)) {}

  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path,
                                             Access access) override {
    auto file = files_.Open(path, access);
    if (path == victim_ && files_.Stat("/new").ok()) {
      Must(files_.Replace("/new", victim_));
    }
    return file;
  }

 private:
  const std::string victim_;
};

class ReplacedFileTest : public OpenTest {};

TEST_F(ReplacedFileTest, IsNotOpened) {
  MakeQed("/a", 8 * kCluster);
  for (const std::string victim : {"/a", "/base"}) {
    const std::string contents = files_.Contents(victim);
    files_.SetContents("/new", contents);
    ReplacingFileSystem replacing(files_, victim);
    EXPECT_TRUE(Fails(OpenImage(replacing, "/a", Writable()), EBUSY, victim));
    EXPECT_TRUE(Fails(files_.Stat("/new"), ENOENT));
    Must(OpenImage(replacing, "/a", Writable()).status());
  }
}

TEST_F(ReplacedFileTest, IsNotRepaired) {
  MakeQed("/a", 8 * kCluster);
  files_.SetContents("/new", files_.Contents("/a"));
  ReplacingFileSystem replacing(files_, "/a");
  CheckOptions repair;
  repair.repair = Repair::kAll;
  EXPECT_TRUE(Fails(CheckImage(replacing, "/a", repair), EBUSY, "/a"));
  Must(CheckImage(replacing, "/a", repair).status());
}

}  // namespace
}  // namespace flatcow
