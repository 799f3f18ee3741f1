// SPDX-License-Identifier: Apache-2.0
#include "fault/fault_verbs.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/byte_order.h"
#include "base/status_macros.h"
#include "flatcow/image.h"
#include "flatcow/image_ops.h"
#include "format/qcow2/header.h"
#include "format/qcow2/l2_entry.h"
#include "format/qed/header.h"
#include "model/chain_shape.h"
#include "model/disk_model.h"
#include "model/draft_image.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

using Effect = FaultVerb::Effect;
using Prepare = std::function<void(MemoryFileSystem&)>;

constexpr uint32_t kCluster = 4096;
constexpr uint64_t kL1 = kCluster;         // of an image made here
constexpr uint64_t kTable = 5 * kCluster;  // its first L2 table

// ---- Images ----

// An image that holds some data, over the chain.
Prepare Chain(std::vector<std::string> formats) {
  return [formats](MemoryFileSystem& files) {
    const bool based =
        formats.front() != "raw" && formats.front() != kDataFileIsDisk;
    MakeChain(files, {.formats = formats,
                      .cluster_size = kCluster,
                      .base_clusters = based ? 5u : 0u,
                      .base_odd = 77,
                      .disk_clusters = 8});
    const auto image = Must(OpenImage(files, kChainImage, Writable()));
    WriteDisk(*image, 5000, PatternText(1, 9000));
    Must(image->WriteZeroes({4 * kCluster, kCluster}));
    Must(image->Flush());
  };
}

// A QED image with clusters that nothing refers to at its end.
void LeakyQed(MemoryFileSystem& files) {
  Chain({"qed"})(files);
  const std::string bytes = files.Contents(kChainImage);
  files.SetContents(kChainImage, bytes + PatternText(3, 2 * kCluster));
}

// The same, not closed cleanly.
void UncleanQed(MemoryFileSystem& files) {
  LeakyQed(files);
  std::string bytes = files.Contents(kChainImage);
  bytes[qed::kFeaturesOffset] |= static_cast<char>(qed::kFeatureNeedCheck);
  files.SetContents(kChainImage, bytes);
}

// An entry that points nowhere.
void DamagedQed(MemoryFileSystem& files) {
  UncleanQed(files);
  PokeFile(files, kChainImage, kTable + 2 * sizeof(uint64_t),
           Little64(uint64_t{1} << 40));
}

// Clusters and a table with two users each.
void SharedQed(MemoryFileSystem& files) {
  LeakyQed(files);
  PokeFile(files, kChainImage, kL1 + sizeof(uint64_t), Little64(kTable));
  std::string entry =
      files.Contents(kChainImage).substr(kTable + sizeof(uint64_t), 8);
  PokeFile(files, kChainImage, kTable + 6 * sizeof(uint64_t), entry);
}

// Bits past the end of the disk.
void StaleAddCow(MemoryFileSystem& files) {
  Chain({"add-cow"})(files);
  PokeFile(files, kChainImage, kCluster + 1, "\x7f");
}

// ---- qcow2 ----

uint64_t BigAt(MemoryFileSystem& files, uint64_t offset) {
  const std::string bytes = files.Contents(kChainImage).substr(offset, 8);
  return LoadBig64(reinterpret_cast<const uint8_t*>(bytes.data()));
}

void PokeBig(MemoryFileSystem& files, uint64_t offset, uint64_t value) {
  PokeFile(files, kChainImage, offset, Little64(SwapBytes(value)));
}

qcow2::Header Qcow2Header(MemoryFileSystem& files) {
  const auto file = Must(files.Open(kChainImage, Access::kReadOnly));
  return Must(qcow2::LoadHeader(*file));
}

// Of four clusters that nothing refers to, two are counted.
void LeakyQcow2(MemoryFileSystem& files) {
  Chain({"qcow2"})(files);
  const std::string bytes = files.Contents(kChainImage);
  files.SetContents(kChainImage, bytes + PatternText(3, 4 * kCluster));
  const uint64_t block = BigAt(files, Qcow2Header(files).refcount_table_offset);
  PokeFile(files, kChainImage, block + bytes.size() / kCluster * 2,
           std::string{'\0', '\1', '\0', '\3'});
}

// Not one refcount is right, and the header says so.
void DirtyQcow2(MemoryFileSystem& files) {
  LeakyQcow2(files);
  const qcow2::Header header = Qcow2Header(files);
  PokeFile(files, kChainImage, BigAt(files, header.refcount_table_offset),
           std::string(16, '\0'));
  PokeBig(files, qcow2::kIncompatibleOffset,
          header.incompatible | qcow2::kIncompatibleDirty);
}

// The same without a word in the header.
void UncountedQcow2(MemoryFileSystem& files) {
  DirtyQcow2(files);
  PokeBig(files, qcow2::kIncompatibleOffset, qcow2::kIncompatibleDataFile);
}

