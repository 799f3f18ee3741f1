// SPDX-License-Identifier: Apache-2.0
//
// Where qemu-img and flatcow say that the bytes of a disk are, in words that
// can be compared.
#ifndef FLATCOW_TEST_INTEROP_QEMU_MAP_H_
#define FLATCOW_TEST_INTEROP_QEMU_MAP_H_

#include <string>

#include "flatcow/file.h"

namespace flatcow {

// A line for each run. Of qemu-img's answer it is left out
// - where a run is that reads as zeroes or that nobody holds: such a place is a
//   detail of the format;
// - that data is a hole of the image's own file, which it looks for in some
//   images only.
std::string QemuMap(const std::string& path, const std::string& format);

// The same of flatcow's.
std::string FlatcowMap(FileSystem& files, const std::string& path);

}  // namespace flatcow

#endif  // FLATCOW_TEST_INTEROP_QEMU_MAP_H_
