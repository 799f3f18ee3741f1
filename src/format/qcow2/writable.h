// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QCOW2_WRITABLE_H_
#define FLATCOW_FORMAT_QCOW2_WRITABLE_H_

#include <string>

#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "format/qcow2/header.h"

namespace flatcow::qcow2 {

// Why the image can only be read; empty: it can be written.
std::string WhyReadOnly(const Header& header);

// Does what must be on disk before the first write: no dirty bit, no autoclear
// bits that a write makes false, refcounts that are right and have room, a data
// file that reaches to the end of the disk. Nothing that the disk shows
// changes. Return values: the header as it is now.
absl::StatusOr<Header> PrepareForWriting(File& file, File& data_file,
                                         const Header& header);

}  // namespace flatcow::qcow2

#endif  // FLATCOW_FORMAT_QCOW2_WRITABLE_H_
