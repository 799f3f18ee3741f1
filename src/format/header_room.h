// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FORMAT_HEADER_ROOM_H_
#define FLATCOW_FORMAT_HEADER_ROOM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flatcow/extent.h"
#include "flatcow/file.h"

namespace flatcow {

// The part of a file's header where names may stand. A name is changed by
// writing the new one beside the old, and only then the field that says where
// it is: a crash leaves one or the other.
class HeaderRoom {
 public:
  explicit HeaderRoom(Extent area) : area_(area) {}

  // Bytes that are in use; parts outside of the area do no harm.
  void Take(Extent extent);

  // Writes a name to a free place and takes that. Return values: its offset in
  // the file. Errors: ENAMETOOLONG there is no free place.
  absl::StatusOr<uint32_t> Place(File& file, const std::string& name);

 private:
  Extent area_;
  std::vector<Extent> taken_;  // in order
};

}  // namespace flatcow

#endif  // FLATCOW_FORMAT_HEADER_ROOM_H_
