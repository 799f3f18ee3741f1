// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Options Parsed(std::vector<std::string> words) {
  words.insert(words.begin(), "flatcow");
  const auto options = ParseOptions(words);
  EXPECT_TRUE(options.ok()) << options.status();
  return options.value_or(Options());
}

std::string ErrorOf(std::vector<std::string> words) {
  words.insert(words.begin(), "flatcow");
  const auto options = ParseOptions(words);
  EXPECT_EQ(ErrnoOf(options.status()), EINVAL);
  return std::string(options.status().message());
}

TEST(OptionsTest, OperandsAloneGiveTheDefaults) {
  const Options options = Parsed({"/src", "/mnt"});
  EXPECT_EQ(options.source, "/src");
  EXPECT_EQ(options.mountpoint, "/mnt");
  EXPECT_FALSE(options.foreground);
  EXPECT_FALSE(options.read_only);
  EXPECT_TRUE(options.lock);
  EXPECT_FALSE(options.shrink);
  EXPECT_EQ(options.cache, CachePolicy::kAuto);
  EXPECT_EQ(options.commit_seconds, 5u);
  EXPECT_EQ(options.max_threads, 0u);
  EXPECT_TRUE(options.passthrough);
  EXPECT_EQ(options.metadata_cache_bytes, size_t{64} << 20);
  EXPECT_THAT(options.mount_options, IsEmpty());
}

TEST(OptionsTest, EveryOptionIsUnderstood) {
  const Options options = Parsed(
      {"-f", "-o",
       "ro,allow_other,uid=1,gid=2,umask=027,allow=/a,allow=/b,lock=off", "-o",
       "cache=none,max_threads=3,commit=9,passthrough=off,"
       "metadata_cache=2M,shrink",
       "/src", "/mnt"});
  EXPECT_TRUE(options.foreground);
  EXPECT_TRUE(options.read_only);
  EXPECT_TRUE(options.allow_other);
  EXPECT_EQ(options.uid, 1u);
  EXPECT_EQ(options.gid, 2u);
  EXPECT_EQ(options.umask, 027u);
  EXPECT_THAT(options.allow, ElementsAre("/a", "/b"));
  EXPECT_FALSE(options.lock);
  EXPECT_EQ(options.cache, CachePolicy::kNone);
  EXPECT_EQ(options.max_threads, 3u);
  EXPECT_EQ(options.commit_seconds, 9u);
  EXPECT_FALSE(options.passthrough);
  EXPECT_EQ(options.metadata_cache_bytes, size_t{2} << 20);
  EXPECT_TRUE(options.shrink);
  EXPECT_THAT(options.mount_options, ElementsAre("ro"));
}

TEST(OptionsTest, TheMetadataCacheIsASize) {
  const std::pair<const char*, uint64_t> sizes[] = {
      {"1048576", 1 << 20}, {"1024k", 1 << 20}, {"1M", 1 << 20},
      {"3m", 3 << 20},      {"2G", 2ull << 30}, {"64g", 64ull << 30}};
  for (const auto& [text, bytes] : sizes) {
    const std::string option = std::string("metadata_cache=") + text;
    EXPECT_EQ(Parsed({"-o", option, "/s", "/m"}).metadata_cache_bytes, bytes);
  }
  for (const char* text : {"", "M", "1", "1023k", "1048575", "65G", "1T", "-1M",
                           "1.5M", "0x100000", "1MM", "99999999999999999999"}) {
    const std::string option = std::string("metadata_cache=") + text;
    EXPECT_THAT(ErrorOf({"/s", "/m", "-o", option}), HasSubstr(option));
  }
}

TEST(OptionsTest, EphemeralMayNameADirectory) {
  EXPECT_EQ(Parsed({"/s", "/m"}).ephemeral, std::nullopt);
  EXPECT_EQ(Parsed({"/s", "/m", "-o", "ephemeral"}).ephemeral, "");
  EXPECT_EQ(Parsed({"/s", "/m", "-o", "ephemeral=/d"}).ephemeral, "/d");
  EXPECT_EQ(Parsed({"/s", "/m", "-o", "ro,rw,ephemeral"}).ephemeral, "");
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "ephemeral="}),
              HasSubstr("ephemeral[=DIR]"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "ephemeral,ro"}),
              HasSubstr("exclude each other"));
}

TEST(OptionsTest, RawImagesAreForEphemeralViewsOnly) {
  EXPECT_THAT(Parsed({"/s", "/m", "-o", "raw=*.img,ephemeral,raw=a/*"}).raw,
              ElementsAre("*.img", "a/*"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "raw=*.img"}),
              HasSubstr("ephemeral only"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "raw,ephemeral"}),
              HasSubstr("raw=GLOB"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "raw=,ephemeral"}), HasSubstr("raw="));
}

TEST(OptionsTest, DebugStaysInTheForeground) {
  const Options options = Parsed({"-d", "/src", "/mnt"});
  EXPECT_TRUE(options.debug);
  EXPECT_TRUE(options.foreground);
}

