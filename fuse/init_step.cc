// SPDX-License-Identifier: Apache-2.0
//
// libfuse writes its answer to the session's descriptor, whatever that is. So
// while it works on this one request the number stands for a file in memory:
//
//   device -> request -> [number = memory] -> libfuse -> [number = device]
//          <- completed answer <- memory
//
// All of it is public interface, and the mount itself stays libfuse's business.
#include "init_step.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "unique_fd.h"

namespace flatcow::daemon {
namespace {

// As the kernel's fuse.h has them; the installed header may be older.
struct InHeader {
  uint32_t length;
  uint32_t opcode;
  uint64_t unique;
  uint64_t node;
  uint32_t uid;
  uint32_t gid;
  uint32_t pid;
  uint32_t padding;
};
struct InitIn {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint32_t flags2;
};
struct OutHeader {
  uint32_t length;
  int32_t error;
  uint64_t unique;
};
struct InitOut {
  uint32_t major;
  uint32_t minor;
  uint32_t max_readahead;
  uint32_t flags;
  uint16_t max_background;
  uint16_t congestion_threshold;
  uint32_t max_write;
  uint32_t time_granularity;
  uint16_t max_pages;
  uint16_t map_alignment;
  uint32_t flags2;
  uint32_t max_stack_depth;
  uint32_t unused[6];
};
static_assert(sizeof(InHeader) == 40 && sizeof(OutHeader) == 16);
static_assert(sizeof(InitIn) == 20 && sizeof(InitOut) == 64);

constexpr uint32_t kInit = 26;
constexpr uint32_t kMajor = 7;

// Of flags, and of flags2, which count where kInitExt is set.
constexpr uint32_t kHandleKillprivV2 = 1u << 28;
constexpr uint32_t kInitExt = 1u << 30;
constexpr uint32_t kDirectIoAllowMmap = 1u << (36 - 32);
constexpr uint32_t kPassthrough = 1u << (37 - 32);

#if defined(FUSE_CAP_PASSTHROUGH) && defined(FUSE_CAP_DIRECT_IO_ALLOW_MMAP) && \
    defined(FUSE_CAP_HANDLE_KILLPRIV_V2)
constexpr bool kLibraryKnows = true;
constexpr auto kAskPassthrough = static_cast<unsigned>(FUSE_CAP_PASSTHROUGH);
constexpr auto kAskDirectIoMmap =
    static_cast<unsigned>(FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
constexpr auto kAskKillprivV2 =
    static_cast<unsigned>(FUSE_CAP_HANDLE_KILLPRIV_V2);
#else
constexpr bool kLibraryKnows = false;
constexpr unsigned kAskPassthrough = 0;
constexpr unsigned kAskDirectIoMmap = 0;
constexpr unsigned kAskKillprivV2 = 0;
#endif

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

}  // namespace

Agreed AskLibrary(fuse_conn_info& connection, bool passthrough) {
  const auto ask = [&connection](unsigned flag) {
    connection.want |= connection.capable & flag;
    return (connection.want & flag) != 0;
  };
  Agreed agreed;
  agreed.passthrough = passthrough && ask(kAskPassthrough);
  agreed.direct_io_mmap = ask(kAskDirectIoMmap);
  agreed.handle_killpriv_v2 = ask(kAskKillprivV2);
  return agreed;
}

Agreed CompleteInit(absl::Span<const uint8_t> request,
                    absl::Span<uint8_t> answer, bool passthrough) {
  InHeader asked;
  InitIn offer = {};
  OutHeader header;
  InitOut reply;
  // Older kernels send less.
  if (request.size() < sizeof(asked) ||
      answer.size() < sizeof(header) + sizeof(reply)) {
    return {};
  }
  std::memcpy(&asked, request.data(), sizeof(asked));
  request.remove_prefix(sizeof(asked));
  std::memcpy(&offer, request.data(), std::min(request.size(), sizeof(offer)));
  std::memcpy(&header, answer.data(), sizeof(header));
  answer.remove_prefix(sizeof(header));
  std::memcpy(&reply, answer.data(), sizeof(reply));
  if (asked.opcode != kInit || offer.major != kMajor || header.error != 0) {
    return {};
  }
  if ((offer.flags & kInitExt) == 0) offer.flags2 = 0;

  Agreed agreed;
  agreed.handle_killpriv_v2 = (offer.flags & kHandleKillprivV2) != 0;
  agreed.direct_io_mmap = (offer.flags2 & kDirectIoAllowMmap) != 0;
  agreed.passthrough = passthrough && (offer.flags2 & kPassthrough) != 0;
  if (agreed.handle_killpriv_v2) reply.flags |= kHandleKillprivV2;
  if (agreed.direct_io_mmap) reply.flags2 |= kDirectIoAllowMmap;
  if (agreed.passthrough) {
    reply.flags2 |= kPassthrough;
    // Files of plain file systems, not of stacked ones.
    reply.max_stack_depth = 1;
  }
  if (reply.flags2 != 0) reply.flags |= kInitExt;
  std::memcpy(answer.data(), &reply, sizeof(reply));
  return agreed;
}

Agreed AnswerInit(fuse_session* session, bool passthrough) {
  if (kLibraryKnows) return {};
  const int number = fuse_session_fd(session);
  const UniqueFd device(fcntl(number, F_DUPFD_CLOEXEC, 0));
  const UniqueFd memory(memfd_create("flatcow-init", MFD_CLOEXEC));
  if (!device.ok() || !memory.ok()) return {};

  fuse_buf request = {};
  int length;
  do {
    length = fuse_session_receive_buf(session, &request);
  } while (length == -EINTR || length == -EAGAIN);
  const std::unique_ptr<void, Free> request_memory(request.mem);
  // Unmounted meanwhile, most likely: the loop ends at once.
  if (length <= 0) return {};

  const bool swapped = dup3(memory.get(), number, O_CLOEXEC) >= 0;
  fuse_session_process_buf(session, &request);
  if (!swapped) return {};
  while (dup3(device.get(), number, O_CLOEXEC) < 0) {
  }

  std::array<uint8_t, 4096> answer;
  const ssize_t answered = pread(memory.get(), answer.data(), answer.size(), 0);
  if (answered <= 0) return {};
  const auto size = static_cast<size_t>(answered);
  const Agreed agreed =
      CompleteInit(absl::MakeConstSpan(static_cast<uint8_t*>(request.mem),
                                       static_cast<size_t>(length)),
                   absl::MakeSpan(answer.data(), size), passthrough);
  const ssize_t written = write(device.get(), answer.data(), size);
  return written == answered ? agreed : Agreed();
}

}  // namespace flatcow::daemon
