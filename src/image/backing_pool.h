// SPDX-License-Identifier: Apache-2.0
//
// The backing files that are open, so that images on the same one share it:
// its descriptors, its locks, and what is known of it.
#ifndef FLATCOW_IMAGE_BACKING_POOL_H_
#define FLATCOW_IMAGE_BACKING_POOL_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "image/backing_layer.h"

namespace flatcow {

// Thread-safe. Keeps nothing open by itself.
class BackingPool {
 public:
  // The resolved path, and the name of the format that the file is read as.
  using Key = std::pair<std::string, std::string>;

  // Return values: null when there is none. Whether its files are still the
  // ones that their names lead to is for the caller to find out.
  std::shared_ptr<const BackingLayer> Find(const Key& key);

  // From now on Find() gives this one.
  void Add(const Key& key, const std::shared_ptr<const BackingLayer>& layer);

 private:
  Mutex mutex_;
  absl::flat_hash_map<Key, std::weak_ptr<const BackingLayer>> layers_
      ABSL_GUARDED_BY(mutex_);
};

}  // namespace flatcow

#endif  // FLATCOW_IMAGE_BACKING_POOL_H_
