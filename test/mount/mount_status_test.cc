// SPDX-License-Identifier: Apache-2.0
//
// What .flatcow says of a daemon at work.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "mount/daemon.h"
#include "mount/read_metric.h"
#include "nlohmann/json.hpp"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 65536;

class MountStatusTest : public testing::Test {
 protected:
  void SetUp() override {
    SKIP_WITHOUT_FUSE();
    MakeRawFile(source_ / "base", 1, 16 * kCluster);
    MakeQed(source_ / "disk", "base", "raw");
  }

  void Start(const std::vector<std::string>& arguments = {}) {
    daemon_ = std::make_unique<Daemon>(source_.path(), arguments);
    ASSERT_TRUE(daemon_->mounted()) << daemon_->Log();
  }

  std::string Content(const std::string& file) const {
    std::ifstream stream(daemon_->File(file));
    std::stringstream content;
    content << stream.rdbuf();
    return content.str();
  }
  nlohmann::json Status() const {
    return nlohmann::json::parse(Content(".flatcow/status.json"));
  }

  TemporaryDirectory source_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(MountStatusTest, CountsWhatIsDone) {
  Start({"-o", "commit=3600"});
  const std::string disk = daemon_->File("disk.raw");
  const int fd = open(disk.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  void* memory = nullptr;
  ASSERT_EQ(posix_memalign(&memory, 4096, kCluster), 0);
  const std::unique_ptr<void, decltype(&free)> buffer(memory, free);
  // The first touches a new cluster in part, the second all of one.
  ASSERT_EQ(pwrite(fd, memory, 4096, 4096), 4096);
  ASSERT_EQ(pwrite(fd, memory, kCluster, kCluster), ssize_t{kCluster});
  ASSERT_EQ(pread(fd, memory, 8192, 0), 8192);

  EXPECT_EQ(ReadRequestCount(*daemon_, "open", 1), 1u);
  EXPECT_EQ(ReadRequestCount(*daemon_, "write", 2), 2u);
  EXPECT_EQ(ReadRequestCount(*daemon_, "read", 1), 1u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_written_bytes_total"),
            4096 + kCluster);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_read_bytes_total"), 8192u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_allocated_clusters_total"), 2u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_copied_bytes_total"),
            kCluster - 4096);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_open_views"), 1u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_dirty_views"), 1u);
  EXPECT_GT(ReadMetric(*daemon_, "flatcow_metadata_cache_dirty_pages"), 0u);
  EXPECT_GT(ReadMetric(*daemon_, "flatcow_metadata_cache_hits_total"), 0u);
  EXPECT_GT(ReadMetric(*daemon_, "flatcow_metadata_cache_misses_total"), 0u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_metadata_cache_evictions_total"), 0u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_metadata_cache_pages"),
            (64u << 20) / 4096);
  const uint64_t rounds = ReadMetric(*daemon_, "flatcow_flush_rounds_total");
  ASSERT_EQ(fsync(fd), 0);
  EXPECT_EQ(ReadRequestCount(*daemon_, "fsync", 1), 1u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_flush_rounds_total"), rounds + 1);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_metadata_cache_dirty_pages"), 0u);
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_dirty_views"), 0u);
  close(fd);
  // Of images that are closed, too.
  EXPECT_EQ(ReadMetric(*daemon_, "flatcow_allocated_clusters_total"), 2u);
}

TEST_F(MountStatusTest, MetricsAreWhatPrometheusReads) {
  MakeUnchecked(source_ / "we\"ird\\\n\xff", "gone");
  Start();
  EXPECT_EQ(open(daemon_->File("we\"ird\\\n\xff.raw").c_str(), O_RDONLY), -1);
  MustRun("dd if=" + daemon_->File("disk.raw") +
          " of=/dev/null bs=64k status=none");
  EXPECT_GT(ReadRequestCount(*daemon_, "read", 1), 0u);
  const std::string reader =
      "/usr/bin/python3 -c 'import prometheus_client.parser as parser'";
  if (Shell(reader).exit_code != 0) {
    GTEST_SKIP() << "python3-prometheus-client is not installed";
  }
  // Each family has its type and no sample twice; what it makes of the labels
  // is what the daemon meant; a histogram's parts agree.
  const std::string script = source_ / "check.py";
  std::ofstream(script) << R"(
import collections, sys
from prometheus_client.parser import text_string_to_metric_families
families = {f.name: f for f in text_string_to_metric_families(sys.stdin.read())}
for family in families.values():
    assert family.type in ("counter", "gauge", "histogram"), family
    assert family.documentation, family
    names = [(s.name, tuple(sorted(s.labels.items()))) for s in family.samples]
    assert len(names) == len(set(names)), family
requests = families["flatcow_request_duration_seconds"]
assert requests.type == "histogram"
buckets = collections.defaultdict(list)
counts, sums = {}, {}
for s in requests.samples:
    operation = s.labels["operation"]
    if s.name.endswith("_bucket"):
        buckets[operation].append((float(s.labels["le"]), s.value))
    elif s.name.endswith("_count"):
        counts[operation] = s.value
    else:
        sums[operation] = s.value
assert set(buckets) == set(counts) == set(sums)
for operation, values in buckets.items():
    assert values == sorted(values) and values[-1][0] == float("inf"), values
    assert [v for _, v in values] == sorted(v for _, v in values), values
    assert values[-1][1] == counts[operation], operation
    assert (sums[operation] > 0) == (counts[operation] > 0), operation
assert counts["read"] > 0
errors = families["flatcow_errors"].samples
assert [s.labels["view"] for s in errors] == ['we"ird\\\\x0a\\xff.raw'], errors
print(len(families))
)";
  EXPECT_GT(std::stoi(MustRun("/usr/bin/python3 " + script + " < " +
                              daemon_->File(".flatcow/metrics"))),
            15);
}

