// SPDX-License-Identifier: Apache-2.0
//
// INIT, the first request on a connection: kernel and daemon tell each other
// what they can do. libfuse before 3.17 has no names for some of it, so its
// answer is completed on the way to the kernel:
//
//   fuse_session_mount(session, ...);
//   const Agreed agreed = AnswerInit(session, /*passthrough=*/true);
//   fuse_session_loop_mt(session, ...);
//
// A newer libfuse is asked in the init operation, with AskLibrary().
#ifndef FLATCOW_FUSE_INIT_STEP_H_
#define FLATCOW_FUSE_INIT_STEP_H_

#include <cstdint>

#include "absl/types/span.h"
#include "fuse_api.h"

namespace flatcow::daemon {

// What the kernel offered and was asked for.
struct Agreed {
  // An open view may be another file, which the kernel reads and writes itself.
  bool passthrough = false;
  // mmap(2) works on files that are read and written past the page cache.
  bool direct_io_mmap = false;
  // Nobody need ask before each write whether the file is set-user-ID: there
  // are no such files.
  bool handle_killpriv_v2 = false;

  friend bool operator==(const Agreed&, const Agreed&) = default;
};

// Waits for the INIT request of a session that is mounted, and answers it.
// Precondition: nothing has been read from the session yet; no other thread
// uses its descriptor. Where this can't be done, or libfuse needs no help, the
// session's loop finds what it would find without the call, and nothing is
// agreed on here.
Agreed AnswerInit(fuse_session* session, bool passthrough);

// The same through libfuse, if it can: for the init operation. Nothing is
// agreed on with one that AnswerInit() helps.
Agreed AskLibrary(fuse_conn_info& connection, bool passthrough);

// What AnswerInit() does to libfuse's answer. Both messages begin with their
// headers. An answer that says no, or is none to INIT, stays as it is.
Agreed CompleteInit(absl::Span<const uint8_t> request,
                    absl::Span<uint8_t> answer, bool passthrough);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_INIT_STEP_H_
