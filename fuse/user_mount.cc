// SPDX-License-Identifier: Apache-2.0
#include "user_mount.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "flatcow/status.h"

namespace flatcow::daemon {
namespace {

constexpr char kFuseConf[] = "/etc/fuse.conf";

// Whoever may not has fusermount3 do it.
bool MayMount() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  return syscall(SYS_capget, &header, data) == 0 &&
         (data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective &
          CAP_TO_MASK(CAP_SYS_ADMIN)) != 0;
}

}  // namespace

bool PermitsAllowOther(absl::string_view fuse_conf) {
  for (absl::string_view line : absl::StrSplit(fuse_conf, '\n')) {
    line = line.substr(0, line.find('#'));
    if (absl::StripAsciiWhitespace(line) == "user_allow_other") return true;
  }
  return false;
}

absl::Status CheckUserMount(const Options& options) {
  if ((!options.allow_other && !options.allow_root) || MayMount()) {
    return absl::OkStatus();
  }
  std::ifstream file(kFuseConf);
  std::stringstream text;
  text << file.rdbuf();
  if (PermitsAllowOther(text.str())) return absl::OkStatus();
  return MakeError(
      EPERM,
      absl::StrCat("-o ", options.allow_other ? "allow_other" : "allow_root",
                   ": only root may, for there is no line "
                   "user_allow_other in ",
                   kFuseConf));
}

}  // namespace flatcow::daemon
