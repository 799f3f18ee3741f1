// SPDX-License-Identifier: Apache-2.0
#include "ops/pieces.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/checked_math.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "flatcow/status.h"

namespace flatcow {
namespace {

constexpr int kMostWorkers = 64;
// So that progress is seen on a disk of zeroes, too.
constexpr uint64_t kMostZero = uint64_t{1} << 30;
// The same for a disk on which there is nothing to do.
constexpr uint64_t kSkipsBetweenReports = 1024;

using Survey = absl::FunctionRef<absl::StatusOr<Stretch>(uint64_t)>;
using Work = absl::FunctionRef<absl::Status(const Piece&, absl::Span<uint8_t>)>;

class Crew {
 public:
  Crew(uint64_t size, const WorkOptions& options, uint64_t most_data,
       Survey survey, Work work)
      : size_(size),
        options_(options),
        most_data_(most_data),
        survey_(survey),
        work_(work) {}

  absl::Status Run();

 private:
  void RunWorker();
  std::optional<Piece> Take();
  void Finish(const Piece& piece, const absl::Status& status);
  absl::StatusOr<std::optional<Piece>> NextPiece()
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What is left of the stretch at position_.
  absl::StatusOr<Stretch> Here() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Advance(uint64_t length) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Report() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const uint64_t size_;
  const WorkOptions& options_;
  const uint64_t most_data_;
  const Survey survey_;
  const Work work_;

  Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  uint64_t position_ ABSL_GUARDED_BY(mutex_) = 0;
  Stretch stretch_ ABSL_GUARDED_BY(mutex_);
  uint64_t skipped_ ABSL_GUARDED_BY(mutex_) = 0;  // stretches
  // Where the pieces under way begin: all before the first is done.
  std::set<uint64_t> under_way_ ABSL_GUARDED_BY(mutex_);
};

absl::StatusOr<Stretch> Crew::Here() {
  if (stretch_.length == 0) {
    ASSIGN_OR_RETURN(stretch_, survey_(position_));
    stretch_.length = std::min(stretch_.length, size_ - position_);
  }
  return stretch_;
}

void Crew::Advance(uint64_t length) {
  position_ += length;
  stretch_.length -= length;
}

absl::StatusOr<std::optional<Piece>> Crew::NextPiece() {
  Piece piece;
  uint64_t most = 0;
  while (position_ < size_) {
    ASSIGN_OR_RETURN(const Stretch here, Here());
    if (here.todo == Todo::kNothing) {
      if (piece.extent.length != 0) break;
      Advance(here.length);
      if (++skipped_ % kSkipsBetweenReports == 0) {
        Report();
        if (!status_.ok()) return status_;
      }
      continue;
    }
    const bool zero = here.todo == Todo::kZero;
    if (piece.extent.length == 0) {
      piece = {{position_, 0}, zero};
      most = zero ? kMostZero : most_data_ - position_ % most_data_;
    } else if (piece.zero != zero) {
      break;
    }
    const uint64_t length = std::min(here.length, most - piece.extent.length);
    piece.extent.length += length;
    Advance(length);
    if (piece.extent.length == most) break;
  }
  if (piece.extent.length == 0) return std::nullopt;
  return piece;
}

void Crew::Report() {
  if (options_.progress == nullptr || !status_.ok()) return;
  const uint64_t done = under_way_.empty() ? position_ : *under_way_.begin();
  if (!options_.progress(done, size_)) {
    status_ = MakeError(EINTR, "interrupted");
  }
}

std::optional<Piece> Crew::Take() {
  MutexLock lock(mutex_);
  if (!status_.ok()) return std::nullopt;
  auto piece = NextPiece();
  if (!piece.ok()) {
    status_ = piece.status();
    return std::nullopt;
  }
  if (piece->has_value()) under_way_.insert((*piece)->extent.offset);
  return *piece;
}

void Crew::Finish(const Piece& piece, const absl::Status& status) {
  MutexLock lock(mutex_);
  if (status_.ok()) status_ = status;
  under_way_.erase(piece.extent.offset);
  Report();
}

void Crew::RunWorker() {
  struct alignas(4096) Page {
    std::array<uint8_t, 4096> bytes;
  };
  const std::unique_ptr<Page[]> buffer(new Page[kPieceBytes / sizeof(Page)]);
  const auto bytes = absl::MakeSpan(buffer[0].bytes.data(), kPieceBytes);
  while (const std::optional<Piece> piece = Take()) {
    Finish(*piece, work_(*piece, bytes));
  }
}

absl::Status Crew::Run() {
  const uint64_t useful =
      std::max<uint64_t>(1, DivideRoundingUp(size_, most_data_));
  const auto workers = static_cast<size_t>(std::min<uint64_t>(
      useful,
      static_cast<uint64_t>(std::clamp(options_.parallel, 1, kMostWorkers))));
  std::vector<std::thread> helpers;
  for (size_t i = 1; i < workers; ++i) {
    helpers.emplace_back([this] { RunWorker(); });
  }
  RunWorker();
  for (std::thread& helper : helpers) helper.join();
  MutexLock lock(mutex_);
  Report();
  return status_;
}

}  // namespace

absl::Status WorkOnPieces(uint64_t size, const WorkOptions& options,
                          uint64_t most_data, Survey survey, Work work) {
  return Crew(size, options, most_data, survey, work).Run();
}

}  // namespace flatcow
