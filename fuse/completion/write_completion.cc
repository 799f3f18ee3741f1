// SPDX-License-Identifier: Apache-2.0
//
// write_completion bash|zsh: prints the completion for that shell. Run by the
// build.
#include <iostream>

#include "absl/strings/string_view.h"
#include "completion.h"

int main(int argc, char** argv) {
  const absl::string_view shell = argc == 2 ? argv[1] : "";
  if (shell == "bash") {
    std::cout << flatcow::daemon::BashCompletion();
  } else if (shell == "zsh") {
    std::cout << flatcow::daemon::ZshCompletion();
  } else {
    std::cerr << "usage: write_completion bash|zsh\n";
    return 1;
  }
  return std::cout.flush() ? 0 : 1;
}
