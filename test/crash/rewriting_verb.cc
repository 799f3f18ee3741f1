// SPDX-License-Identifier: Apache-2.0
#include "crash/rewriting_verb.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "crash/damaged_image.h"
#include "flatcow/image_ops.h"
#include "model/chain_shape.h"
#include "model/draft_image.h"
#include "model/guest_view.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kCluster = 4096;
constexpr uint64_t kSmallCluster = 512;
const WorkOptions kAlone{.parallel = 1};

using Paths = std::vector<std::string>;
using Run = std::function<absl::Status(FileSystem&, bool again)>;

// ---- Images ----

// An image with some data over "/disks/base.raw", which is longer than the
// image and may be written; "/disks/other.raw" is another such base.
void MakeOverlay(MemoryFileSystem& files, const std::string& format) {
  files.SetContents("/disks/base.raw",
                    PatternText(3, 8 * kCluster) + std::string(kCluster, '\0'));
  std::string other = files.Contents("/disks/base.raw").substr(0, 6 * kCluster);
  Overwrite(other, 4 * kCluster + 7, "other");
  files.SetContents("/disks/other.raw", other);
  NewImage image;
  image.format = format;
  image.size = 8 * kCluster + 512;
  image.backing_file = "base.raw";
  image.backing_format = "raw";
  image.cluster_size = kCluster;
  if (format != "qed") {
    image.data_file = "data";
    files.SetContents("/disks/data", PatternText(4, *image.size));
  }
  Make(files, kChainImage, image);
  const auto disk = Must(OpenImage(files, kChainImage, Writable()));
  WriteDisk(*disk, 1000, PatternText(1, 2 * kCluster));
  Must(disk->WriteZeroes({6 * kCluster, kCluster}));
  Must(disk->Flush());
}

void MakeQedOverlay(MemoryFileSystem& files) { MakeOverlay(files, "qed"); }
void MakeAddCowOverlay(MemoryFileSystem& files) {
  MakeOverlay(files, "add-cow");
}
void MakeQcow2Overlay(MemoryFileSystem& files) { MakeOverlay(files, "qcow2"); }

// One L2 table of 64 entries, most of which are past the end of the disk; the
// data file goes on with garbage.
MakeFiles MakeSmallQcow2(bool data_is_disk) {
  return [data_is_disk](MemoryFileSystem& files) {
    files.SetContents("/disks/data", PatternText(4, 8 * kSmallCluster));
    Make(files, kChainImage,
         {.format = "qcow2",
          .size = 8 * kSmallCluster,
          .cluster_size = kSmallCluster,
          .data_file = "data",
          .data_file_raw = data_is_disk});
    PokeFile(files, "/disks/data", 8 * kSmallCluster, PatternText(5, 5000));
    const auto disk = Must(OpenImage(files, kChainImage, Writable()));
    WriteDisk(*disk, 1000, PatternText(1, 2 * kSmallCluster));
    Must(disk->WriteZeroes({5 * kSmallCluster, kSmallCluster}));
    Must(disk->Flush());
  };
}

// The same, grown to several tables.
MakeFiles MakeGrownQcow2(bool data_is_disk) {
  return [data_is_disk](MemoryFileSystem& files) {
    MakeSmallQcow2(data_is_disk)(files);
    const auto disk = Must(OpenImage(files, kChainImage, Writable()));
    Must(disk->Resize(200 * kSmallCluster));
    for (uint64_t at = 0; at < 200; at += 50) {
      WriteDisk(*disk, at * kSmallCluster + 9, PatternText(at, kSmallCluster));
    }
    Must(disk->Flush());
  };
}

// MakeOverlay(), the base below another QED image.
MakeFiles OverTwo(const std::string& format) {
  return [format](MemoryFileSystem& files) {
    MakeOverlay(files, format);
    NewImage middle;
    middle.format = "qed";
    middle.backing_file = "base.raw";
    middle.backing_format = "raw";
    middle.cluster_size = kCluster;
    Make(files, "/disks/middle", middle);
    Must(RebaseImage(files, kChainImage,
                     {.backing_file = "middle", .backing_format = "qed"})
             .status());
  };
}

MakeFiles MakeDraft(Draft draft) {
  return [draft](MemoryFileSystem& files) {
    MakeSmallDraft(files, kChainImage, draft);
  };
}

// ---- What must hold ----

std::string OthersHaveChanged(const MemoryFileSystem& before,
                              const MemoryFileSystem& files,
                              const Paths& may_change) {
  for (const std::string& path : before.Paths()) {
    if (std::find(may_change.begin(), may_change.end(), path) !=
        may_change.end()) {
      continue;
    }
    if (!files.Exists(path) || files.Contents(path) != before.Contents(path)) {
      return absl::StrCat(path, " has changed");
    }
  }
  return "";
}

GuestView ViewOf(const MemoryFileSystem& files) {
  const auto copy = files.Snapshot();
  return GuestView(*copy, kChainImage);
}

