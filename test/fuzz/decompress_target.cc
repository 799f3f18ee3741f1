// SPDX-License-Identifier: Apache-2.0
//
// Input: the size of a cluster, then what it is decompressed from, by both
// methods; and its content, which must come back from what is made of it.
#include <algorithm>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "format/qcow2/decompress.h"
#include "format/qcow2/header.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/fuzz_target.h"
#include "support/packed_cluster.h"

namespace flatcow {
namespace {

using Decompressor = bool (*)(absl::Span<const uint8_t>, absl::Span<uint8_t>);

// In buffers of their very sizes, so that a sanitizer sees both ends.
std::vector<uint8_t> RequireSame(Decompressor decompress,
                                 const std::string& packed, size_t size) {
  const std::vector<uint8_t> source(packed.begin(), packed.end());
  std::vector<uint8_t> target(size, 0xa5);
  std::vector<uint8_t> again(size, 0x5a);
  const bool done = decompress(source, absl::MakeSpan(target));
  if (done != decompress(source, absl::MakeSpan(again)) ||
      (done && target != again)) {
    FuzzFinding("a cluster is decompressed in two ways");
  }
  return done ? target : std::vector<uint8_t>();
}

void RequireBack(Decompressor decompress, bool zstd,
                 const std::string& content) {
  // Sectors of the next cluster may follow.
  const std::string packed =
      PackedCluster(content, zstd) + content.substr(0, 99);
  const auto target = RequireSame(decompress, packed, content.size());
  if (!std::equal(
          target.begin(), target.end(), content.begin(), content.end(),
          [](uint8_t a, char b) { return a == static_cast<uint8_t>(b); })) {
    FuzzFinding("a cluster changes when it is compressed");
  }
}

}  // namespace

void FuzzDecompress(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  const size_t cluster_size =
      size_t{1} << (qcow2::kMinClusterBits +
                    input.Byte() %
                        (qcow2::kMaxClusterBits - qcow2::kMinClusterBits + 1));
  const std::string packed = input.Bytes(cluster_size);
  RequireSame(qcow2::DecompressDeflate, packed, cluster_size);
  RequireSame(qcow2::DecompressZstd, packed, cluster_size);
  std::string content = packed;
  content.resize(std::min<size_t>(cluster_size, 64 << 10), 'c');
  RequireBack(qcow2::DecompressDeflate, false, content);
  RequireBack(qcow2::DecompressZstd, true, content);
}

}  // namespace flatcow
