// SPDX-License-Identifier: Apache-2.0
#include <flatcow/image.h>

#include <iostream>
#include <vector>

int main(int, char** argv) {
  auto image = flatcow::OpenImage(flatcow::PosixFileSystem(), argv[1],
                                  {.access = flatcow::Access::kReadWrite});
  const std::vector<uint8_t> bytes(512, 'x');
  absl::Status status = image.status();
  if (status.ok()) status = (*image)->Write(4096, bytes).status();
  if (status.ok()) status = (*image)->Flush();
  if (!status.ok()) std::cerr << status << "\n";
  return status.ok() ? 0 : 1;
}
