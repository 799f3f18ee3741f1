// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/compressed_clusters.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/checked_math.h"
#include "base/helper_threads.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/qcow2/decompress.h"
#include "format/qcow2/l2_entry.h"
#include "io/read_to_end.h"

namespace flatcow::qcow2 {
namespace {

// Less takes less time than waking another thread saves.
constexpr size_t kWorthSharing = 32 << 10;

}  // namespace

CompressedClusters::CompressedClusters(const File& file, const Header& header,
                                       const TableTree& tree,
                                       const MetadataPages& pages,
                                       std::shared_ptr<MetadataCache> cache)
    : ComputedFile(absl::StrCat(file.path(), " (decompressed)")),
      image_(file),
      cluster_bits_(header.cluster_bits),
      compression_type_(header.compression_type),
      tree_(tree),
      pages_(pages),
      remembered_(std::move(cache)) {}

absl::Status CompressedClusters::Decompress(uint64_t cluster_offset,
                                            absl::Span<uint8_t> target) const {
  // Kept by the thread: a cluster is seldom the last.
  thread_local std::vector<uint8_t> packed;
  ASSIGN_OR_RETURN(const uint64_t table, tree_.Find(cluster_offset));
  const TableGeometry& geometry = tree_.geometry();
  ASSIGN_OR_RETURN(const uint64_t word,
                   pages_.ReadWord(geometry.L2Word(
                       table, geometry.L2Index(cluster_offset))));
  const Extent place = CompressedPlace(SwapBytes(word), cluster_bits_);
  packed.resize(place.length);
  // The last sector may be cut off where the file ends.
  ASSIGN_OR_RETURN(const size_t got,
                   ReadToEnd(image_, place.offset, absl::MakeSpan(packed)));
  const auto source = absl::MakeConstSpan(packed).first(got);
  const bool done = compression_type_ == kCompressionZstd
                        ? DecompressZstd(source, target)
                        : DecompressDeflate(source, target);
  if (done) return absl::OkStatus();
  return MakeError(
      EIO, absl::StrCat(image_.path(), ": compressed cluster for byte ",
                        cluster_offset, " of the disk, at byte ", place.offset,
                        " of the file: can't be decompressed to ",
                        target.size(), " bytes; the image is damaged"));
}

absl::Status CompressedClusters::ReadPart(uint64_t offset,
                                          absl::Span<uint8_t> target) const {
  if (remembered_.Find(offset, target)) return absl::OkStatus();
  thread_local std::vector<uint8_t> cluster;
  const uint64_t cluster_size = uint64_t{1} << cluster_bits_;
  const uint64_t begin = RoundDown(offset, cluster_size);
  cluster.resize(cluster_size);
  RETURN_IF_ERROR(Decompress(begin, absl::MakeSpan(cluster)));
  std::memcpy(target.data(), &cluster[offset - begin], target.size());
  remembered_.Store(begin, absl::MakeConstSpan(cluster));
  return absl::OkStatus();
}

absl::StatusOr<size_t> CompressedClusters::Read(
    uint64_t offset, absl::Span<uint8_t> buffer) const {
  if (buffer.empty()) return 0;
  const uint64_t cluster_size = uint64_t{1} << cluster_bits_;
  const uint64_t first = offset >> cluster_bits_;
  const uint64_t last = (offset + buffer.size() - 1) >> cluster_bits_;
  std::vector<absl::Status> results(last - first + 1);
  const auto read = [&](size_t index) {
    const uint64_t cluster = (first + index) << cluster_bits_;
    const uint64_t begin = std::max(offset, cluster);
    const uint64_t end =
        std::min(offset + buffer.size(), cluster + cluster_size);
    const auto target = buffer.subspan(begin - offset, end - begin);
    results[index] = target.size() == cluster_size ? Decompress(begin, target)
                                                   : ReadPart(begin, target);
  };
  if (buffer.size() < kWorthSharing) {
    for (size_t i = 0; i < results.size(); ++i) read(i);
  } else {
    HelperThreads::Get().Run(results.size(), read);
  }
  for (const absl::Status& status : results) RETURN_IF_ERROR(status);
  return buffer.size();
}

}  // namespace flatcow::qcow2
