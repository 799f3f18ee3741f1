// SPDX-License-Identifier: Apache-2.0
//
// The command line of the daemon. Pure: nothing is opened or looked up.
#ifndef FLATCOW_FUSE_OPTIONS_H_
#define FLATCOW_FUSE_OPTIONS_H_

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace flatcow::daemon {

enum class CachePolicy {
  kAuto,  // opens for reading use the kernel's page cache, unless O_DIRECT
  kNone,  // no open does
};

struct Options {
  bool help = false;
  bool version = false;
  bool foreground = false;
  bool debug = false;  // print every request; implies foreground

  bool read_only = false;
  bool allow_other = false;
  bool allow_root = false;
  std::optional<uid_t> uid;  // of all views, instead of the images' own
  std::optional<gid_t> gid;
  mode_t umask = 0;  // bits taken from the mode of every view and folder
  std::vector<std::string> allow;  // more directories to open files in
  bool lock = true;
  bool shrink = false;  // truncate(2) may make a disk smaller
  // Writes to views are dropped at the end, and until then in this directory;
  // empty: beside the image. Not together with `read_only`.
  std::optional<std::string> ephemeral;
  std::vector<std::string>
      raw;  // globs: see raw_names.h; with `ephemeral` only
  CachePolicy cache = CachePolicy::kAuto;
  unsigned max_threads = 0;  // 0: twice the cores, at least 2
  unsigned commit_seconds = 5;
  bool passthrough = true;  // views that are a flat file: see passthrough.h
  size_t metadata_cache_bytes = size_t{64} << 20;  // of all images together

  // For the kernel or libfuse, in the order given; values as they were typed,
  // without escapes.
  std::vector<std::string> mount_options;

  std::string source;
  std::string mountpoint;
};

// Understands argv as getopt_long does: options may follow operands, `--` ends
// them, and `-odev` is `-o dev`. A comma inside double quotes or behind a
// backslash does not end an -o option; `\` in front of any byte means that
// byte, and quotes around a whole value are not part of it.
// `arguments` begins with the program's name. With --help or --version in it,
// the operands may be missing.
// Errors: EINVAL, the message names the option or operand.
absl::StatusOr<Options> ParseOptions(const std::vector<std::string>& arguments);

// A word of -o, as --help describes it.
struct OptionWord {
  std::string name;
  std::string argument;  // "N", "on|off", "DIR"; empty: takes no value
  std::string help;      // empty for a word of mount(8)
};

// All that -o takes, in the order of --help.
std::vector<OptionWord> OptionWords();

// What --help prints: every option of the table that ParseOptions() uses.
std::string HelpText();

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_OPTIONS_H_