// Other programs, which do not mend what they open, must find nothing wrong at
// any time.
std::string IsDamaged(const MemoryFileSystem& files) {
  const auto copy = files.Snapshot();
  const auto check = CheckImage(*copy, kChainImage, {});
  if (!check.ok()) return std::string(check.status().message());
  return check->corruptions + check->check_errors != 0 ? "it is damaged" : "";
}

// Everything that the image is to be after the verb.
std::string IsNot(const VerbRun& run, MemoryFileSystem& files) {
  const GuestView after = ViewOf(run.after);
  const GuestView found = ViewOf(files);
  if (!found.WhatIsLost(after).empty() || !after.WhatIsLost(found).empty()) {
    return "another disk";
  }
  const auto copy = run.after.Snapshot();
  const ImageInfo expected = Must(ReadImageInfo(*copy, kChainImage, {}));
  const ImageInfo info = Must(ReadImageInfo(files, kChainImage, {}));
  if (info.backing != expected.backing ||
      info.data_file != expected.data_file ||
      info.all_allocated != expected.all_allocated) {
    return "another header";
  }
  if (info.format == "raw") return "";
  const CheckResult check = Must(CheckImage(files, kChainImage, {}));
  if (check.corruptions + check.check_errors != 0) return "it is damaged";
  return "";
}

std::string RunAgain(const Run& run_verb, const VerbRun& run,
                     MemoryFileSystem& files) {
  const absl::Status status = run_verb(files, /*again=*/true);
  if (!status.ok()) return absl::StrCat("again: ", status.ToString());
  const std::string failure = IsNot(run, files);
  return failure.empty() ? "" : absl::StrCat("again: ", failure);
}

// `may_change`: the files that the verb writes to. `shrinks`: what lies past
// the new end may be lost at any time.
Verb Rewrite(const std::string& name, const MakeFiles& prepare,
             const Paths& may_change, const Run& run_verb,
             bool shrinks = false) {
  Verb verb{name, prepare, run_verb, nullptr};
  verb.examine = [=](const VerbRun& run, MemoryFileSystem& files,
                     bool returned) {
    std::string failure = OthersHaveChanged(run.before, files, may_change);
    if (!failure.empty()) return failure;
    failure =
        ViewOf(files).WhatIsLost(ViewOf(shrinks ? run.after : run.before));
    if (failure.empty()) failure = IsDamaged(files);
    if (failure.empty() && returned) failure = IsNot(run, files);
    return failure.empty() ? RunAgain(run_verb, run, files) : failure;
  };
  return verb;
}

// Puts another file in the place of the image, which is the old or the new
// one, byte for byte.
Verb Exchange(const std::string& name, const MakeFiles& prepare,
              const Run& run_verb) {
  Verb verb{name, prepare, run_verb, nullptr};
  verb.examine = [=](const VerbRun& run, MemoryFileSystem& files,
                     bool returned) {
    std::string failure = OthersHaveChanged(run.before, files, {kChainImage});
    if (!failure.empty()) return failure;
    const std::string expected = run.after.Contents(kChainImage);
    const std::string found = files.Contents(kChainImage);
    if (found != expected &&
        (returned || found != run.before.Contents(kChainImage))) {
      return std::string("neither the old nor the new image");
    }
    failure = RunAgain(run_verb, run, files);
    if (failure.empty() && (files.Contents(kChainImage) != expected ||
                            files.Paths() != run.after.Paths())) {
      failure = "again: other files";
    }
    return failure;
  };
  return verb;
}

// Writes a new image, of which nothing is promised before the end.
Verb Copy(const std::string& name, const MakeFiles& prepare,
          const Run& run_verb) {
  Verb verb{name, prepare, run_verb, nullptr};
  verb.examine = [=](const VerbRun& run, MemoryFileSystem& files,
                     bool returned) {
    std::string failure = OthersHaveChanged(run.before, files, {});
    if (failure.empty() && returned) failure = IsNot(run, files);
    return failure.empty() ? RunAgain(run_verb, run, files) : failure;
  };
  return verb;
}

// ---- Verbs ----

absl::Status Flatten(FileSystem& files, bool) {
  return FlattenImage(files, kChainImage, {.work = kAlone}).status();
}

Run RebaseTo(const std::string& backing, bool is_unsafe = false) {
  return [=](FileSystem& files, bool) {
    return RebaseImage(files, kChainImage,
                       {.backing_file = backing,
                        .backing_format = backing.empty() ? "" : "raw",
                        .unsafe = is_unsafe,
                        .work = kAlone})
        .status();
  };
}

Run CommitTo(const std::string& base, bool keep) {
  return [=](FileSystem& files, bool) {
    return CommitImage(files, kChainImage,
                       {.base = base, .keep = keep, .work = kAlone})
        .status();
  };
}

Run ResizeTo(uint64_t size) {
  return [=](FileSystem& files, bool) {
    return ResizeImage(files, kChainImage, {.bytes = size, .shrink = true})
        .status();
  };
}

// The base's other name is as long as a header has room for it.
Run AmendTo(const AmendOptions& options) {
  return [=](FileSystem& files, bool) {
    return AmendImage(files, kChainImage, options).status();
  };
}

