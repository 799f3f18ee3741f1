// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <getopt.h>

#include <algorithm>
#include <cerrno>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kMaxCommitSeconds = 86400;
constexpr uint64_t kMinMetadataCacheBytes = uint64_t{1} << 20;
constexpr uint64_t kMaxMetadataCacheBytes = uint64_t{64} << 30;

absl::Status Usage(absl::string_view message) {
  return MakeError(EINVAL, message);
}

absl::StatusOr<uint32_t> ParseNumber(absl::string_view option,
                                     absl::string_view value, uint32_t least,
                                     uint32_t most) {
  uint32_t number = 0;
  if (!absl::SimpleAtoi(value, &number) || number < least || number > most) {
    return Usage(absl::StrCat("-o ", option, "=", value,
                              ": expected a number from ", least, " to ",
                              most));
  }
  return number;
}

absl::StatusOr<bool> ParseChoice(absl::string_view option,
                                 absl::string_view value, absl::string_view no,
                                 absl::string_view yes) {
  if (value == yes) return true;
  if (value == no) return false;
  return Usage(
      absl::StrCat("-o ", option, "=", value, ": expected ", yes, " or ", no));
}

// A number of bytes, or one with a suffix k, M or G.
absl::StatusOr<size_t> ParseCacheSize(absl::string_view option,
                                      absl::string_view value) {
  constexpr absl::string_view kUnits = "bkmg";
  absl::string_view digits = value;
  unsigned shift = 0;
  if (!value.empty() && !absl::ascii_isdigit(value.back())) {
    const size_t unit = kUnits.find(absl::ascii_tolower(value.back()));
    if (unit == absl::string_view::npos) digits = "";
    shift = static_cast<unsigned>(10 * unit);
    if (!digits.empty()) digits.remove_suffix(1);
  }
  uint64_t number = 0;
  if (!absl::SimpleAtoi(digits, &number) ||
      number > kMaxMetadataCacheBytes >> shift ||
      number << shift < kMinMetadataCacheBytes) {
    return Usage(absl::StrCat("-o ", option, "=", value,
                              ": expected a size from 1M to 64G"));
  }
  return number << shift;
}

using Values = std::vector<std::string>;

void PassOn(Options& options, const Values& words) {
  options.mount_options.insert(options.mount_options.end(), words.begin(),
                               words.end());
}

// One -o option. `argument` is what --help shows behind "name="; null for an
// option without a value, and in brackets, with the "=", where it may be left
// out.
struct OptionRow {
  const char* name;
  const char* argument;
  const char* help;
  absl::Status (*apply)(Options& options, absl::string_view value);
};

bool IsOptional(const OptionRow& row) {
  return row.argument != nullptr && row.argument[0] == '[';
}