// Entries that point elsewhere.
void DamagedQcow2(MemoryFileSystem& files) {
  DirtyQcow2(files);
  const uint64_t table =
      BigAt(files, Qcow2Header(files).l1_offset) & qcow2::kOffsetMask;
  PokeBig(files, table + 2 * sizeof(uint64_t), qcow2::kEntryCopied | kCluster);
  PokeBig(files, table + 6 * sizeof(uint64_t), uint64_t{1} << 40);
}

Prepare MakeDraft(Draft draft) {
  return [draft](MemoryFileSystem& files) {
    MakeSmallDraft(files, kChainImage, draft);
  };
}

// ---- Verbs ----

absl::StatusOr<std::string> ReadAll(Image& image) {
  std::vector<uint8_t> bytes(image.Size());
  ASSIGN_OR_RETURN(const size_t length, image.Read(0, absl::MakeSpan(bytes)));
  return std::string(bytes.begin(),
                     bytes.begin() + static_cast<ptrdiff_t>(length));
}

auto OpenAs(Access access) {
  return [access](FileSystem& files) -> absl::StatusOr<VerbResult> {
    OpenOptions options;
    options.access = access;
    options.metadata_cache = NewMetadataCache(1);
    ASSIGN_OR_RETURN(const auto image, OpenImage(files, kChainImage, options));
    ASSIGN_OR_RETURN(std::string text, ReadAll(*image));
    return VerbResult{std::move(text)};
  };
}

absl::StatusOr<VerbResult> MakeWritable(FileSystem& files) {
  ASSIGN_OR_RETURN(const auto image, OpenImage(files, kChainImage, {}));
  RETURN_IF_ERROR(image->MakeWritable());
  ASSIGN_OR_RETURN(std::string text, ReadAll(*image));
  return VerbResult{std::move(text)};
}

absl::StatusOr<VerbResult> Map(FileSystem& files) {
  ASSIGN_OR_RETURN(const auto image, OpenImage(files, kChainImage, {}));
  ASSIGN_OR_RETURN(const SegmentList map, image->Map({0, image->Size()}));
  ASSIGN_OR_RETURN(const uint64_t allocated, image->AllocatedBytes());
  return VerbResult{absl::StrCat(Describe(map), allocated)};
}

std::string TextOf(const ImageInfo& info) {
  return absl::StrCat(info.path, " ", info.format, " ", info.virtual_size, " ",
                      info.cluster_size, " ", info.allocated_bytes, " ",
                      info.needs_check, " ",
                      info.backing.has_value() ? info.backing->path : "-", " ",
                      info.data_file.has_value() ? info.data_file->path : "-");
}

absl::StatusOr<VerbResult> Info(FileSystem& files) {
  ASSIGN_OR_RETURN(const ImageInfo info, ReadImageInfo(files, kChainImage, {}));
  return VerbResult{TextOf(info)};
}

absl::StatusOr<VerbResult> ChainInfo(FileSystem& files) {
  ASSIGN_OR_RETURN(const std::vector<ImageInfo> chain,
                   ReadChainInfo(files, kChainImage, {}));
  VerbResult result;
  for (const ImageInfo& info : chain) {
    absl::StrAppend(&result.text, TextOf(info), "\n");
  }
  return result;
}

auto Check(Repair repair) {
  return [repair](FileSystem& files) -> absl::StatusOr<VerbResult> {
    CheckOptions options;
    options.repair = repair;
    ASSIGN_OR_RETURN(const CheckResult check,
                     CheckImage(files, kChainImage, options));
    return VerbResult{
        absl::StrCat(check.format, " ", check.total_clusters, " ",
                     check.allocated_clusters, " ", check.fragmented_clusters,
                     " ", check.corruptions, " ", check.leaks, " ",
                     check.corruptions_fixed, " ", check.leaks_fixed, "\n",
                     absl::StrJoin(check.problems, "\n"), "\n",
                     absl::StrJoin(check.changed, "\n")),
        check.check_errors != 0 || !check.warnings.empty()};
  };
}

auto Create(const NewImage& image) {
  return [options = OptionsOf(image)](
             FileSystem& files) -> absl::StatusOr<VerbResult> {
    ASSIGN_OR_RETURN(const CreateResult result,
                     CreateImage(files, kChainImage, options));
    return VerbResult{absl::StrCat(result.size, " ", result.cluster_size, " ",
                                   result.backing_format, " ",
                                   absl::StrJoin(result.warnings, "\n"))};
  };
}

// ---- Verbs that rewrite ----

using Verb = std::function<absl::Status(FileSystem&)>;