void AddLongName(MemoryFileSystem& files) {
  files.Link("/disks/base.raw", "/disks/" + LongBaseName());
}

Run ConvertTo(const std::string& format, const std::string& base) {
  return [=](FileSystem& files, bool again) {
    ConvertOptions options;
    options.target.format = format;
    options.target.force = again;
    if (format != "raw") options.target.cluster_size = kCluster;
    options.target.backing_file = base;
    if (!base.empty()) options.target.backing_format = "raw";
    if (format == "add-cow" || format == "qcow2") {
      options.target.data_file = "new_data";
    }
    options.work = kAlone;
    if (again && files.Stat("/disks/new_data").ok()) {
      RETURN_IF_ERROR(files.Remove("/disks/new_data"));
    }
    return ConvertImage(files, "/disks/source", kChainImage, options).status();
  };
}

void MakeSource(MemoryFileSystem& files) {
  MakeQedOverlay(files);
  files.SetContents("/disks/source", files.Contents(kChainImage));
  Must(files.Remove(kChainImage));
}

}  // namespace

std::vector<Verb> RewritingVerbs() {
  const std::string base = "/disks/base.raw";
  const Paths top = {kChainImage};
  const Paths both = {kChainImage, "/disks/data"};
  const auto with_base = [&](Paths paths) {
    paths.push_back(base);
    return paths;
  };
  const auto with_long_name = [](const MakeFiles& make) {
    return [make](MemoryFileSystem& files) {
      make(files);
      AddLongName(files);
    };
  };
  std::vector<Verb> verbs = {
      Copy("convert_to_raw", MakeSource, ConvertTo("raw", "")),
      Copy("convert_to_qed", MakeSource, ConvertTo("qed", "")),
      Copy("convert_to_qed_on_base", MakeSource, ConvertTo("qed", "other.raw")),
      Copy("convert_to_addcow", MakeSource, ConvertTo("add-cow", "")),
      Copy("convert_to_addcow_on_base", MakeSource,
           ConvertTo("add-cow", "other.raw")),
      Copy("convert_to_qcow2", MakeSource, ConvertTo("qcow2", "")),
      Copy("convert_to_qcow2_on_base", MakeSource,
           ConvertTo("qcow2", "other.raw")),
      Rewrite("grow_l1_small_qcow2", MakeSmallQcow2(false), both,
              ResizeTo(64 * 65 * kSmallCluster)),
  };
  for (const bool is_disk : {false, true}) {
    const std::string name = is_disk ? "small_qcow2raw" : "small_qcow2";
    verbs.insert(verbs.end(),
                 {Rewrite("grow_" + name, MakeSmallQcow2(is_disk), both,
                          ResizeTo(300 * kSmallCluster)),
                  Rewrite("grow_in_table_" + name, MakeSmallQcow2(is_disk),
                          both, ResizeTo(20 * kSmallCluster)),
                  Rewrite("shrink_" + name, MakeGrownQcow2(is_disk), both,
                          ResizeTo(30 * kSmallCluster), /*shrinks=*/true)});
  }
  for (const auto& [name, draft] :
       {std::pair{"june", Draft::kJune2012}, {"july", Draft::kJuly2012}}) {
    verbs.push_back(Exchange(absl::StrCat("upgrade_", name), MakeDraft(draft),
                             AmendTo({.compat = "final"})));
    verbs.push_back(Rewrite(
        absl::StrCat("amend_", name), MakeDraft(draft), top,
        AmendTo({.backing_file = "./base.raw", .backing_format = "raw"})));
  }
  const struct {
    std::string name;
    std::string format;
    MakeFiles make;
    Paths own;
  } kImages[] = {{"qed", "qed", MakeQedOverlay, top},
                 {"addcow", "add-cow", MakeAddCowOverlay, both},
                 {"qcow2", "qcow2", MakeQcow2Overlay, both}};
  for (const auto& [name, format, make, own] : kImages) {
    verbs.insert(
        verbs.end(),
        {Rewrite("flatten_" + name, make, own, Flatten),
         Rewrite("rebase_" + name, make, own, RebaseTo("other.raw")),
         Rewrite("rebase_to_none_" + name, make, own, RebaseTo("")),
         Rewrite("rebase_unsafe_" + name, with_long_name(make), own,
                 RebaseTo(LongBaseName(), /*is_unsafe=*/true)),
         Rewrite("amend_" + name, with_long_name(make), own,
                 AmendTo({.backing_file = LongBaseName(),
                          .backing_format = "raw"})),
         Rewrite("grow_" + name, make, own, ResizeTo(12 * kCluster)),
         Rewrite("shrink_" + name, make, own, ResizeTo(2 * kCluster + 512),
                 /*shrinks=*/true),
         Rewrite("commit_" + name, make, with_base(own), CommitTo("", false)),
         Rewrite("commit_and_keep_" + name, make, with_base(own),
                 CommitTo("", true)),
         Rewrite("commit_two_down_" + name, OverTwo(format), with_base(own),
                 CommitTo(base, false))});
  }
  return verbs;
}

}  // namespace flatcow