const OptionRow kOptions[] = {
    {"ro", nullptr, "views can only be read",
     [](Options& o, absl::string_view) {
       o.read_only = true;
       PassOn(o, {"ro"});
       return absl::OkStatus();
     }},
    {"allow_other", nullptr, "other users may use the mount",
     [](Options& o, absl::string_view) {
       o.allow_other = true;
       return absl::OkStatus();
     }},
    {"allow_root", nullptr, "root may use the mount, no other user",
     [](Options& o, absl::string_view) {
       o.allow_root = true;
       return absl::OkStatus();
     }},
    {"uid", "N", "owner of all views (default: the image's)",
     [](Options& o, absl::string_view value) {
       const auto number = ParseNumber("uid", value, 0, UINT32_MAX - 1);
       if (number.ok()) o.uid = *number;
       return number.status();
     }},
    {"gid", "N", "group of all views (default: the image's)",
     [](Options& o, absl::string_view value) {
       const auto number = ParseNumber("gid", value, 0, UINT32_MAX - 1);
       if (number.ok()) o.gid = *number;
       return number.status();
     }},
    {"umask", "M", "permission bits that views don't get (octal)",
     [](Options& o, absl::string_view value) {
       mode_t mask = 0;
       bool good = !value.empty() && value.size() <= 4;
       for (const char c : value) {
         good = good && c >= '0' && c <= '7';
         mask = mask * 8 + static_cast<mode_t>(c - '0');
       }
       if (!good || mask > 0777) {
         return Usage(absl::StrCat("-o umask=", value,
                                   ": expected an octal number up to 0777"));
       }
       o.umask = mask;
       return absl::OkStatus();
     }},
    {"allow", "DIR", "images may also name files in DIR (repeatable)",
     [](Options& o, absl::string_view value) {
       if (value.empty()) return Usage("-o allow=: expected a directory");
       o.allow.emplace_back(value);
       return absl::OkStatus();
     }},
    {"lock", "on|off", "QEMU's locks on images in use (default: on)",
     [](Options& o, absl::string_view value) {
       const auto on = ParseChoice("lock", value, "off", "on");
       if (on.ok()) o.lock = *on;
       return on.status();
     }},
    {"shrink", nullptr, "truncate may make a disk smaller, dropping its end",
     [](Options& o, absl::string_view) {
       o.shrink = true;
       return absl::OkStatus();
     }},
    {"ephemeral", "[=DIR]",
     "drop all writes at unmount; until then they are in DIR",
     [](Options& o, absl::string_view value) {
       o.ephemeral = std::string(value);
       return absl::OkStatus();
     }},
    {"raw", "GLOB", "files of such names are raw images (with ephemeral)",
     [](Options& o, absl::string_view value) {
       if (value.empty()) return Usage("-o raw=: expected a pattern");
       o.raw.emplace_back(value);
       return absl::OkStatus();
     }},
    {"cache", "auto|none",
     "none: direct I/O, nothing in the kernel's page cache",
     [](Options& o, absl::string_view value) {
       const auto none = ParseChoice("cache", value, "auto", "none");
       if (none.ok()) {
         o.cache = *none ? CachePolicy::kNone : CachePolicy::kAuto;
       }
       return none.status();
     }},
    {"passthrough", "auto|off",
     "auto: views that are one plain file are served by the kernel",
     [](Options& o, absl::string_view value) {
       const auto on = ParseChoice("passthrough", value, "off", "auto");
       if (on.ok()) o.passthrough = *on;
       return on.status();
     }},
    {"metadata_cache", "SIZE",
     "memory for tables and bitmaps of all images (default: 64M)",
     [](Options& o, absl::string_view value) {
       const auto bytes = ParseCacheSize("metadata_cache", value);
       if (bytes.ok()) o.metadata_cache_bytes = *bytes;
       return bytes.status();
     }},
    {"max_threads", "N", "threads that serve (default: 2 per core)",
     [](Options& o, absl::string_view value) {
       const auto number = ParseNumber("max_threads", value, 1, kMaxThreads);
       if (number.ok()) o.max_threads = *number;
       return number.status();
     }},
    {"commit", "SECONDS",
     "how long unsynced metadata stays in memory (default: 5)",
     [](Options& o, absl::string_view value) {
       const auto number = ParseNumber("commit", value, 1, kMaxCommitSeconds);
       if (number.ok()) o.commit_seconds = *number;
       return number.status();
     }},
    {"auto_unmount", nullptr, "unmount even when the daemon is killed",
     [](Options& o, absl::string_view) {
       PassOn(o, {"auto_unmount"});
       return absl::OkStatus();
     }},
    {"fsname", "NAME", "the source that mount tables show (default: SOURCE)",
     [](Options& o, absl::string_view value) {
       PassOn(o, {absl::StrCat("fsname=", value)});
       return absl::OkStatus();
     }},
    {"subtype", "NAME", "the type that mount tables show (default: flatcow)",
     [](Options& o, absl::string_view value) {
       PassOn(o, {absl::StrCat("subtype=", value)});
       return absl::OkStatus();
     }},
    {"default_permissions", nullptr,
     "the kernel checks permissions (always on)",
     [](Options&, absl::string_view) { return absl::OkStatus(); }},
    {"context", "CONTEXT", "SELinux context of the mount",
     [](Options& o, absl::string_view value) {
       PassOn(o, {absl::StrCat("context=", value)});
       return absl::OkStatus();
     }},
};

// Words of mount(8). `forward`: what the mount itself gets for them; the words
// of the user family imply what mount(8) says they do.
struct MountWord {
  const char* name;
  std::vector<std::string> forward;
};

