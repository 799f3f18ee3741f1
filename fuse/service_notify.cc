// SPDX-License-Identifier: Apache-2.0
#include "service_notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "flatcow/printable.h"
#include "unique_fd.h"

namespace flatcow::daemon {
namespace {

// systemd drops a datagram of more than 4096 bytes; each of these may become
// four when it is made printable.
constexpr size_t kMaxStatusBytes = 900;

}  // namespace

void NotifyService(absl::string_view state) {
  const char* const name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr || (name[0] != '/' && name[0] != '@')) return;
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(name);
  if (length >= sizeof(address.sun_path)) return;
  std::memcpy(address.sun_path, name, length);
  // The abstract name space: a zero byte instead of the @, and no end byte.
  if (name[0] == '@') address.sun_path[0] = '\0';
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.ok()) return;
  [[maybe_unused]] const ssize_t sent =
      sendto(socket_fd.get(), state.data(), state.size(), MSG_NOSIGNAL,
             reinterpret_cast<const sockaddr*>(&address),
             static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

std::string ServiceStatus(absl::string_view text) {
  return text.size() <= kMaxStatusBytes
             ? absl::StrCat("STATUS=", Printable(text))
             : absl::StrCat("STATUS=",
                            Printable(text.substr(0, kMaxStatusBytes)), "...");
}

std::string WaitingStatus(const std::vector<std::string>& holders) {
  if (holders.empty()) {
    return ServiceStatus("detached; waiting for whoever has views open");
  }
  return ServiceStatus(
      absl::StrCat("detached; waiting for ", absl::StrJoin(holders, "; ")));
}

}  // namespace flatcow::daemon
