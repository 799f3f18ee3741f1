// SPDX-License-Identifier: Apache-2.0
//
// A valid chain, damaged, then driven with everything a guest and a user can
// ask for.
//
// Input: which chain, how many strokes of damage (a third of all inputs has
// none, so that every result is known), the damage, the operations.
#include <set>
#include <string>
#include <vector>

#include "flatcow/image_ops.h"
#include "format/addcow/draft_header.h"
#include "format/addcow/header.h"
#include "format/qed/header.h"
#include "fuzz/file_damage.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/guarded_file_system.h"
#include "fuzz/image_session.h"
#include "fuzz/prepared_chains.h"
#include "model/chain_shape.h"
#include "model/image_testing.h"

namespace flatcow {
namespace {

constexpr uint64_t kDiskSpace = 64 << 20;

// Mostly the image itself.
std::string TakeVictim(const MemoryFileSystem& files, FuzzInput& input) {
  const std::vector<std::string> paths = files.Paths();
  const uint8_t which = input.Byte();
  return which % 2 == 0 ? kChainImage : paths[which / 2 % paths.size()];
}

// The image and its image file. What else an operation writes to is a finding.
std::set<std::string> OwnFiles(FileSystem& files) {
  std::set<std::string> own = {kChainImage};
  const auto info = ReadImageInfo(files, kChainImage, {});
  RequireClear(info.status());
  if (info.ok() && info->data_file.has_value()) {
    const auto file = files.Open(info->data_file->path, Access::kReadOnly);
    if (file.ok()) own.insert((*file)->path());
  }
  return own;
}

// All of the first cluster but the size, features and where tables are.
std::string LastingQcow2Header(std::string head) {
  constexpr Extent kFields[] = {{24, 8}, {36, 24}, {72, 8}, {88, 8}};
  for (const Extent& field : kFields) {
    for (uint64_t at = field.offset; at < field.end(); ++at) {
      if (at < head.size()) head[at] = '\0';
    }
  }
  const auto cluster_bits =
      static_cast<uint8_t>(head.size() > 23 ? head[23] : 0);
  return head.substr(0, size_t{1} << (cluster_bits % 32));
}

// What no use of an image may change: guest data must never get there. Empty
// for raw files.
std::string LastingHeader(FileSystem& files) {
  const auto file = Must(files.Open(kChainImage, Access::kReadOnly));
  std::string head(4096, '\0');
  const size_t length = Must(file->Read(
      0, absl::MakeSpan(reinterpret_cast<uint8_t*>(head.data()), head.size())));
  head.resize(length);
  if (head.starts_with("ACOW")) {
    // The one bit that is set when all is allocated.
    if (length > addcow::kCompatOffset) head[addcow::kCompatOffset] |= 1;
    return head.substr(0, addcow::kHeaderBytes);
  }
  if (head.starts_with("ADD_COW\xff")) {
    if (length > addcow::kDraftFeaturesOffset) {
      head[addcow::kDraftFeaturesOffset] |= addcow::kDraftAllAllocated;
    }
    return head;
  }
  if (head.starts_with("QFI\xfb")) return LastingQcow2Header(head);
  if (head.compare(0, 4, "QED\0", 4) != 0) return "";
  for (const uint64_t field :
       {qed::kFeaturesOffset, qed::kAutoclearOffset, qed::kImageSizeOffset}) {
    for (size_t i = 0; i < sizeof(uint64_t); ++i) {
      if (field + i < length) head[field + i] = '\0';
    }
  }
  return head;
}

}  // namespace

void FuzzImageOperations(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const auto& chains = PreparedChains();
  const PreparedChain& chain = chains[input.Below(chains.size())];
  const auto files = chain.files->Snapshot();
  const uint8_t strokes = input.Byte() % 12;
  const bool damaged = strokes > 3;
  for (int i = 3; i < strokes; ++i) {
    const auto victim =
        Must(files->Open(TakeVictim(*files, input), Access::kReadWrite));
    DamageFile(*victim, input);
  }
  GuardedFileSystem guarded(*files, kDiskSpace);
  guarded.Permit(OwnFiles(*files));
  const std::string header = LastingHeader(*files);
  {
    ImageSession session(guarded, kChainImage);
    if (!damaged) session.ExpectNoFailure(chain.content);
    session.Run(input);
  }
  if (LastingHeader(*files) != header) FuzzFinding("the header has changed");
}

}  // namespace flatcow