// What mount.fuse3 passes for `mount -t fuse.flatcow SRC MNT -o ro`.
TEST(OptionsTest, OptionsMayFollowTheOperands) {
  const Options options =
      Parsed({"/src", "/mnt", "-o", "ro,nofail,_netdev,dev,suid"});
  EXPECT_EQ(options.source, "/src");
  EXPECT_TRUE(options.read_only);
  EXPECT_THAT(options.mount_options, ElementsAre("ro", "dev", "suid"));
}

TEST(OptionsTest, LettersAndValuesMayBeJoined) {
  EXPECT_THAT(Parsed({"-fodev", "/s", "/m"}).mount_options, ElementsAre("dev"));
}

TEST(OptionsTest, TwoDashesEndTheOptions) {
  const Options options = Parsed({"--", "-o", "-f"});
  EXPECT_EQ(options.source, "-o");
  EXPECT_EQ(options.mountpoint, "-f");
  EXPECT_FALSE(options.foreground);
}

TEST(OptionsTest, WordsOfMountMeanWhatTheyMeanThere) {
  const Options options =
      Parsed({"/s", "/m", "-o",
              "defaults,noauto,x-systemd.automount,comment=hi,relatime,"
              "lazytime,users,exec"});
  EXPECT_THAT(options.mount_options,
              ElementsAre("noexec", "nosuid", "nodev", "exec"));
}

TEST(OptionsTest, TheLastOfReadOnlyAndReadWriteCounts) {
  EXPECT_FALSE(Parsed({"/s", "/m", "-oro,rw"}).read_only);
  EXPECT_TRUE(Parsed({"/s", "/m", "-orw,ro"}).read_only);
}

TEST(OptionsTest, CommasInQuotesOrBehindABackslashBelongToTheValue) {
  const Options options =
      Parsed({"/s", "/m", "-o", "allow=/a\\,b,context=\"u:r:t:s0:c1,c2\",dev"});
  EXPECT_THAT(options.allow, ElementsAre("/a,b"));
  EXPECT_THAT(Parsed({"/s", "/m", "-o", "allow=\"/a b,c\",ro"}).allow,
              ElementsAre("/a b,c"));
  EXPECT_THAT(options.mount_options,
              ElementsAre("context=\"u:r:t:s0:c1,c2\"", "dev"));
}

TEST(OptionsTest, EmptyOptionsAreSkipped) {
  EXPECT_THAT(Parsed({"/s", "/m", "-o", ",,dev,"}).mount_options,
              ElementsAre("dev"));
}

TEST(OptionsTest, ErrorsNameTheOption) {
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "ro,bogus"}), HasSubstr("bogus"));
  for (const char* remount :
       {"remount,ro", "rw,nosuid,user_id=0,group_id=0,remount,ro"}) {
    EXPECT_THAT(ErrorOf({"/s", "/m", "-o", remount}),
                HasSubstr("-o remount: options of a mount can't be changed"));
  }
  EXPECT_THAT(ErrorOf({"/s", "/m", "-x"}), HasSubstr("-x"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "--long"}), HasSubstr("--long"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "uid=joe"}), HasSubstr("uid=joe"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "uid"}), HasSubstr("uid=N"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "ro=1"}), HasSubstr("ro=1"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "umask=8"}), HasSubstr("octal"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "lock=yes"}), HasSubstr("on or off"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "passthrough=on"}),
              HasSubstr("auto or off"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "commit=0"}), HasSubstr("commit=0"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "max_threads=0"}), HasSubstr("1 to"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o", "allow_other,allow_root"}),
              HasSubstr("exclude each other"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "-o"}), HasSubstr("-o"));
}

TEST(OptionsTest, ErrorsNameTheOperand) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("SOURCE"));
  EXPECT_THAT(ErrorOf({"/s"}), HasSubstr("MOUNTPOINT"));
  EXPECT_THAT(ErrorOf({"/s", "/m", "/x"}), HasSubstr("/x"));
}

TEST(OptionsTest, HelpAndVersionNeedNoOperands) {
  EXPECT_TRUE(Parsed({"--help"}).help);
  EXPECT_TRUE(Parsed({"-V"}).version);
}

TEST(OptionsTest, OptionWordsAreThoseOfTheHelp) {
  const std::string help = HelpText();
  const std::vector<OptionWord> words = OptionWords();
  EXPECT_GT(words.size(), 40u);
  for (const OptionWord& word : words) {
    const std::string text =
        word.argument.empty() ? word.name : word.name + "=" + word.argument;
    // Of one value the help shows that it may be left out.
    EXPECT_THAT(help,
                AnyOf(HasSubstr(" " + text),
                      HasSubstr(" " + word.name + "[=" + word.argument + "]")));
    EXPECT_TRUE(ParseOptions({"flatcow", "-h", "-o", word.name}).ok() ||
                !word.argument.empty())
        << word.name;
  }
}

}  // namespace
}  // namespace flatcow::daemon
