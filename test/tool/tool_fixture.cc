// SPDX-License-Identifier: Apache-2.0
#include "tool_fixture.h"

#include <endian.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "flatcow/file.h"
#include "flatcow/image.h"
#include "run_tool.h"

namespace flatcow::tool {
namespace {

std::string TakeFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  std::filesystem::remove(path);
  return text.str();
}

std::string NewFile() {
  std::string path = testing::TempDir() + "flatcow-output-XXXXXX";
  const int fd = mkstemp(path.data());
  EXPECT_GE(fd, 0) << path;
  if (fd >= 0) close(fd);
  return path;
}

}  // namespace

nlohmann::json RunResult::Json() const {
  nlohmann::json json = nlohmann::json::parse(out, nullptr, false);
  EXPECT_FALSE(json.is_discarded()) << out;
  return json;
}

RunResult Tool(const std::vector<std::string>& args) {
  std::ostringstream out;
  std::ostringstream err;
  RunResult result;
  result.code = RunTool(args, {out, err});
  result.out = out.str();
  result.err = err.str();
  return result;
}

InterruptingStream::InterruptingStream() : std::ostream(&buffer_) {}

InterruptingStream::Buffer::int_type InterruptingStream::Buffer::overflow(
    int_type c) {
  if (text.empty()) raise(SIGINT);
  text.push_back(traits_type::to_char_type(c));
  return c;
}

RunResult InterruptedTool(const std::vector<std::string>& args) {
  InterruptingStream out;
  std::ostringstream err;
  RunResult result;
  result.code = RunTool(args, {out, err});
  result.out = out.text();
  result.err = err.str();
  return result;
}

RunResult RunProgram(const std::string& program,
                     const std::vector<std::string>& args) {
  const std::string out = NewFile();
  const std::string err = NewFile();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY, 0);
  std::vector<std::string> words = {program};
  words.insert(words.end(), args.begin(), args.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  RunResult result;
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, program.c_str(), &actions, nullptr,
                                 argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  if (error != 0 || waitpid(pid, &status, 0) != pid) {
    result.code = 127;
  } else {
    result.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128;
  }
  result.out = TakeFile(out);
  result.err = TakeFile(err);
  return result;
}

std::string AsQemu7Prints(absl::string_view output) {
  std::vector<absl::string_view> kept;
  std::string end;     // of the list that is left out
  bool child = false;  // in a section that is left out
  for (const absl::string_view line : absl::StrSplit(output, '\n')) {
    if (!end.empty()) {
      if (line == end || line == absl::StrCat(end, ",")) end.clear();
      continue;
    }
    child = absl::StartsWith(line, "Child node '") ||
            (child && absl::StartsWith(line, "    "));
    if (child) continue;
    if (absl::EndsWith(line, " \"children\": [")) {
      end = absl::StrCat(line.substr(0, line.find('"')), "]");
      continue;
    }
    kept.push_back(line);
  }
  return absl::StrReplaceAll(
      absl::StrJoin(kept, "\n"),
      {{", \"compressed\": false", ""}, {", \"compressed\": true", ""}});
}

bool HaveQemu() {
  static const bool have = RunProgram("qemu-img", {"--version"}).code == 0 &&
                           RunProgram("qemu-io", {"--version"}).code == 0;
  return have;
}

std::vector<std::string> Words(const std::string& line) {
  return absl::StrSplit(line, ' ', absl::SkipEmpty());
}

void ToolTest::SetUp() {
  std::string name = testing::TempDir() + "flatcow-tool-XXXXXX";
  ASSERT_NE(mkdtemp(name.data()), nullptr);
  directory_ = name;
  previous_ = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
}

void ToolTest::TearDown() {
  if (directory_.empty()) return;
  std::filesystem::current_path(previous_);
  std::filesystem::remove_all(directory_);
}

RunResult ToolTest::Done(const std::string& line) {
  const RunResult result = Tool(Words(line));
  EXPECT_EQ(result.code, 0) << line << "\n" << result.err;
  return result;
}

std::string ToolTest::Refused(const std::string& line, int code) {
  const RunResult result = Tool(Words(line));
  EXPECT_EQ(result.code, code) << line << "\n" << result.err;
  EXPECT_EQ(result.out, "") << line;
  EXPECT_TRUE(absl::StartsWith(result.err, "flatcow-img: ")) << result.err;
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1)
      << result.err;
  return result.err;
}

std::vector<std::string> ToolTest::Files() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(".")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void ToolTest::MakeRaw(const std::string& name, uint64_t size, uint64_t data) {
  std::ofstream(name, std::ios::binary) << std::string(data, 'B');
  std::filesystem::resize_file(name, size);
}

void ToolTest::Fill(const std::string& image, uint64_t offset, uint64_t length,
                    char byte) {
  const auto opened =
      OpenImage(PosixFileSystem(), image, {.access = Access::kReadWrite});
  ASSERT_TRUE(opened.ok()) << opened.status();
  const std::vector<uint8_t> data(length, static_cast<uint8_t>(byte));
  const auto written = (*opened)->Write(offset, data);
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(*written, length);
  const absl::Status flushed = (*opened)->Flush();
  EXPECT_TRUE(flushed.ok()) << flushed;
}

std::string ToolTest::Disk(const std::string& image) {
  const auto opened = OpenImage(PosixFileSystem(), image, {});
  EXPECT_TRUE(opened.ok()) << opened.status();
  if (!opened.ok()) return "";
  std::vector<uint8_t> data((*opened)->Size());
  const auto length = (*opened)->Read(0, absl::MakeSpan(data));
  EXPECT_TRUE(length.ok()) << length.status();
  return std::string(data.begin(), data.end());
}

void ToolTest::Poke(const std::string& name, uint64_t offset, uint64_t value) {
  std::fstream file(name, std::ios::binary | std::ios::in | std::ios::out);
  value = htole64(value);
  file.seekp(static_cast<std::streamoff>(offset));
  file.write(reinterpret_cast<const char*>(&value), sizeof(value));
  ASSERT_TRUE(file.good()) << name;
}

uint64_t ToolTest::Peek(const std::string& name, uint64_t offset) {
  std::ifstream file(name, std::ios::binary);
  uint64_t value = 0;
  file.seekg(static_cast<std::streamoff>(offset));
  file.read(reinterpret_cast<char*>(&value), sizeof(value));
  EXPECT_TRUE(file.good()) << name;
  return le64toh(value);
}

void QemuTest::SetUp() {
  if (!HaveQemu()) GTEST_SKIP() << "qemu-img and qemu-io are not installed";
  ToolTest::SetUp();
}

RunResult QemuTest::Qemu(const std::string& line) {
  RunResult result = RunProgram("qemu-img", Words(line));
  EXPECT_EQ(result.code, 0) << line << "\n" << result.err;
  result.out = AsQemu7Prints(result.out);
  return result;
}

void QemuTest::QemuIo(const std::string& format, const std::string& name,
                      const std::string& command) {
  const RunResult result =
      RunProgram("qemu-io", {"-f", format, "-c", command, name});
  EXPECT_EQ(result.code, 0) << result.out << result.err;
}

}  // namespace flatcow::tool
