// SPDX-License-Identifier: Apache-2.0
#include "hidden_files.h"

namespace flatcow::daemon {

// The files are sorted from outside in: who is named by nobody is an image; all
// that an image names is hidden; who is named by hidden files only is an image.
// What this never reaches stands in a circle, or is named from one.
absl::flat_hash_set<FileId> HiddenFiles(const RawFilesOf& raw_files_of) {
  absl::flat_hash_map<FileId, size_t> named_by;  // how many may still count
  for (const auto& [image, raw_files] : raw_files_of) {
    for (const FileId& file : raw_files) {
      if (file != image) ++named_by[file];
    }
  }
  absl::flat_hash_set<FileId> hidden;
  std::vector<FileId> images;
  for (const auto& [image, raw_files] : raw_files_of) {
    if (!named_by.contains(image)) images.push_back(image);
  }
  absl::flat_hash_set<FileId> decided(images.begin(), images.end());
  while (!images.empty()) {
    const FileId image = images.back();
    images.pop_back();
    for (const FileId& file : raw_files_of.at(image)) {
      if (file == image || !hidden.insert(file).second) continue;
      decided.insert(file);
      const auto claims = raw_files_of.find(file);
      if (claims == raw_files_of.end()) continue;
      for (const FileId& claimed : claims->second) {
        if (claimed == file || --named_by[claimed] > 0) continue;
        if (raw_files_of.contains(claimed) && decided.insert(claimed).second) {
          images.push_back(claimed);
        }
      }
    }
  }
  for (const auto& [image, raw_files] : raw_files_of) {
    if (decided.contains(image)) continue;
    hidden.insert(image);
    hidden.insert(raw_files.begin(), raw_files.end());
  }
  return hidden;
}

}  // namespace flatcow::daemon
