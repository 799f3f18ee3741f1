// SPDX-License-Identifier: Apache-2.0
#include "model/workload.h"

#include <algorithm>
#include <cstddef>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/checked_math.h"

namespace flatcow {
namespace {

using Kind = DiskRequest::Kind;

constexpr int kSteps = 8;

// A step of ShortWorkloads(), for a disk that has `size` bytes by now.
DiskRequest MakeStep(int step, const ChainShape& shape, uint64_t size,
                     uint64_t tag) {
  const uint64_t cluster = shape.cluster_size;
  DiskRequest request{.tag = tag};
  switch (step) {
    case 0:
      request.kind = Kind::kWrite;
      request.extent = {cluster + cluster / 4 + 9, cluster / 3};
      break;
    case 1:
      request.kind = Kind::kWrite;
      request.extent = {cluster, cluster};
      break;
    case 2:
      request.kind = Kind::kWrite;
      request.extent = {cluster + cluster / 2, 2 * cluster};
      break;
    case 3:
      request.kind = Kind::kZero;
      request.extent = {cluster + cluster / 2 + 100, cluster};
      break;
    case 4:
      request.kind = Kind::kZero;
      request.extent = {cluster, cluster};
      break;
    case 5:
      request.kind = Kind::kGrow;
      request.size = RoundUp(size + cluster + cluster / 3, shape.size_unit());
      break;
    case 6:
      request.kind = Kind::kFlush;
      break;
    default:
      request.kind = Kind::kReopen;
      break;
  }
  return request;
}

std::string Describe(const DiskRequest& request) {
  const auto with_extent = [&](const char* name) {
    return absl::StrCat(name, " ", request.extent.length, " at ",
                        request.extent.offset);
  };
  switch (request.kind) {
    case Kind::kWrite:
      return with_extent("write");
    case Kind::kZero:
      return with_extent("zero");
    case Kind::kAllocate:
      return with_extent("allocate");
    case Kind::kGrow:
      return absl::StrCat("grow to ", request.size);
    case Kind::kFlush:
      return "flush";
    case Kind::kReopen:
      return "reopen";
  }
  return "?";
}

}  // namespace

std::string Describe(const Workload& workload) {
  return absl::StrJoin(workload, ", ",
                       [](std::string* out, const DiskRequest& request) {
                         *out += Describe(request);
                       });
}

absl::Status Apply(const DiskRequest& request, TestedDisk& disk) {
  switch (request.kind) {
    case Kind::kWrite:
      return disk.Write(request.extent.offset,
                        Pattern(request.tag, request.extent.length));
    case Kind::kZero:
      return disk.Zero(request.extent);
    case Kind::kAllocate:
      return disk.Allocate(request.extent);
    case Kind::kGrow:
      return disk.Grow(request.size);
    case Kind::kFlush:
      return disk.Flush();
    case Kind::kReopen:
      return disk.Reopen();
  }
  return absl::OkStatus();
}

void Apply(const DiskRequest& request, std::vector<uint8_t>& content) {
  const auto at =
      content.begin() + static_cast<ptrdiff_t>(request.extent.offset);
  if (request.kind == Kind::kWrite) {
    const auto data = Pattern(request.tag, request.extent.length);
    std::copy(data.begin(), data.end(), at);
  } else if (request.kind == Kind::kZero) {
    std::fill_n(at, request.extent.length, 0);
  } else if (request.kind == Kind::kGrow) {
    content.resize(request.size, 0);
  }
}

std::vector<Workload> ShortWorkloads(const ChainShape& shape, int max_length) {
  std::vector<Workload> workloads;
  size_t shorter = 0;  // where those of the last length begin
  for (int length = 1; length <= max_length; ++length) {
    const size_t end = workloads.size();
    for (size_t i = shorter; i < std::max<size_t>(end, 1); ++i) {
      for (int step = 0; step < kSteps; ++step) {
        Workload next = length == 1 ? Workload{} : workloads[i];
        uint64_t size = shape.disk_size();
        for (const DiskRequest& request : next) {
          size = std::max(size, request.size);
        }
        next.push_back(
            MakeStep(step, shape, size, static_cast<uint64_t>(length)));
        workloads.push_back(std::move(next));
      }
    }
    shorter = end;
  }
  return workloads;
}

Workload RandomWorkload(const ChainShape& shape, uint64_t seed, int length) {
  std::mt19937_64 random(seed);
  const auto below = [&](uint64_t bound) { return random() % bound; };
  const uint64_t cluster = shape.cluster_size;
  uint64_t size = shape.disk_size();
  Workload workload;
  for (int i = 0; i < length; ++i) {
    DiskRequest request{.tag = seed ^ static_cast<uint64_t>(i)};
    uint64_t offset = below(size);
    if (below(3) == 0) offset = RoundDown(offset, cluster);
    uint64_t bytes = 1 + below(below(4) == 0 ? 4 * cluster : cluster);
    if (below(4) == 0) bytes = RoundUp(bytes, cluster);
    request.extent = {offset, std::min(bytes, size - offset)};
    const uint64_t draw = below(20);
    if (draw < 9) {
      request.kind = Kind::kWrite;
    } else if (draw < 13) {
      request.kind = Kind::kZero;
    } else if (draw < 14) {
      request.kind = Kind::kAllocate;
    } else if (draw < 15) {
      request.kind = Kind::kGrow;
      request.size = RoundUp(size + 1 + below(2 * cluster), shape.size_unit());
      size = request.size;
    } else if (draw < 18) {
      request.kind = Kind::kFlush;
    } else {
      request.kind = Kind::kReopen;
    }
    if (request.kind == Kind::kGrow || request.kind == Kind::kFlush ||
        request.kind == Kind::kReopen) {
      request.extent = {};
    }
    workload.push_back(request);
  }
  return workload;
}

}  // namespace flatcow
