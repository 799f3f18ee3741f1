// SPDX-License-Identifier: Apache-2.0
//
// Damaged and malicious images: a clear error or a sound image, never a crash,
// and nothing is changed by an open that was refused.
#include "format/hostile_image.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "model/disk_model.h"
#include "model/draft_image.h"

namespace flatcow {
namespace {

struct Field {
  const char* name;
  uint64_t offset;
  int width;
};

constexpr Field kQedFields[] = {
    {"magic", 0, 4},
    {"cluster_size", 4, 4},
    {"table_size", 8, 4},
    {"header_size", 12, 4},
    {"features", 16, 8},
    {"compat_features", 24, 8},
    {"autoclear", 32, 8},
    {"l1_table_offset", 40, 8},
    {"image_size", 48, 8},
    {"backing_filename_offset", 56, 4},
    {"backing_filename_size", 60, 4},
};
constexpr Field kAddCowFields[] = {
    {"magic", 0, 4},
    {"backing_name_offset", 4, 4},
    {"backing_name_size", 8, 4},
    {"image_name_offset", 12, 4},
    {"image_name_size", 16, 4},
    {"cluster_bits", 20, 4},
    {"features", 24, 8},
    {"compat_features", 32, 8},
    {"header_size", 40, 4},
    {"backing_format", 44, 8},
    {"backing_format_end", 52, 8},
    {"image_format", 60, 8},
    {"image_format_end", 68, 8},
};

constexpr Field kDraftFields[] = {
    {"magic", 0, 8},
    {"version", 8, 4},
    {"backing_name_offset", 12, 4},
    {"backing_name_size", 16, 4},
    {"image_name_offset", 20, 4},
    {"image_name_size", 24, 4},
    {"features", 28, 8},
    {"optional_features", 36, 8},
    {"header_pages", 44, 4},
    {"backing_format", 48, 8},
    {"image_format", 64, 8},
};

// One cluster is allocated.
std::string DraftImage(Draft draft) {
  return DraftBytes({.draft = draft,
                     .backing = "base",
                     .backing_format = "raw",
                     .image = "img"}) +
         std::string("\x01", 1);
}

std::string LittleOf(uint64_t value, int width) {
  return Little64(value).substr(0, static_cast<size_t>(width));
}

uint64_t ValueAt(const std::string& bytes, const Field& field) {
  uint64_t value = 0;
  for (int i = field.width; i-- > 0;) {
    value = value << 8 |
            static_cast<uint8_t>(bytes[field.offset + static_cast<size_t>(i)]);
  }
  return value;
}

std::vector<uint64_t> HostileValues(uint64_t valid, std::mt19937_64& random) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  std::vector<uint64_t> values = {0,
                                  1,
                                  2,
                                  kMax,
                                  kMax - 1,
                                  uint64_t{1} << 63,
                                  (uint64_t{1} << 63) - 512,
                                  uint64_t{1} << 31,
                                  0xfffff000,
                                  valid - 1,
                                  valid + 1,
                                  valid * 2,
                                  valid / 2,
                                  valid + 4096,
                                  valid - 4096};
  for (int bit = 0; bit < 64; bit += 5) values.push_back(uint64_t{1} << bit);
  for (int i = 0; i < 6; ++i) values.push_back(random() >> (random() % 64));
  return values;
}

// Damages images in every way.
class DamageTest : public HostileImageTest {
 protected:
  // `bytes` with each field set to each hostile value in turn.
  void SetEveryField(const std::string& path, const std::string& bytes,
                     absl::Span<const Field> fields) {
    const uint64_t seed = SeedFor(0);
    std::mt19937_64 random(seed);
    for (const Field& field : fields) {
      for (const uint64_t value :
           HostileValues(ValueAt(bytes, field), random)) {
        SCOPED_TRACE(
            absl::StrCat(field.name, " = ", value, ", FLATCOW_SEED=", seed));
        std::string hostile = bytes;
        Overwrite(hostile, field.offset, LittleOf(value, field.width));
        files_.SetContents(path, hostile);
        files_.SetContents("/img", PatternText(2, kHostileBaseSize));
        Exercise(path);
        if (HasFatalFailure()) return;
      }
    }
  }

  void CutEverywhere(const std::string& path, const std::string& bytes) {
    for (size_t length = 0; length < bytes.size();
         length += length < 200 ? 1 : 512 - length % 512) {
      SCOPED_TRACE(absl::StrCat("cut at ", length));
      files_.SetContents(path, bytes.substr(0, length));
      files_.SetContents("/img", PatternText(2, kHostileBaseSize));
      Exercise(path);
      if (HasFatalFailure()) return;
    }
  }

