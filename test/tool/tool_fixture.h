// SPDX-License-Identifier: Apache-2.0
//
// Tests of flatcow-img: each runs in an empty directory of its own, with the
// tool in-process and, where it is installed, qemu-img beside it.
#ifndef FLATCOW_TEST_TOOL_TOOL_FIXTURE_H_
#define FLATCOW_TEST_TOOL_TOOL_FIXTURE_H_

#include <cstdint>
#include <filesystem>
#include <ostream>
#include <streambuf>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace flatcow::tool {

struct RunResult {
  int code = 0;  // exit code
  std::string out;
  std::string err;

  // The output as JSON; a failure of the test when it is none.
  nlohmann::json Json() const;
};

// Runs flatcow-img in this process.
RunResult Tool(const std::vector<std::string>& args);

// Runs another program, found through PATH.
RunResult RunProgram(const std::string& program,
                     const std::vector<std::string>& args);

bool HaveQemu();

// What a newer qemu-img printed, without what 7.2 does not have: from 8.0 on
// "info" lists the files below an image, from 8.2 on "map" says of each run
// whether it is compressed.
std::string AsQemu7Prints(absl::string_view output);

// The words of one command line; no quoting.
std::vector<std::string> Words(const std::string& line);

// Sends itself SIGINT as soon as something is written to it, as a user might
// who watches the progress.
class InterruptingStream : public std::ostream {
 public:
  InterruptingStream();

  const std::string& text() const { return buffer_.text; }

 private:
  struct Buffer : std::streambuf {
    int_type overflow(int_type c) override;

    std::string text;
  };

  Buffer buffer_;
};

// Runs flatcow-img and interrupts it at its first output.
RunResult InterruptedTool(const std::vector<std::string>& args);

// The working directory of each test is a fresh one, removed afterwards.
class ToolTest : public testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Runs the tool and expects exit code 0.
  static RunResult Done(const std::string& line);

  // Runs the tool and expects an exit code, nothing on stdout and one line on
  // stderr, which is returned.
  static std::string Refused(const std::string& line, int code = 1);

  // Names in the working directory, sorted.
  static std::vector<std::string> Files();

  // Makes a file of `size` bytes whose first `data` bytes are not zero.
  static void MakeRaw(const std::string& name, uint64_t size, uint64_t data);

  // Fills an extent of the disk that an image shows with one byte.
  static void Fill(const std::string& image, uint64_t offset, uint64_t length,
                   char byte);

  // The disk that an image shows.
  static std::string Disk(const std::string& image);

  // Overwrites bytes of a file with `value`, little-endian.
  static void Poke(const std::string& name, uint64_t offset, uint64_t value);
  static uint64_t Peek(const std::string& name, uint64_t offset);

 private:
  std::filesystem::path directory_;
  std::filesystem::path previous_;
};

// The same, with qemu-img and qemu-io; skipped where they are missing.
class QemuTest : public ToolTest {
 protected:
  void SetUp() override;

  // Runs qemu-img and expects exit code 0. Its output is AsQemu7Prints().
  static RunResult Qemu(const std::string& line);

  // Writes to an image with qemu-io: "write -P 1 64k 64k".
  static void QemuIo(const std::string& format, const std::string& name,
                     const std::string& command);
};

}  // namespace flatcow::tool

#endif  // FLATCOW_TEST_TOOL_TOOL_FIXTURE_H_
