// SPDX-License-Identifier: Apache-2.0
//
// Refcounts, and an L1 table where it must be larger, written anew at the end
// of the file. Nothing that the header names is written to; then one write of a
// sector makes the header name what is new. So this is how refcounts that can't
// be trusted are mended, how tables get larger, and how an image is made.
#ifndef FLATCOW_FORMAT_QCOW2_BUILD_METADATA_H_
#define FLATCOW_FORMAT_QCOW2_BUILD_METADATA_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "format/qcow2/header.h"
#include "format/qcow2/metadata_map.h"
#include "io/syncer.h"

namespace flatcow::qcow2 {

// Entries of an L1 table that a disk of `size` bytes needs, at least 1.
uint64_t L1EntriesFor(const Header& header, uint64_t size);

// The largest disk, in bytes: what the largest L1 table reaches.
uint64_t MaxSize(const Header& header);

// Is the refcount table so long that it can count every table that a disk of
// `size` bytes may get?
bool HasRoomFor(const Header& header, const MetadataMap& map, uint64_t size,
                uint64_t file_size);

// Writes refcounts for what `map`, which has been read from the file, has in
// use, and for what is added: an L1 table when one of `header` has too few
// entries for a disk of `size` bytes; with data-file-raw the L2 tables of the
// grown part, filled. All is durable. Return values: the
// header that names these; it is not written. Errors: EFBIG the file is too
// long for a refcount table.
absl::StatusOr<Header> BuildMetadata(File& file, const Header& header,
                                     MetadataMap map, uint64_t size,
                                     Syncer& syncer);

// Makes the file's header say what changes while an image is open: the size,
// the places of the tables, features. In one sector, durably; a failed write
// leaves the old one.
absl::Status WriteHeaderFields(File& file, const Header& old_header,
                               const Header& header, Syncer& syncer);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_BUILD_METADATA_H_
