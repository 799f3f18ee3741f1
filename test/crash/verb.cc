// SPDX-License-Identifier: Apache-2.0
#include "crash/verb.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "crash/damaged_image.h"
#include "flatcow/image_ops.h"
#include "model/chain_shape.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kPiece = 4096;  // how much of a disk is read at once

// What a disk shows, piece by piece; nothing where reading fails. Empty when
// the image does not open.
using Pieces = std::vector<std::optional<std::string>>;

Pieces PiecesOf(const MemoryFileSystem& files) {
  const auto copy = files.Snapshot();
  const auto disk = OpenImage(*copy, kChainImage, {});
  Pieces pieces;
  if (!disk.ok()) return pieces;
  for (uint64_t at = 0; at < (*disk)->Size(); at += kPiece) {
    std::string bytes(kPiece, '\0');
    const auto length = (*disk)->Read(
        at, absl::MakeSpan(reinterpret_cast<uint8_t*>(bytes.data()), kPiece));
    pieces.emplace_back();
    if (length.ok()) pieces.back() = bytes.substr(0, *length);
  }
  return pieces;
}

std::string OthersHaveChanged(const MemoryFileSystem& before,
                              const MemoryFileSystem& files) {
  for (const std::string& path : before.Paths()) {
    if (path == kChainImage) continue;
    if (!files.Exists(path) || files.Contents(path) != before.Contents(path)) {
      return absl::StrCat(path, " has changed");
    }
  }
  return "";
}

bool IsImage(MemoryFileSystem& files) {
  const auto file = files.Open(kChainImage, Access::kReadOnly);
  return file.ok() && Must(ProbeFormat(**file)) != "raw";
}

std::string ExamineAgain(const Verb& verb, const VerbRun& run,
                         MemoryFileSystem& files) {
  const absl::Status status = verb.run(files, /*again=*/true);
  if (!status.ok()) return absl::StrCat("again: ", status.ToString());
  if (PiecesOf(files) != PiecesOf(run.after)) return "again: other content";
  const std::string change = OthersHaveChanged(run.after, files);
  if (!change.empty()) return absl::StrCat("again: ", change);
  const auto after = run.after.Snapshot();
  const CheckResult expected = Must(CheckImage(*after, kChainImage, {}));
  const CheckResult found = Must(CheckImage(files, kChainImage, {}));
  if (found.corruptions != expected.corruptions ||
      found.leaks != expected.leaks || found.check_errors != 0) {
    return absl::StrCat("again: ", found.corruptions, " corruptions and ",
                        found.leaks, " leaks");
  }
  return "";
}

// A new image is whole, the old one, or none.
std::string ExamineNew(const VerbRun& run, MemoryFileSystem& files,
                       bool returned) {
  const Pieces after = PiecesOf(run.after);
  const Pieces found = IsImage(files) ? PiecesOf(files) : Pieces();
  if (returned && found != after) return "it is not there";
  if (found.empty()) return "";
  if (found != after && found != PiecesOf(run.before)) {
    return "it is neither the new nor the old image";
  }
  const auto clean = IsClean(files, kChainImage);
  return clean ? "" : clean.message();
}

// What could be read reads as before, or as the repair leaves it.
std::string ExamineRepaired(const VerbRun& run, MemoryFileSystem& files,
                            bool returned) {
  const Pieces before = PiecesOf(run.before);
  const Pieces after = PiecesOf(run.after);
  const Pieces found = PiecesOf(files);
  if (found.size() != before.size()) return "it does not open";
  if (returned && found != after) return "the repair was lost";
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] == before[i] || found[i] == after[i]) continue;
    return absl::StrCat("byte ", i * kPiece, " reads as something else");
  }
  return "";
}

Verb Complete(Verb verb,
              std::string (*examine)(const VerbRun&, MemoryFileSystem&, bool)) {
  const Verb itself = verb;
  verb.examine = [itself, examine](const VerbRun& run, MemoryFileSystem& files,
                                   bool returned) {
    std::string failure = OthersHaveChanged(run.before, files);
    if (failure.empty()) failure = examine(run, files, returned);
    return failure.empty() ? ExamineAgain(itself, run, files) : failure;
  };
  return verb;
}

// Create refuses an image file of another size, the message says so.
void RemoveEmpty(FileSystem& files, const std::string& path) {
  const auto stat = files.Stat(path);
  if (stat.ok() && stat->size == 0) Must(files.Remove(path));
}

Verb Create(const std::string& name, const MakeFiles& prepare, bool force,
            const NewImage& image) {
  const auto run = [=](FileSystem& files, bool again) {
    CreateOptions options = OptionsOf(image);
    options.force = force || again;
    if (again) RemoveEmpty(files, absl::StrCat("/disks/", image.data_file));
    return CreateImage(files, kChainImage, options).status();
  };
  return Complete({"create_" + name, prepare, run, nullptr}, ExamineNew);
}

