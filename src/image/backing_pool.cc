// SPDX-License-Identifier: Apache-2.0
#include "image/backing_pool.h"

#include "flatcow/image.h"

namespace flatcow {

std::shared_ptr<BackingPool> NewBackingPool() {
  return std::make_shared<BackingPool>();
}

std::shared_ptr<const BackingLayer> BackingPool::Find(const Key& key) {
  MutexLock lock(mutex_);
  const auto it = layers_.find(key);
  return it != layers_.end() ? it->second.lock() : nullptr;
}

void BackingPool::Add(const Key& key,
                      const std::shared_ptr<const BackingLayer>& layer) {
  MutexLock lock(mutex_);
  absl::erase_if(layers_,
                 [](const auto& known) { return known.second.expired(); });
  layers_[key] = layer;
}

}  // namespace flatcow
