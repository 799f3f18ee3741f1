// SPDX-License-Identifier: Apache-2.0
//
// What is fuzzed. A target takes any bytes; it returns when all went as it must
// and ends the process otherwise, as a sanitizer does.
//
// libFuzzer drives the targets, each in a program of its own (./dev fuzz), and
// corpus_test.cc runs them over the inputs that are kept in the tree.
#ifndef FLATCOW_TEST_FUZZ_FUZZ_TARGET_H_
#define FLATCOW_TEST_FUZZ_FUZZ_TARGET_H_

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flatcow {

// The first bytes of an image, and how long the file is.
void FuzzQedHeader(const uint8_t* data, size_t size);
void FuzzAddCowHeader(const uint8_t* data, size_t size);
void FuzzQcow2Header(const uint8_t* data, size_t size);
// What a compressed cluster is read from.
void FuzzDecompress(const uint8_t* data, size_t size);
// A valid header before tables or a bitmap of any bytes.
void FuzzTables(const uint8_t* data, size_t size);
// A valid chain, damaged, then used.
void FuzzImageOperations(const uint8_t* data, size_t size);
// Command lines: NUL-separated words.
void FuzzDaemonOptions(const uint8_t* data, size_t size);
void FuzzToolOptions(const uint8_t* data, size_t size);

struct FuzzTarget {
  const char* name;
  void (*run)(const uint8_t* data, size_t size);
};

inline constexpr FuzzTarget kFuzzTargets[] = {
    {"qed_header", FuzzQedHeader},
    {"addcow_header", FuzzAddCowHeader},
    {"qcow2_header", FuzzQcow2Header},
    {"decompress", FuzzDecompress},
    {"tables", FuzzTables},
    {"image_operations", FuzzImageOperations},
    {"daemon_options", FuzzDaemonOptions},
    {"tool_options", FuzzToolOptions},
};

// Says what should not have happened, and ends the process.
[[noreturn]] void FuzzFinding(absl::string_view what);

// An error must say what it is about, and carry an errno. `status` may be OK.
void RequireClear(const absl::Status& status);

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_FUZZ_TARGET_H_
