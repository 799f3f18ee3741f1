// SPDX-License-Identifier: Apache-2.0
//
// Images of the two add-cow drafts of 2012, which flatcow does not make: their
// headers are written here from the drafts' text.
#ifndef FLATCOW_TEST_MODEL_DRAFT_IMAGE_H_
#define FLATCOW_TEST_MODEL_DRAFT_IMAGE_H_

#include <cstdint>
#include <string>

namespace flatcow {

class MemoryFileSystem;

enum class Draft { kJune2012, kJuly2012 };

inline constexpr uint64_t kDraftHeaderBytes = 4096;
inline constexpr uint32_t kDraftClusterBytes = 65536;

struct DraftHeader {
  Draft draft = Draft::kJune2012;
  std::string backing = {};         // empty: none
  std::string backing_format = {};  // June: "raw", or else found by magic
  std::string image = {};
  std::string image_format = "raw";  // July
  bool all_allocated = false;        // July
};

// The header with its names. The bitmap goes behind it.
std::string DraftBytes(const DraftHeader& header);

// Makes an image of three clusters, two of them its own, over a base of one
// whose format is found by magic (June) or recorded. The files beside it are
// "base.raw" and "data".
void MakeSmallDraft(MemoryFileSystem& files, const std::string& path,
                    Draft draft);

// Makes one of the add-cow image of 64 KiB clusters at `path`, which shows the
// same. June has no ALL_ALLOCATED: there every bit is set instead.
void TurnIntoDraft(MemoryFileSystem& files, const std::string& path,
                   Draft draft);

}  // namespace flatcow

#endif  // FLATCOW_TEST_MODEL_DRAFT_IMAGE_H_