  // Several random bytes at a time, in the header and in what follows.
  void Scramble(const std::string& path, const std::string& bytes,
                const std::vector<Extent>& places) {
    for (uint64_t round = 0; round < RoundsFor(300); ++round) {
      const uint64_t seed = SeedFor(round);
      SCOPED_TRACE(absl::StrCat("replay with FLATCOW_SEED=", seed));
      std::mt19937_64 random(seed);
      std::string hostile = bytes;
      for (uint64_t i = 0; i < 1 + random() % 4; ++i) {
        const Extent& place = places[random() % places.size()];
        hostile[place.offset + random() % place.length] = static_cast<char>(
            random() % 3 == 0 ? 1u << (random() % 8) : random());
      }
      files_.SetContents(path, hostile);
      files_.SetContents("/img", PatternText(2, kHostileBaseSize));
      Exercise(path);
      if (HasFatalFailure()) return;
    }
  }
};

TEST_F(DamageTest, EveryQedField) {
  SetEveryField("/a", RawQed().Bytes("base"), kQedFields);
}

TEST_F(DamageTest, EveryAddCowField) {
  SetEveryField("/a", RawAddCow().Bytes(), kAddCowFields);
}

TEST_F(DamageTest, EveryFieldOfTheDrafts) {
  SetEveryField("/a", DraftImage(Draft::kJune2012), kDraftFields);
  SetEveryField("/a", DraftImage(Draft::kJuly2012), kDraftFields);
}

TEST_F(DamageTest, QedCutEverywhere) {
  CutEverywhere("/a", RawQed().Bytes("base"));
}

TEST_F(DamageTest, AddCowCutEverywhere) {
  CutEverywhere("/a", RawAddCow().Bytes());
}

TEST_F(DamageTest, DraftsCutEverywhere) {
  CutEverywhere("/a", DraftImage(Draft::kJune2012));
  CutEverywhere("/a", DraftImage(Draft::kJuly2012));
}

TEST_F(DamageTest, ScrambledQed) {
  Scramble("/a", RawQed().Bytes("base"),
           {{0, 70}, {RawQed::kL1, 16}, {RawQed::kL2, 64}});
}

TEST_F(DamageTest, ScrambledAddCow) {
  Scramble("/a", RawAddCow().Bytes(), {{0, 84}, {4096, 16}});
}

TEST_F(DamageTest, ScrambledDrafts) {
  Scramble("/a", DraftImage(Draft::kJune2012), {{8, 40}, {4096, 1}});
  Scramble("/a", DraftImage(Draft::kJuly2012), {{8, 80}, {4096, 1}});
}

// An open for writing that is refused because of a file further down: what the
// image itself wants repaired must wait until the chain is known to be sound.
TEST_F(HostileImageTest, ARefusedOpenLeavesAutoclearBitsAlone) {
  RawQed image;
  image.header.autoclear_features = 4;
  files_.SetContents("/a", image.Bytes("missing"));
  Exercise("/a");
}

TEST_F(HostileImageTest, ARefusedOpenLeavesNeedCheckAlone) {
  RawQed image;
  image.header.features = qed::kFeatureNeedCheck;
  files_.SetContents("/a", image.Bytes("missing") + std::string(8192, 'L'));
  Exercise("/a");
}

TEST_F(HostileImageTest, ARefusedMakeWritableLeavesTheFileAlone) {
  RawQed image;
  image.header.features = qed::kFeatureNeedCheck;
  std::string bytes = image.Bytes();
  Overwrite(bytes, RawQed::kL2 + 24, Little64(12345));
  files_.SetContents("/a", bytes);
  const auto opened = Must(Open("/a", Access::kReadOnly));
  EXPECT_TRUE(Fails(opened->MakeWritable(), EROFS, "check -r all"));
  EXPECT_EQ(files_.Contents("/a"), bytes);
  EXPECT_EQ(ReadDisk(*opened, {0, 2}), "AA");
}

// ---- Names ----

TEST_F(HostileImageTest, NulInNames) {
  const std::string with_nul("ba\0se", 5);
  files_.SetContents("/a", RawQed().Bytes(with_nul));
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), EINVAL, "NUL"));
  Exercise("/a");
  files_.SetContents("/a", RawAddCow{.backing = with_nul}.Bytes());
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), EINVAL, "NUL"));
  Exercise("/a");
  files_.SetContents("/a", RawAddCow{.image = with_nul}.Bytes());
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), EINVAL, "NUL"));
  Exercise("/a");
}

TEST_F(HostileImageTest, UnknownFormatNames) {
  files_.SetContents("/a", RawAddCow{.backing_format = "vmdk"}.Bytes());
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), ENOTSUP, "'vmdk'"));
  EXPECT_TRUE(
      Fails(Open("/a", Access::kReadOnly), ENOTSUP, "raw, add-cow, qed"));
  Exercise("/a");
  files_.SetContents("/a", RawAddCow{.image_format = "vmdk"}.Bytes());
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), ENOTSUP, "'vmdk'"));
  Exercise("/a");
  OpenOptions options;
  options.format = "vmdk";
  EXPECT_TRUE(Fails(OpenImage(files_, "/good", options), ENOTSUP, "/good"));
}

TEST_F(HostileImageTest, FormatNamesAreComparedWhole) {
  for (const std::string name : {"ra", "rawx", "RAW", "raw "}) {
    files_.SetContents("/a", RawAddCow{.backing_format = name}.Bytes());
    const auto image = Open("/a", Access::kReadOnly);
    EXPECT_FALSE(image.ok()) << name;
    Exercise("/a");
  }
}

TEST_F(HostileImageTest, ARecordedFormatIsNotSecondGuessed) {
  // The guest of the backing file wrote a QED header into its first sectors.
  files_.SetContents("/base", RawQed().Bytes("/img"));
  files_.SetContents("/a", RawAddCow{.bits = ""}.Bytes());
  const auto image = Must(Open("/a", Access::kReadOnly));
  EXPECT_EQ(ReadDisk(*image, {0, 4}), std::string("QED\0", 4));
}

TEST_F(HostileImageTest, QcowMagicIsRefusedByName) {
  files_.SetContents("/q", "QFI\xfb" + std::string(1000, '\0'));
  EXPECT_TRUE(Fails(Open("/q", Access::kReadOnly), ENOTSUP, "qcow2"));
  files_.SetContents("/a", RawQed().Bytes("q", /*raw_backing=*/false));
  EXPECT_TRUE(Fails(Open("/a", Access::kReadOnly), ENOTSUP, "qcow2"));
  Exercise("/a");
}

}  // namespace
}  // namespace flatcow
