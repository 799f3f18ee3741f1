// SPDX-License-Identifier: Apache-2.0
#include "model/guest_view.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "model/image_testing.h"

namespace flatcow {

GuestView::GuestView(FileSystem& files, const std::string& path,
                     uint64_t block_size)
    : block_size_(block_size) {
  const auto image =
      Must(OpenImage(files, path, {.metadata_cache = NewMetadataCache(1)}));
  std::string block(block_size, '\0');
  for (uint64_t at = 0; at < image->Size(); at += block_size) {
    block.resize(std::min(block_size, image->Size() - at));
    const auto length = image->Read(
        at,
        absl::MakeSpan(reinterpret_cast<uint8_t*>(block.data()), block.size()));
    blocks_.push_back(length.ok() ? std::optional(block) : std::nullopt);
  }
}

std::string GuestView::WhatIsLost(const GuestView& before) const {
  if (blocks_.size() < before.blocks_.size()) return "the disk is smaller";
  for (size_t i = 0; i < before.blocks_.size(); ++i) {
    if (!before.blocks_[i].has_value() || before.blocks_[i] == blocks_[i]) {
      continue;
    }
    return absl::StrCat(
        "guest bytes at ", i * block_size_,
        blocks_[i].has_value() ? " have changed" : " can't be read any more");
  }
  return "";
}

bool GuestView::IsWholeReadable() const {
  return std::all_of(blocks_.begin(), blocks_.end(),
                     [](const auto& block) { return block.has_value(); });
}

std::vector<Extent> GuestView::Changes(const GuestView& before) const {
  std::vector<Extent> changes;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    if (blocks_[i] == before.blocks_[i]) continue;
    const Extent block{i * block_size_, block_size_};
    if (!changes.empty() && changes.back().end() == block.offset) {
      changes.back().length += block_size_;
    } else {
      changes.push_back(block);
    }
  }
  return changes;
}

}  // namespace flatcow