Verb Check(const std::string& name, const MakeFiles& prepare, Repair repair) {
  const auto run = [=](FileSystem& files, bool) {
    CheckOptions options;
    options.repair = repair;
    return CheckImage(files, kChainImage, options).status();
  };
  return Complete({"check_" + name, prepare, run, nullptr}, ExamineRepaired);
}

Verb OpenToWrite(const std::string& name, const MakeFiles& prepare) {
  const auto run = [](FileSystem& files, bool) {
    return OpenImage(files, kChainImage, Writable()).status();
  };
  return Complete({"open_" + name, prepare, run, nullptr}, ExamineRepaired);
}

NewImage Overlay(const std::string& format, const std::string& backing) {
  NewImage image;
  image.format = format;
  image.cluster_size = 4096;
  image.size = 9 << 12;
  image.backing_file = backing;
  if (!backing.empty()) image.backing_format = "raw";
  if (format != "qed") image.data_file = "new_data";
  return image;
}

}  // namespace

std::vector<Verb> AllVerbs() {
  const auto nothing = [](MemoryFileSystem&) {};
  const std::string base = "base.raw";
  NewImage same_data = Overlay("add-cow", base);
  same_data.data_file = "data";
  same_data.size = 8 << 12;
  NewImage same_qcow2_data = same_data;
  same_qcow2_data.format = "qcow2";
  NewImage data_is_disk = Overlay("qcow2", "");
  data_is_disk.data_file_raw = true;
  return {
      Create("qed", MakeBase, false, Overlay("qed", base)),
      Create("qed_alone", nothing, false, Overlay("qed", "")),
      Create("qed_long_name", MakeBase, false, Overlay("qed", LongBaseName())),
      Create("qed_over_qed", MakeQed, true, Overlay("qed", base)),
      Create("qed_over_addcow", MakeAddCow, true, Overlay("qed", base)),
      Create("addcow", MakeBase, false, Overlay("add-cow", base)),
      Create("addcow_alone", nothing, false, Overlay("add-cow", "")),
      Create("addcow_long_name", MakeBase, false,
             Overlay("add-cow", LongBaseName())),
      Create("addcow_over_qed", MakeQed, true, Overlay("add-cow", base)),
      Create("addcow_over_addcow", MakeAddCow, true, same_data),
      Create("qcow2", MakeBase, false, Overlay("qcow2", base)),
      Create("qcow2_alone", nothing, false, Overlay("qcow2", "")),
      Create("qcow2_long_name", MakeBase, false,
             Overlay("qcow2", LongBaseName())),
      Create("qcow2_data_is_disk", nothing, false, data_is_disk),
      Create("qcow2_over_qed", MakeQed, true, Overlay("qcow2", base)),
      Create("qcow2_over_qcow2", MakeQcow2, true, same_qcow2_data),
      Create("addcow_over_qcow2", MakeQcow2, true, same_data),
      Create("qed_over_qcow2", MakeQcow2, true, Overlay("qed", base)),
      Check("leaks", MakeLeaks, Repair::kLeaks),
      Check("leaks_as_all", MakeLeaks, Repair::kAll),
      Check("unclean", MakeUnclean, Repair::kLeaks),
      Check("unclean_as_all", MakeUnclean, Repair::kAll),
      Check("bad_entries", MakeBadEntries, Repair::kAll),
      Check("bad_table", MakeBadTable, Repair::kAll),
      Check("shared_cluster", MakeSharedCluster, Repair::kAll),
      Check("cluster_in_table", MakeClusterInTable, Repair::kAll),
      Check("stale_bits", MakeStaleBits, Repair::kAll),
      Check("high_refcounts", MakeHighRefcounts, Repair::kLeaks),
      Check("high_refcounts_as_all", MakeHighRefcounts, Repair::kAll),
      Check("low_refcounts", MakeLowRefcounts, Repair::kAll),
      Check("dirty", MakeDirty, Repair::kAll),
      Check("marked_corrupt", MakeMarkedCorrupt, Repair::kAll),
      Check("bad_l2_entries", MakeBadL2Entries, Repair::kAll),
      Check("bad_l1_entry", MakeBadL1Entry, Repair::kAll),
      OpenToWrite("unclean", MakeUnclean),
      OpenToWrite("dirty", MakeDirty),
      OpenToWrite("low_refcounts", MakeLowRefcounts),
      OpenToWrite("high_refcounts", MakeHighRefcounts),
  };
}

}  // namespace flatcow
