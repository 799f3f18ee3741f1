// SPDX-License-Identifier: Apache-2.0
//
// Images to create over and to repair, as functions that make the files.
#ifndef FLATCOW_TEST_CRASH_DAMAGED_IMAGE_H_
#define FLATCOW_TEST_CRASH_DAMAGED_IMAGE_H_

#include <functional>

#include "support/memory_file_system.h"

namespace flatcow {

using MakeFiles = std::function<void(MemoryFileSystem&)>;

// A raw file to base images on: "/disks/base.raw", and the same under a name
// that makes a header longer than a sector: LongBaseName().
void MakeBase(MemoryFileSystem& files);
std::string LongBaseName();

// Makes the QED image "/disks/top" look like one that was not closed:
// NEED_CHECK and all autoclear bits are set, and clusters of garbage stand at
// its end.
void LeaveUnclean(MemoryFileSystem& files);

// On the base, "/disks/top", with some data.
void MakeQed(MemoryFileSystem& files);
void MakeAddCow(MemoryFileSystem& files);
void MakeQcow2(MemoryFileSystem& files);

// MakeQed(), then damaged.
void MakeLeaks(MemoryFileSystem& files);
void MakeUnclean(MemoryFileSystem& files);
void MakeBadEntries(MemoryFileSystem& files);
void MakeBadTable(MemoryFileSystem& files);
void MakeSharedCluster(MemoryFileSystem& files);
void MakeClusterInTable(MemoryFileSystem& files);
// MakeAddCow(), then damaged.
void MakeStaleBits(MemoryFileSystem& files);
// MakeQcow2(), then damaged.
void MakeHighRefcounts(MemoryFileSystem& files);
void MakeLowRefcounts(MemoryFileSystem& files);
void MakeDirty(MemoryFileSystem& files);
void MakeMarkedCorrupt(MemoryFileSystem& files);
void MakeBadL2Entries(MemoryFileSystem& files);
void MakeBadL1Entry(MemoryFileSystem& files);

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_DAMAGED_IMAGE_H_
