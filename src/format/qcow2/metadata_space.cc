// SPDX-License-Identifier: Apache-2.0
#include "format/qcow2/metadata_space.h"

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "base/status_macros.h"
#include "flatcow/status.h"
#include "format/qcow2/l2_entry.h"

namespace flatcow::qcow2 {

MetadataSpace::MetadataSpace(File& file, MetadataPages& pages,
                             const Header& header, uint64_t file_size)
    : file_(file),
      pages_(pages),
      refcounts_(header),
      cluster_bits_(header.cluster_bits),
      table_offset_(header.refcount_table_offset),
      table_bytes_(header.refcount_table_clusters * header.cluster_size()),
      tail_(file, file_size, header.cluster_size()) {}

absl::StatusOr<uint64_t> MetadataSpace::Extend() {
  const uint64_t cluster_size = uint64_t{1} << cluster_bits_;
  ASSIGN_OR_RETURN(const uint64_t offset, tail_.Extend(cluster_size));
  RETURN_IF_ERROR(file_.Allocate({offset, cluster_size}));
  return offset;
}

absl::StatusOr<uint64_t> MetadataSpace::FindOrAddBlock(uint64_t cluster) {
  if (refcounts_.BlockOf(cluster) >= table_bytes_ / sizeof(uint64_t)) {
    return MakeError(ENOSPC,
                     absl::StrCat(file_.path(), ": the refcount table of ",
                                  table_bytes_, " bytes is full"));
  }
  const uint64_t table_word = TableWord(cluster);
  ASSIGN_OR_RETURN(const uint64_t entry, pages_.ReadWord(table_word));
  if (const uint64_t block = SwapBytes(entry) & kOffsetMask; block != 0) {
    return block;
  }
  RETURN_IF_ERROR(pages_.EnsureSpace(table_word, 1));
  ASSIGN_OR_RETURN(const uint64_t block, Extend());
  const uint64_t own = block >> cluster_bits_;
  // What counts for it first, so that a failure leaves nothing behind.
  uint64_t counting = block;
  if (refcounts_.BlockOf(own) != refcounts_.BlockOf(cluster)) {
    ASSIGN_OR_RETURN(counting, FindOrAddBlock(own));
  }
  const uint64_t word = refcounts_.WordOf(counting, own);
  const auto set = [&](uint64_t count) {
    return pages_.Modify(word, 1, [&](uint64_t, uint64_t old) {
      return refcounts_.Set(old, own, count);
    });
  };
  RETURN_IF_ERROR(pages_.EnsureSpace(word, 1));
  RETURN_IF_ERROR(set(1));
  if (absl::Status status = pages_.Modify(
          table_word, 1, [&](uint64_t, uint64_t) { return SwapBytes(block); });
      !status.ok()) {
    set(0).IgnoreError();
    return status;
  }
  return block;
}

absl::Status MetadataSpace::SetCount(uint64_t offset, uint64_t count) {
  const uint64_t cluster = offset >> cluster_bits_;
  ASSIGN_OR_RETURN(const uint64_t block, FindOrAddBlock(cluster));
  const uint64_t word = refcounts_.WordOf(block, cluster);
  RETURN_IF_ERROR(pages_.EnsureSpace(word, 1));
  return pages_.Modify(word, 1, [&](uint64_t, uint64_t old) {
    return refcounts_.Set(old, cluster, count);
  });
}

absl::StatusOr<uint64_t> MetadataSpace::Take() {
  ASSIGN_OR_RETURN(const uint64_t offset, Extend());
  RETURN_IF_ERROR(SetCount(offset, 1));
  return offset;
}

absl::Status MetadataSpace::Free(uint64_t offset) {
  return SetCount(offset, 0);
}

}  // namespace flatcow::qcow2