auto Quietly(Verb verb) {
  return [verb](FileSystem& files) -> absl::StatusOr<VerbResult> {
    RETURN_IF_ERROR(verb(files));
    return VerbResult{};
  };
}

absl::Status Flatten(FileSystem& files) {
  return FlattenImage(files, kChainImage, {.work = {.parallel = 1}}).status();
}

Verb RebaseTo(const std::string& backing, bool is_unsafe) {
  return [=](FileSystem& files) {
    return RebaseImage(files, kChainImage,
                       {.backing_file = backing,
                        .backing_format = backing.empty() ? "" : "raw",
                        .unsafe = is_unsafe,
                        .work = {.parallel = 1}})
        .status();
  };
}

absl::Status Commit(FileSystem& files) {
  return CommitImage(files, kChainImage, {.work = {.parallel = 1}}).status();
}

Verb ResizeTo(uint64_t size) {
  return [=](FileSystem& files) {
    return ResizeImage(files, kChainImage, {.bytes = size, .shrink = true})
        .status();
  };
}

absl::Status Upgrade(FileSystem& files) {
  return AmendImage(files, kChainImage, {.compat = "final"}).status();
}

Verb ConvertTo(const NewImage& image) {
  return [options = OptionsOf(image)](FileSystem& files) {
    return ConvertImage(
               files, "/disks/base.raw", kChainImage,
               {.format = "raw", .target = options, .work = {.parallel = 1}})
        .status();
  };
}

// Chain(), and beside it another base of about the same content.
Prepare WithOtherBase(const std::string& format) {
  return [format](MemoryFileSystem& files) {
    Chain({format})(files);
    std::string other = files.Contents("/disks/base.raw");
    Overwrite(other, 3 * kCluster, "other");
    files.SetContents("/disks/other.raw", other.substr(0, 4 * kCluster));
  };
}

std::vector<FaultVerb> RewritingVerbs(const std::string& name,
                                      const std::string& format) {
  const Prepare chain = WithOtherBase(format);
  const auto rewrite = [&](const std::string& verb, Verb run) {
    return FaultVerb{verb + "_" + name, Effect::kRepairs, chain, Quietly(run)};
  };
  return {rewrite("flatten", Flatten),
          rewrite("rebase", RebaseTo("other.raw", false)),
          rewrite("rebase_to_none", RebaseTo("", false)),
          rewrite("rebase_unsafe", RebaseTo("./base.raw", true)),
          rewrite("commit", Commit),
          rewrite("grow", ResizeTo(11 * kCluster)),
          {"shrink_" + name, Effect::kShrinks, chain,
           Quietly(ResizeTo(2 * kCluster + 512))}};
}

// What images are created over.
void OnlyBase(MemoryFileSystem& files) {
  files.SetContents("/disks/base.raw", PatternText(7, 5 * kCluster));
}

}  // namespace

