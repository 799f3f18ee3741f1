// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_SERVICE_NOTIFY_H_
#define FLATCOW_FUSE_SERVICE_NOTIFY_H_

#include "absl/strings/string_view.h"

namespace flatcow::daemon {

// Tells the service manager that started us, as sd_notify(3) does: one
// datagram to the socket that NOTIFY_SOCKET names. Without one, nothing.
void NotifyService(absl::string_view state);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SERVICE_NOTIFY_H_
