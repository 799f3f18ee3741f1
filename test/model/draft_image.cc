// SPDX-License-Identifier: Apache-2.0
#include "model/draft_image.h"

#include "base/checked_math.h"
#include "flatcow/image_ops.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

std::string Padded(const std::string& format) {
  return format + std::string(16 - format.size(), '\0');
}

std::string Place(uint64_t offset, const std::string& name) {
  return Little32(name.empty() ? 0 : static_cast<uint32_t>(offset)) +
         Little32(static_cast<uint32_t>(name.size()));
}

}  // namespace

std::string DraftBytes(const DraftHeader& header) {
  const bool is_july = header.draft == Draft::kJuly2012;
  const uint64_t names = is_july ? 80 : 36;
  uint64_t features = header.backing.empty() ? 0 : 1;
  if (is_july) {
    features |= header.all_allocated ? 6 : 2;
  } else if (!header.backing.empty() && header.backing_format == "raw") {
    features |= 2;
  }
  std::string bytes =
      "ADD_COW\xff" + Little32(1) + Place(names, header.backing) +
      Place(names + header.backing.size(), header.image) + Little64(features);
  if (is_july) {
    bytes += Little64(0) + Little32(1) + Padded(header.backing_format) +
             Padded(header.image_format);
  }
  bytes += header.backing + header.image;
  bytes.resize(kDraftHeaderBytes);
  return bytes;
}

void MakeSmallDraft(MemoryFileSystem& files, const std::string& path,
                    Draft draft) {
  const std::string directory = path.substr(0, path.rfind('/') + 1);
  files.SetContents(directory + "base.raw", PatternText(3, kDraftClusterBytes));
  files.SetContents(directory + "data", PatternText(4, 3 * kDraftClusterBytes));
  files.SetContents(
      path,
      DraftBytes({.draft = draft,
                  .backing = "base.raw",
                  .backing_format = draft == Draft::kJune2012 ? "" : "raw",
                  .image = "data"}) +
          std::string("\x06", 1));
}

void TurnIntoDraft(MemoryFileSystem& files, const std::string& path,
                   Draft draft) {
  constexpr uint64_t kFinalHeaderBytes = 65536;
  const ImageInfo info = Must(ReadImageInfo(files, path, {}));
  DraftHeader header{.draft = draft, .image = info.data_file->name};
  if (info.backing.has_value()) {
    header.backing = info.backing->name;
    header.backing_format = info.backing->format;
  }
  std::string bits = files.Contents(path).substr(kFinalHeaderBytes);
  if (info.all_allocated && draft == Draft::kJune2012) {
    const uint64_t clusters =
        DivideRoundingUp(info.virtual_size, kDraftClusterBytes);
    for (uint64_t i = 0; i < clusters; ++i) {
      bits[i / 8] = static_cast<char>(bits[i / 8] | 1 << i % 8);
    }
  }
  header.all_allocated = info.all_allocated;
  files.SetContents(path, DraftBytes(header) + bits);
}

}  // namespace flatcow