std::vector<FaultVerb> AllFaultVerbs() {
  const std::vector<std::pair<std::string, Prepare>> kChains = {
      {"raw", Chain({"raw"})},
      {"qed", Chain({"qed"})},
      {"addcow", Chain({"add-cow"})},
      {"qed_addcow", Chain({"qed", "add-cow"})},
      {"addcow_qed", Chain({"add-cow", "qed"})},
      {"addcow_in_qed", Chain({"add-cow/qed"})},
      {"qcow2", Chain({"qcow2"})},
      {"qcow2raw", Chain({kDataFileIsDisk})},
      {"qcow2_qed", Chain({"qcow2", "qed"})},
      {"addcow_qcow2", Chain({"add-cow", "qcow2"})},
  };
  const std::vector<std::pair<std::string, Prepare>> kChecked = {
      {"qed", Chain({"qed"})},
      {"addcow", Chain({"add-cow"})},
      {"leaky_qed", LeakyQed},
      {"unclean_qed", UncleanQed},
      {"damaged_qed", DamagedQed},
      {"shared_qed", SharedQed},
      {"stale_addcow", StaleAddCow},
      {"qcow2", Chain({"qcow2"})},
      {"leaky_qcow2", LeakyQcow2},
      {"dirty_qcow2", DirtyQcow2},
      {"uncounted_qcow2", UncountedQcow2},
      {"damaged_qcow2", DamagedQcow2},
  };
  std::vector<FaultVerb> verbs;
  for (const auto& [name, chain] : kChains) {
    verbs.insert(
        verbs.end(),
        {{"open_" + name, Effect::kNone, chain, OpenAs(Access::kReadOnly)},
         {"open_rw_" + name, Effect::kNone, chain, OpenAs(Access::kReadWrite)},
         {"make_writable_" + name, Effect::kNone, chain, MakeWritable},
         {"map_" + name, Effect::kNone, chain, Map},
         {"info_" + name, Effect::kNone, chain, Info},
         {"chain_info_" + name, Effect::kNone, chain, ChainInfo}});
  }
  for (const auto& [name, image] : kChecked) {
    verbs.insert(
        verbs.end(),
        {{"check_" + name, Effect::kNone, image, Check(Repair::kNone)},
         {"check_leaks_" + name, Effect::kRepairs, image,
          Check(Repair::kLeaks)},
         {"check_all_" + name, Effect::kRepairs, image, Check(Repair::kAll)}});
  }
  const NewImage raw{.format = "raw", .size = 5 * kCluster};
  const NewImage qed{.format = "qed", .backing_file = "base.raw"};
  const NewImage addcow{.format = "add-cow",
                        .backing_file = "base.raw",
                        .backing_format = "raw",
                        .data_file = "data"};
  const NewImage addcow_in_qed{.format = "add-cow",
                               .size = 5 * kCluster,
                               .backing_file = "base.raw",
                               .backing_format = "raw",
                               .data_file = "data",
                               .data_format = "qed"};
  const NewImage qcow2{.format = "qcow2",
                       .backing_file = "base.raw",
                       .backing_format = "raw",
                       .data_file = "data"};
  const NewImage qcow2raw{.format = "qcow2",
                          .size = 5 * kCluster,
                          .data_file = "data",
                          .data_file_raw = true};
  verbs.insert(
      verbs.end(),
      {{"create_raw", Effect::kCreates, OnlyBase, Create(raw)},
       {"create_qed", Effect::kCreates, OnlyBase, Create(qed)},
       {"create_addcow", Effect::kCreates, OnlyBase, Create(addcow)},
       {"create_addcow_in_qed", Effect::kCreates, OnlyBase,
        Create(addcow_in_qed)},
       {"create_qcow2", Effect::kCreates, OnlyBase, Create(qcow2)},
       {"create_qcow2raw", Effect::kCreates, OnlyBase, Create(qcow2raw)},
       {"open_rw_unclean_qed", Effect::kRepairs, UncleanQed,
        OpenAs(Access::kReadWrite)},
       {"make_writable_unclean_qed", Effect::kRepairs, UncleanQed,
        MakeWritable},
       {"open_rw_dirty_qcow2", Effect::kRepairs, DirtyQcow2,
        OpenAs(Access::kReadWrite)},
       {"open_rw_uncounted_qcow2", Effect::kRepairs, UncountedQcow2,
        OpenAs(Access::kReadWrite)},
       {"make_writable_dirty_qcow2", Effect::kRepairs, DirtyQcow2,
        MakeWritable}});
  verbs.insert(
      verbs.end(),
      {{"convert_to_raw", Effect::kCreates, OnlyBase, Quietly(ConvertTo(raw))},
       {"convert_to_qed", Effect::kCreates, OnlyBase,
        Quietly(ConvertTo({.format = "qed"}))},
       {"convert_to_qed_on_base", Effect::kCreates, OnlyBase,
        Quietly(ConvertTo(qed))},
       {"convert_to_addcow", Effect::kCreates, OnlyBase,
        Quietly(ConvertTo({.format = "add-cow", .data_file = "data"}))},
       {"convert_to_qcow2", Effect::kCreates, OnlyBase,
        Quietly(ConvertTo({.format = "qcow2", .data_file = "data"}))},
       {"convert_to_qcow2_on_base", Effect::kCreates, OnlyBase,
        Quietly(ConvertTo(qcow2))},
       {"grow_tables_qcow2", Effect::kRepairs, Chain({"qcow2"}),
        Quietly(ResizeTo(600 * kCluster))},
       {"grow_qcow2raw", Effect::kRepairs, Chain({kDataFileIsDisk}),
        Quietly(ResizeTo(11 * kCluster))},
       {"grow_tables_qcow2raw", Effect::kRepairs, Chain({kDataFileIsDisk}),
        Quietly(ResizeTo(600 * kCluster))},
       {"shrink_qcow2raw", Effect::kShrinks, Chain({kDataFileIsDisk}),
        Quietly(ResizeTo(2 * kCluster + 512))}});
  verbs.insert(verbs.end(), {{"upgrade_june", Effect::kRepairs,
                              MakeDraft(Draft::kJune2012), Quietly(Upgrade)},
                             {"upgrade_july", Effect::kRepairs,
                              MakeDraft(Draft::kJuly2012), Quietly(Upgrade)}});
  for (const auto& [name, format] : {std::pair{"qed", "qed"},
                                     {"addcow", "add-cow"},
                                     {"addcow_in_qed", "add-cow/qed"},
                                     {"qcow2", "qcow2"}}) {
    const auto rewriting = RewritingVerbs(name, format);
    verbs.insert(verbs.end(), rewriting.begin(), rewriting.end());
  }
  return verbs;
}

}  // namespace flatcow
