// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_FUSE_SERVICE_NOTIFY_H_
#define FLATCOW_FUSE_SERVICE_NOTIFY_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace flatcow::daemon {

// Tells the service manager that started us, as sd_notify(3) does: one
// datagram to the socket that NOTIFY_SOCKET names. Without one, nothing.
void NotifyService(absl::string_view state);

// "STATUS=" and `text`, made fit for a line of a terminal and cut to a length
// that a service manager takes.
std::string ServiceStatus(absl::string_view text);

// The status of a daemon whose mount is detached: who keeps it from ending, as
// FindHolders() says.
std::string WaitingStatus(const std::vector<std::string>& holders);

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SERVICE_NOTIFY_H_
