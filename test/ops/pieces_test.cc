// SPDX-License-Identifier: Apache-2.0
//
// Going through a disk: what is handed to whom, and how it ends.
#include "ops/pieces.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "flatcow/status.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kUnit = 4096;

// A character for each unit of the disk: '.' nothing, '0' zeroes, 'd' data.
class Script {
 public:
  explicit Script(std::string units) : units_(std::move(units)) {}

  uint64_t size() const { return units_.size() * kUnit; }
  absl::StatusOr<Stretch> Survey(uint64_t offset) const {
    const char unit = units_[offset / kUnit];
    if (unit == '!') return MakeError(EIO, "bad unit");
    const Todo todo = unit == '.'   ? Todo::kNothing
                      : unit == '0' ? Todo::kZero
                                    : Todo::kData;
    return Stretch{todo, kUnit - offset % kUnit};
  }

 private:
  const std::string units_;
};

class PiecesTest : public testing::TestWithParam<int> {
 protected:
  // Return values: what was worked on, in the script's letters.
  std::string Work(const std::string& units, uint64_t most_data) {
    const Script script(units);
    std::string done(units.size(), '.');
    Mutex mutex;
    Must(WorkOnPieces(
        script.size(), {.parallel = GetParam()}, most_data,
        [&](uint64_t offset) { return script.Survey(offset); },
        [&](const Piece& piece, absl::Span<uint8_t> buffer) {
          EXPECT_EQ(buffer.size(), kPieceBytes);
          const Extent& extent = piece.extent;
          if (!piece.zero) {
            EXPECT_LE(extent.length, most_data);
            EXPECT_EQ(extent.offset / most_data,
                      (extent.end() - 1) / most_data);
          }
          MutexLock lock(mutex);
          for (uint64_t at = extent.offset; at < extent.end(); at += kUnit) {
            EXPECT_EQ(done[at / kUnit], '.') << "handed out twice";
            done[at / kUnit] = piece.zero ? '0' : 'd';
          }
          ++pieces_;
          return absl::OkStatus();
        }));
    return done;
  }

  int pieces_ = 0;
};

TEST_P(PiecesTest, EverythingToBeDoneIsDoneOnce) {
  for (const std::string units :
       {"", ".", "d", "0", "d.d0d", "..dddddddd00000..d", "0000d"}) {
    for (const uint64_t most : {kUnit, 4 * kUnit, kPieceBytes}) {
      EXPECT_EQ(Work(units, most), units) << most;
    }
  }
}

TEST_P(PiecesTest, WhatGoesOnIsOnePiece) {
  EXPECT_EQ(Work("dddd00000", 4 * kUnit), "dddd00000");
  EXPECT_EQ(pieces_, 2);
  EXPECT_EQ(Work("ddddddd.", 4 * kUnit), "ddddddd.");
  EXPECT_EQ(pieces_, 4);
}

TEST_P(PiecesTest, AFailureEndsTheWork) {
  const Script script("dd!ddddd");
  std::atomic<int> pieces{0};
  EXPECT_TRUE(Fails(WorkOnPieces(
                        script.size(), {.parallel = GetParam()}, kUnit,
                        [&](uint64_t offset) { return script.Survey(offset); },
                        [&](const Piece&, absl::Span<uint8_t>) {
                          ++pieces;
                          return absl::OkStatus();
                        }),
                    EIO, "bad unit"));
  EXPECT_LE(pieces.load(), 2);

  const Script good("dddddddddddddddd");
  EXPECT_TRUE(Fails(WorkOnPieces(
                        good.size(), {.parallel = GetParam()}, kUnit,
                        [&](uint64_t offset) { return good.Survey(offset); },
                        [&](const Piece& piece, absl::Span<uint8_t>) {
                          return piece.extent.offset == 3 * kUnit
                                     ? MakeError(ENOSPC, "full")
                                     : absl::OkStatus();
                        }),
                    ENOSPC, "full"));
}

TEST_P(PiecesTest, ProgressGoesUpToTheEnd) {
  const Script script("..dd0ddddd..ddd");
  std::vector<uint64_t> seen;
  Must(WorkOnPieces(
      script.size(),
      {.parallel = GetParam(),
       .progress =
           [&](uint64_t done, uint64_t total) {
             EXPECT_EQ(total, script.size());
             seen.push_back(done);
             return true;
           }},
      kUnit, [&](uint64_t offset) { return script.Survey(offset); },
      [](const Piece&, absl::Span<uint8_t>) { return absl::OkStatus(); }));
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  ASSERT_FALSE(seen.empty());
  EXPECT_EQ(seen.back(), script.size());
}

TEST_P(PiecesTest, TheCallerStopsIt) {
  const Script script(std::string(1000, 'd'));
  std::atomic<int> pieces{0};
  EXPECT_TRUE(
      Fails(WorkOnPieces(
                script.size(),
                {.parallel = GetParam(),
                 .progress = [](uint64_t, uint64_t) { return false; }},
                kUnit, [&](uint64_t offset) { return script.Survey(offset); },
                [&](const Piece&, absl::Span<uint8_t>) {
                  ++pieces;
                  return absl::OkStatus();
                }),
            EINTR));
  EXPECT_LE(pieces.load(), GetParam());
}

TEST_P(PiecesTest, TheCallerStopsItWhereThereIsNothingToDo) {
  const Script script(std::string(100'000, '.'));
  EXPECT_TRUE(Fails(
      WorkOnPieces(
          script.size(),
          {.parallel = GetParam(),
           .progress =
               [&](uint64_t done, uint64_t) {
                 EXPECT_LT(done, script.size() / 10);
                 return false;
               }},
          kUnit, [&](uint64_t offset) { return script.Survey(offset); },
          [](const Piece&, absl::Span<uint8_t>) { return absl::OkStatus(); }),
      EINTR));
}

INSTANTIATE_TEST_SUITE_P(Threads, PiecesTest, testing::Values(1, 2, 5));

}  // namespace
}  // namespace flatcow