const std::vector<MountWord>& MountWords() {
  static const auto& words = *new std::vector<MountWord>{
      {"rw", {"rw"}},
      {"dev", {"dev"}},
      {"nodev", {"nodev"}},
      {"suid", {"suid"}},
      {"nosuid", {"nosuid"}},
      {"exec", {"exec"}},
      {"noexec", {"noexec"}},
      {"sync", {"sync"}},
      {"async", {"async"}},
      {"dirsync", {"dirsync"}},
      {"noatime", {"noatime"}},
      {"user", {"noexec", "nosuid", "nodev"}},
      {"users", {"noexec", "nosuid", "nodev"}},
      {"owner", {"nosuid", "nodev"}},
      {"group", {"nosuid", "nodev"}},
      // Without meaning here: a view's atime is never kept, and the rest is
      // for those who read fstab.
      {"atime", {}},
      {"diratime", {}},
      {"nodiratime", {}},
      {"relatime", {}},
      {"norelatime", {}},
      {"strictatime", {}},
      {"nostrictatime", {}},
      {"lazytime", {}},
      {"nolazytime", {}},
      {"defaults", {}},
      {"auto", {}},
      {"noauto", {}},
      {"nouser", {}},
      {"nofail", {}},
      {"_netdev", {}},
  };
  return words;
}

absl::Status ApplyOption(Options& options, absl::string_view option) {
  const size_t equals = option.find('=');
  const bool has_value = equals != absl::string_view::npos;
  const absl::string_view name = option.substr(0, equals);
  absl::string_view value =
      has_value ? option.substr(equals + 1) : absl::string_view();
  // The quotes of a context are for the kernel.
  if (name != "context" && value.size() >= 2 && value.front() == '"' &&
      value.back() == '"') {
    value = value.substr(1, value.size() - 2);
  }
  for (const OptionRow& row : kOptions) {
    if (name != row.name) continue;
    if (has_value && row.argument == nullptr) {
      return Usage(absl::StrCat("-o ", option, ": ", name, " takes no value"));
    }
    if (has_value && value.empty() && IsOptional(row)) {
      return Usage(
          absl::StrCat("-o ", option, ": expected ", name, row.argument));
    }
    if (!has_value && row.argument != nullptr && !IsOptional(row)) {
      return Usage(
          absl::StrCat("-o ", name, ": expected ", name, "=", row.argument));
    }
    return row.apply(options, value);
  }
  if (name == "comment" || absl::StartsWith(name, "x-") ||
      absl::StartsWith(name, "X-")) {
    return absl::OkStatus();
  }
  for (const MountWord& word : MountWords()) {
    // mount(8) writes user=NAME for whoever mounted.
    if (name != word.name || (has_value && name != "user")) continue;
    if (name == "rw") options.read_only = false;
    PassOn(options, word.forward);
    return absl::OkStatus();
  }
  return Usage(absl::StrCat("unknown option: -o ", option));
}

// Splits at commas; see ParseOptions() for quotes and backslashes.
std::vector<std::string> SplitOptions(absl::string_view text) {
  std::vector<std::string> options(1);
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      options.back().push_back(text[++i]);
    } else if (text[i] == ',' && !quoted) {
      options.emplace_back();
    } else {
      if (text[i] == '"') quoted = !quoted;
      options.back().push_back(text[i]);
    }
  }
  return options;
}

absl::Status ApplyOptions(Options& options,
                          const std::vector<std::string>& words) {
  // Before the others: newer versions of mount(8) add all that the kernel says
  // of the mount, which nobody asked for.
  if (std::find(words.begin(), words.end(), "remount") != words.end()) {
    return Usage(
        "-o remount: options of a mount can't be changed; unmount it and mount "
        "it again");
  }
  for (const std::string& word : words) {
    if (word.empty()) continue;
    const absl::Status applied = ApplyOption(options, word);
    if (!applied.ok()) return applied;
  }
  return absl::OkStatus();
}