TEST_F(MountStatusTest, StatusIsJson) {
  MakeUnchecked(source_ / "broken", "gone");
  Start();
  EXPECT_EQ(open(daemon_->File("broken.raw").c_str(), O_RDONLY), -1);
  const int fd = open(daemon_->File("disk.raw").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(pwrite(fd, "x", 1, 0), 1);
  EXPECT_EQ(ReadRequestCount(*daemon_, "write", 1), 1u);
  nlohmann::json status = Status();
  EXPECT_EQ(status["pid"], daemon_->pid());
  EXPECT_EQ(status["source"], source_.path());
  EXPECT_EQ(status["read-only"], false);
  EXPECT_EQ(status["errors"], nlohmann::json({{"broken.raw", 1}}));
  EXPECT_EQ(status["bytes-written"], 1);
  EXPECT_EQ(status["requests"]["write"]["count"], 1);
  ASSERT_EQ(status["open-views"].size(), 1u);
  const nlohmann::json view = status["open-views"][0];
  EXPECT_EQ(view["view"], "disk.raw");
  EXPECT_EQ(view["image"], source_ / "disk");
  EXPECT_EQ(view["format"], "qed");
  EXPECT_EQ(view["virtual-size"], 16 * kCluster);
  EXPECT_EQ(view["opens"], 1);
  EXPECT_EQ(view["writable"], true);
  EXPECT_EQ(view["dirty-metadata"], true);
  EXPECT_EQ(view["allocated-clusters"], 1);
  close(fd);
}

TEST_F(MountStatusTest, IsThereButNotShown) {
  MustRun("mkdir " + (source_ / ".flatcow"));
  MakeQed(source_ / ".flatcow/mine", "../base", "raw");
  Start();
  EXPECT_EQ(MustRun("ls -A " + daemon_->mountpoint()), "disk.raw\n");
  EXPECT_EQ(MustRun("ls -A " + daemon_->File(".flatcow")),
            "metrics\nstatus.json\n");
  EXPECT_EQ(MustRun("find " + daemon_->File(".flatcow") + " -type f | wc -l"),
            "2\n");
  for (const char* file : {"metrics", "status.json"}) {
    const std::string path = daemon_->File(std::string(".flatcow/") + file);
    struct stat info;
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode, S_IFREG | 0444u);
    EXPECT_EQ(info.st_size, 0);
    EXPECT_FALSE(Content(std::string(".flatcow/") + file).empty());
  }
}

TEST_F(MountStatusTest, NothingCanBeChanged) {
  Start();
  const std::string metrics = daemon_->File(".flatcow/metrics");
  const auto fails = [](int result, int error) {
    EXPECT_EQ(result, -1);
    EXPECT_EQ(errno, error);
  };
  fails(chmod(metrics.c_str(), 0666), EPERM);
  fails(truncate(metrics.c_str(), 10), geteuid() == 0 ? EPERM : EACCES);
  fails(unlink(metrics.c_str()), geteuid() == 0 ? EPERM : EACCES);
  fails(mkdir(daemon_->File(".flatcow/x").c_str(), 0755),
        geteuid() == 0 ? EPERM : EACCES);
  fails(open(metrics.c_str(), O_RDWR), geteuid() == 0 ? EPERM : EACCES);
  const int fd = open(metrics.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_EQ(fsync(fd), 0);
  fails(static_cast<int>(lseek(fd, 0, SEEK_DATA)), EINVAL);
  close(fd);
  // And views can still be asked for their holes.
  const int view = open(daemon_->File("disk.raw").c_str(), O_RDONLY);
  EXPECT_EQ(lseek(view, 0, SEEK_DATA), 0);
  close(view);
}

TEST_F(MountStatusTest, AnOpenFileStaysWhatItWas) {
  Start();
  const int fd =
      open(daemon_->File(".flatcow/metrics").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::vector<char> first(1 << 20);
  std::vector<char> second(1 << 20);
  const ssize_t length = pread(fd, first.data(), first.size(), 0);
  ASSERT_GT(length, 1000);
  MustRun("cat " + daemon_->File("disk.raw") + " > /dev/null");
  EXPECT_EQ(pread(fd, second.data(), second.size(), 0), length);
  EXPECT_EQ(first, second);
  EXPECT_EQ(pread(fd, second.data(), second.size(), length), 0);
  EXPECT_EQ(pread(fd, second.data(), 10, 500), 10);
  EXPECT_EQ(std::string(second.data(), 10),
            std::string(first.data() + 500, 10));
  close(fd);
}

}  // namespace
}  // namespace flatcow
