// SPDX-License-Identifier: Apache-2.0
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "options.h"
#include "places.h"
#include "session.h"

int main(int argc, char** argv) {
  using namespace flatcow::daemon;
  const auto options =
      ParseOptions(std::vector<std::string>(argv, argv + argc));
  if (!options.ok()) {
    const std::string text = absl::StrCat(
        "flatcow: ", options.status().message(), "\nTry `flatcow --help`.\n");
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