absl::Status CheckOperands(const std::vector<std::string>& operands,
                           Options& options) {
  if (operands.size() < 2) {
    return Usage(operands.empty() ? "SOURCE and MOUNTPOINT are missing"
                                  : "MOUNTPOINT is missing");
  }
  if (operands.size() > 2) {
    return Usage(absl::StrCat("unexpected operand: ", operands[2]));
  }
  if (operands[0].empty()) return Usage("SOURCE is empty");
  if (operands[1].empty()) return Usage("MOUNTPOINT is empty");
  options.source = operands[0];
  options.mountpoint = operands[1];
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Options> ParseOptions(
    const std::vector<std::string>& arguments) {
  static const option kLongOptions[] = {{"help", no_argument, nullptr, 'h'},
                                        {"version", no_argument, nullptr, 'V'},
                                        {nullptr, 0, nullptr, 0}};
  // getopt wants to reorder what it is given.
  std::vector<std::string> words = arguments;
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int argc = static_cast<int>(words.size());

  Options options;
  optind = 0;  // start anew, also after an earlier call
  opterr = 0;
  int letter;
  while ((letter = getopt_long(argc, argv.data(), ":fdhVo:", kLongOptions,
                               nullptr)) != -1) {
    switch (letter) {
      case 'f':
        options.foreground = true;
        break;
      case 'd':
        options.debug = true;
        options.foreground = true;
        break;
      case 'h':
        options.help = true;
        break;
      case 'V':
        options.version = true;
        break;
      case 'o':
        if (const absl::Status applied =
                ApplyOptions(options, SplitOptions(optarg));
            !applied.ok()) {
          return applied;
        }
        break;
      case ':':
        return Usage("-o: expected an option behind it");
      default:
        return Usage(optopt != 0
                         ? absl::StrFormat("unknown option: -%c", optopt)
                         : absl::StrCat("unknown option: ", argv[optind - 1]));
    }
  }
  if (options.help || options.version) return options;
  if (options.allow_other && options.allow_root) {
    return Usage("-o allow_other and -o allow_root exclude each other");
  }
  if (options.read_only && options.ephemeral.has_value()) {
    return Usage(
        "-o ro and -o ephemeral exclude each other: ro writes nothing, and "
        "ephemeral is for writes that are dropped");
  }
  if (!options.raw.empty() && !options.ephemeral.has_value()) {
    return Usage(
        "-o raw is for -o ephemeral only: without it a guest could write what "
        "makes its raw disk look like an image");
  }
  const std::vector<std::string> operands(argv.begin() + optind,
                                          argv.begin() + argc);
  const absl::Status checked = CheckOperands(operands, options);
  if (!checked.ok()) return checked;
  return options;
}

std::vector<OptionWord> OptionWords() {
  std::vector<OptionWord> words;
  for (const OptionRow& row : kOptions) {
    absl::string_view argument = row.argument == nullptr ? "" : row.argument;
    if (IsOptional(row)) {
      argument = absl::StripSuffix(absl::StripPrefix(argument, "[="), "]");
    }
    words.push_back({row.name, std::string(argument), row.help});
  }
  for (const MountWord& word : MountWords()) {
    words.push_back({word.name, "", ""});
  }
  return words;
}

std::string HelpText() {
  std::string text =
      "usage: flatcow [-f] [-d] [-o OPT[,OPT...]] SOURCE MOUNTPOINT\n"
      "\n"
      "Shows each disk image overlay in SOURCE (a directory, or one image) as "
      "a plain\n"
      "file NAME.raw in MOUNTPOINT.\n"
      "\n";
  const auto row = [&text](absl::string_view option, absl::string_view help) {
    absl::StrAppendFormat(&text, "    %-24s %s\n", option, help);
  };
  row("-f", "stay in the foreground");
  row("-d", "stay in the foreground and print every request");
  row("-h, --help", "print this and exit");
  row("-V, --version", "print the version and exit");
  for (const OptionRow& option : kOptions) {
    row(absl::StrCat(
            "-o ", option.name,
            option.argument == nullptr || IsOptional(option) ? "" : "=",
            option.argument == nullptr ? "" : option.argument),
        option.help);
  }
  text += "\nTaken as mount(8) means them:";
  size_t column = 80;
  const auto word = [&text, &column](absl::string_view name) {
    if (column + 1 + name.size() > 76) {
      text += "\n   ";
      column = 3;
    }
    absl::StrAppend(&text, " ", name);
    column += 1 + name.size();
  };
  for (const MountWord& mount_word : MountWords()) word(mount_word.name);
  word("comment=TEXT");
  word("x-*");
  text += "\n";
  return text;
}

}  // namespace flatcow::daemon
