// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "flatcow/printable.h"
#include "options.h"
#include "places.h"
#include "session.h"

using flatcow::daemon::HelpText;
using flatcow::daemon::kExitUsage;
using flatcow::daemon::ParseOptions;
using flatcow::daemon::RunSession;

int main(int argc, char** argv) {
  const auto options =
      ParseOptions(std::vector<std::string>(argv, argv + argc));
  if (!options.ok()) {
    const std::string text = absl::StrCat(
        "flatcow: ", flatcow::Printable(options.status().message()),
        "\nTry `flatcow --help`.\n");
    std::fputs(text.c_str(), stderr);
    return kExitUsage;
  }
  if (options->help) {
    std::fputs(HelpText().c_str(), stdout);
    return 0;
  }
  if (options->version) {
    std::puts("flatcow " FLATCOW_VERSION);
    return 0;
  }
  return RunSession(*options);
}
