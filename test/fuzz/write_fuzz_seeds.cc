// SPDX-License-Identifier: Apache-2.0
//
// write_fuzz_seeds DIRECTORY: writes FuzzSeeds() as DIRECTORY/TARGET/NAME.
// `write_fuzz_seeds test/fuzz/corpus` brings those in the tree up to date.
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "fuzz/fuzz_seeds.h"

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_fuzz_seeds DIRECTORY\n");
    return 1;
  }
  for (const flatcow::FuzzSeed& seed : flatcow::FuzzSeeds()) {
    const auto directory = std::filesystem::path(argv[1]) / seed.target;
    std::filesystem::create_directories(directory);
    std::ofstream file(directory / seed.name, std::ios::binary);
    file << seed.bytes;
    file.close();
    if (!file.good()) {
      std::perror((directory / seed.name).c_str());
      return 1;
    }
  }
  return 0;
}
