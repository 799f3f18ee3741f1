// SPDX-License-Identifier: Apache-2.0
//
// Going through a whole disk, several pieces at once.
#ifndef FLATCOW_OPS_PIECES_H_
#define FLATCOW_OPS_PIECES_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "flatcow/extent.h"
#include "flatcow/image_ops.h"

namespace flatcow {

// The buffer of a worker. A piece with data is at most so long, and does not
// cross a multiple of it.
inline constexpr uint64_t kPieceBytes = 2 << 20;
// The same where a buffer holds what two disks show.
inline constexpr uint64_t kPairBytes = kPieceBytes / 2;

// What is to be done with a stretch of the disk.
enum class Todo {
  kNothing,
  kZero,  // it reads as zeroes; such a piece may be long
  kData,
};

struct Stretch {
  Todo todo = Todo::kNothing;
  uint64_t length = 0;  // bytes, at least 1; may go past the end of the disk
};

struct Piece {
  Extent extent;
  bool zero = false;
};

// Asks `survey` for what is at an offset, in order and by one thread at a time,
// and calls `work` for each piece in which there is something to do: by
// options.parallel threads, this one among them, each with a buffer of
// kPieceBytes. A failure of either stops the work, and so does the caller's
// progress function, with EINTR. `most_data` is the length of a piece with
// data: a power of two up to kPieceBytes.
absl::Status WorkOnPieces(
    uint64_t size, const WorkOptions& options, uint64_t most_data,
    absl::FunctionRef<absl::StatusOr<Stretch>(uint64_t offset)> survey,
    absl::FunctionRef<absl::Status(const Piece& piece,
                                   absl::Span<uint8_t> buffer)>
        work);

}  // namespace flatcow

#endif  // FLATCOW_OPS_PIECES_H_
