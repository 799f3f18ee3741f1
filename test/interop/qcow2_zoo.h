// SPDX-License-Identifier: Apache-2.0
//
// qcow2 images of every kind that QEMU makes, and the chains below them.
#ifndef FLATCOW_TEST_INTEROP_QCOW2_ZOO_H_
#define FLATCOW_TEST_INTEROP_QCOW2_ZOO_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "interop/covering_plan.h"

namespace flatcow {

// All that may be together in an image that is only read.
CoveringPlan PlanOfReadImages();

// How many times each value was used, a line for each dimension.
class FeatureCount {
 public:
  void Add(const Combination& combination);
  std::string Print() const;

 private:
  size_t combinations_ = 0;
  std::map<std::string, std::map<std::string, size_t>> counts_;
};

// Builds one image with QEMU, in the working directory: QEMU takes the name of
// a data file to be relative to that.
class Qcow2Builder {
 public:
  Qcow2Builder(const Combination& traits, uint64_t seed);

  // Makes the image "top" and all it needs. Return values: the commands, for
  // the reader of a failure.
  std::string Build();

  // Can QEMU's map be compared? It rounds the sizes of raw files to sectors.
  bool WholeSectors() const { return whole_sectors_; }

 private:
  // How one layer of the chain is written.
  struct Layer {
    std::string name;
    std::string format;
    uint64_t size = 0;
    uint64_t cluster_size = 0;
    std::string options;  // of -o
    bool compressed = false;
    std::string zeroes = "none";  // none, write, unmap, discard
    std::string backing;          // empty: none
    std::string backing_format;
  };

  const std::string& Trait(const std::string& name) const {
    return traits_.at(name);
  }
  uint64_t Random(uint64_t below) { return random_() % below; }
  uint64_t SizeOfTop();
  // The layers of the trait "chain", the lowest first, without the top.
  std::vector<Layer> LowerLayers(uint64_t top_size);
  void ChooseOptions(Layer& layer);
  Layer Top(uint64_t size) const;
  void MakeTop(const Layer& top);
  void Make(const Layer& layer);
  void MakeRaw(const Layer& layer);
  // Arguments of one qemu-io that writes here and there.
  std::vector<std::string> Writes(const Layer& layer, int count);
  std::string OneWrite(const Layer& layer);
  std::string CompressedWrite(const Layer& layer, uint64_t cluster,
                              uint64_t clusters);
  // Files that data comes from: text, which compresses, and noise.
  void MakePools();
  void QemuIo(const Layer& layer, std::vector<std::string> commands);
  void Run(const std::vector<std::string>& command);

  const Combination traits_;
  std::mt19937_64 random_;
  std::string log_;
  bool whole_sectors_ = true;
};

}  // namespace flatcow

#endif  // FLATCOW_TEST_INTEROP_QCOW2_ZOO_H_
