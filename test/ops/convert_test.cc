// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>

#include <cerrno>
#include <cstdint>
#include <string>

#include "flatcow/image_ops.h"
#include "ops/ops_fixture.h"
#include "support/fault_injection_file_system.h"
#include "support/recording_file_system.h"

namespace flatcow {
namespace {

class ConvertTest : public OpsTest {
 protected:
  ConvertTest() { MakeQed("/source", 20 * kCluster); }

  absl::StatusOr<ConvertResult> Convert(const std::string& target,
                                        const ConvertOptions& options) {
    return ConvertImage(files_, "/source", target, options);
  }
  static ConvertOptions To(const std::string& format) {
    ConvertOptions options;
    options.target.format = format;
    return options;
  }
  uint64_t OccupiedBy(const std::string& path) {
    return Must(files_.Stat(path)).allocated_bytes;
  }
};

TEST_F(ConvertTest, ReadsNothingButData) {
  Write("/source", 18 * kCluster, "x");
  const ConvertResult result = Must(Convert("/raw", To("raw")));
  EXPECT_EQ(result.size, 20 * kCluster);
  EXPECT_EQ(result.written_bytes, 17 * kCluster);
  EXPECT_EQ(OccupiedBy("/raw"), 17 * kCluster);
  EXPECT_EQ(ShownBy("/raw", "raw"), ShownBy("/source"));
}

TEST_F(ConvertTest, ZeroesInDataBecomeHoles) {
  Write("/source", 0, std::string(10 * kCluster, '\0'));
  EXPECT_EQ(Must(Convert("/raw", To("raw"))).written_bytes, 6 * kCluster);
  EXPECT_EQ(OccupiedBy("/raw"), 6 * kCluster);

  ConvertOptions options = To("raw");
  options.sparse_bytes = 8 * kCluster;
  Write("/source", 12 * kCluster, std::string(kCluster, '\0'));
  EXPECT_EQ(Must(Convert("/longer_runs", options)).written_bytes, 8 * kCluster)
      << "one run of 8 clusters is long enough, those of 2 and of 1 are not";

  options.sparse_bytes = 0;
  RecordingFileSystem recorder(files_);
  EXPECT_EQ(
      Must(ConvertImage(recorder, "/source", "/all", options)).written_bytes,
      16 * kCluster);
  EXPECT_THAT(
      recorder.Operations(),
      testing::Contains(testing::AllOf(
          testing::Field(&FileOperation::kind, FileOperation::Kind::kAllocate),
          testing::Field(&FileOperation::offset, 16 * kCluster),
          testing::Field(&FileOperation::length, 4 * kCluster))));
  EXPECT_EQ(ShownBy("/all", "raw"), ShownBy("/source"));
}

TEST_F(ConvertTest, KeepsABaseAndWritesWhatDiffers) {
  Write("/source", 3 * kCluster, "changed");
  Write("/source", 9 * kCluster, base_.substr(9 * kCluster, 2 * kCluster));
  std::string other = base_;
  Overwrite(other, 5 * kCluster, "another base");
  files_.SetContents("/other", other);
  for (const std::string base : {"base", "other"}) {
    ConvertOptions options = To("qed");
    options.target.cluster_size = kCluster;
    options.target.backing_file = base;
    options.target.backing_format = "raw";
    const ConvertResult result = Must(Convert("/on_" + base, options));
    EXPECT_EQ(result.written_bytes, base == "base" ? kCluster : 2 * kCluster);
    EXPECT_EQ(InfoOf("/on_" + base).backing->name, base);
    EXPECT_EQ(ShownBy("/on_" + base), ShownBy("/source"));
    EXPECT_TRUE(IsClean(files_, "/on_" + base));
  }
}

TEST_F(ConvertTest, WritesOverAnExistingTarget) {
  files_.SetContents("/target", PatternText(7, 25 * kCluster));
  ConvertOptions options = To("raw");
  options.create_target = false;
  EXPECT_EQ(Must(Convert("/target", options)).size, 25 * kCluster);
  const std::string found = files_.Contents("/target");
  EXPECT_EQ(found.substr(0, 20 * kCluster), ShownBy("/source"));
  EXPECT_EQ(found.substr(20 * kCluster),
            PatternText(7, 25 * kCluster).substr(20 * kCluster));

  MakeQed("/small", 19 * kCluster);
  options.target.format = "qed";
  EXPECT_TRUE(Refuses([&] { return Convert("/small", options); }, ENOSPC,
                      "/small: has 77824 bytes, the source 81920"));
}

TEST_F(ConvertTest, AnImageFileThatWasThereIsOverwrittenWhole) {
  files_.SetContents("/data", PatternText(7, 20 * kCluster));
  ConvertOptions options = To("add-cow");
  options.target.data_file = "data";
  for (int time = 1; time <= 2; ++time) {
    Must(Convert("/target", options));
    EXPECT_EQ(ShownBy("/target"), ShownBy("/source"));
    EXPECT_EQ(files_.Contents("/data"), ShownBy("/source"));
    files_.SetContents("/data", PatternText(8, 20 * kCluster));
    options.target.force = true;
  }
}

TEST_F(ConvertTest, OverwritesOnlyWhenForced) {
  files_.SetContents("/target", "precious");
  ConvertOptions options = To("raw");
  EXPECT_TRUE(
      Refuses([&] { return Convert("/target", options); }, EEXIST, "/target"));
  options.target.force = true;
  Must(Convert("/target", options));
  EXPECT_EQ(ShownBy("/target", "raw"), ShownBy("/source"));
}

TEST_F(ConvertTest, NeverOverwritesItsSource) {
  for (const bool create : {true, false}) {
    for (const std::string target : {"/source", "/base"}) {
      ConvertOptions options = To("raw");
      options.target.force = true;
      options.create_target = create;
      EXPECT_TRUE(Refuses([&] { return Convert(target, options); }, EINVAL,
                          target + ": is a file of the source"));
    }
  }
}

TEST_F(ConvertTest, FailureLeavesNoTarget) {
  FaultInjectionFileSystem faulty(files_);
  const uint64_t writes = [&] {
    Must(ConvertImage(faulty, "/source", "/target", To("qed")).status());
    Must(files_.Remove("/target"));
    return faulty.Count(kWriteFault);
  }();
  faulty.Inject({.kinds = kWriteFault, .nth = writes, .error = ENOSPC});
  EXPECT_TRUE(Refuses(
      [&] { return ConvertImage(faulty, "/source", "/target", To("qed")); },
      ENOSPC, "/target"));

  ConvertOptions stopped = To("add-cow");
  stopped.target.data_file = "new";
  stopped.work.progress = [](uint64_t, uint64_t) { return false; };
  EXPECT_TRUE(Refuses([&] { return Convert("/target", stopped); }, EINTR, ""));
}

TEST_F(ConvertTest, AWriterInTheWayIsNamed) {
  const auto writer = Open("/source", Access::kReadWrite);
  EXPECT_TRUE(
      Refuses([&] { return Convert("/new", To("raw")); }, EBUSY, "/source"));
  ConvertOptions shared = To("raw");
  shared.share_writes = true;
  Must(Convert("/new", shared));
}

}  // namespace
}  // namespace flatcow
