// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_QED_CHECK_H_
#define FLATCOW_FORMAT_QED_CHECK_H_

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "flatcow/image_ops.h"
#include "format/qed/header.h"

namespace flatcow::qed {

// Follows every table entry of the image. Counts bad entries (an offset no
// entry may have), clusters referred to twice, and leaks: clusters that nothing
// refers to.
//
// Repair::kAll sets bad entries to 0, which makes the backing file's data
// visible there: each guest range goes to result.changed. A table or cluster
// that two entries name is copied for the second, so that a write through one
// can't change what the other shows. With nothing bad left, Repair::kLeaks and
// kAll cut leaks off the end of the file, and NEED_CHECK is cleared. Leaks
// between clusters in use stay.
//
// A repair that was interrupted leaves leaks at worst, and can be run again.
//
// Errors: those of repairing; what can't be read is counted instead.
absl::Status Check(File& file, const Header& header, Repair repair,
                   CheckResult& result);

}  // namespace flatcow::qed

#endif  // FLATCOW_FORMAT_QED_CHECK_H_
