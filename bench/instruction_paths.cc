// SPDX-License-Identifier: Apache-2.0
//
// How many instructions does an operation of each hot path take?
//
//   instruction_paths            names of the paths, one a line
//   instruction_paths PATH       runs it; prints how often it was counted
//   instruction_paths --compiler what it was compiled with
//
// instructions.py runs this under callgrind, which collects between the start
// and the end of CountedOperation() only. Everything counted must be the same
// in every process: no addresses, no time, no random seeds.
#include <array>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "format/addcow/bitmap.h"
#include "keep.h"
#include "memory_chain.h"
#include "memory_image.h"
#include "memory_overlay.h"
#include "memory_pages.h"
#include "need.h"
#include "sample_headers.h"

namespace flatcow::bench {

// A path, ready to be run again and again.
class Path {
 public:
  virtual ~Path() = default;
  virtual void Prepare() {}  // not counted
  virtual void Run() = 0;
};

namespace {

class ResolvePath final : public Path {
 public:
  ResolvePath(const ChainRecipe& recipe, uint64_t bytes)
      : bytes_(bytes), chain_(recipe), offsets_(bytes) {}

  void Prepare() override { offset_ = offsets_.Next(); }
  void Run() override {
    SegmentList segments;
    chain_.Resolve({offset_, bytes_}, segments);
    Keep(segments);
  }

 private:
  const uint64_t bytes_;
  const MemoryChain chain_;
  GuestOffsets offsets_;
  uint64_t offset_ = 0;
};

// One cluster behind the other.
class PublishPath final : public Path {
 public:
  explicit PublishPath(const std::string& format) {
    CreateOverlay(files_, "/disk", {.format = format, .clusters = 8192});
    overlay_ = std::make_unique<MemoryOverlay>(files_, "/disk");
  }

  void Run() override { overlay_->AllocateCluster(next_++); }

 private:
  MemoryFileSystem files_;
  std::unique_ptr<MemoryOverlay> overlay_;
  uint64_t next_ = 0;
};

// Whole requests, on the first 1024 clusters, which are allocated, or on those
// behind them.
class WritePath final : public Path {
 public:
  explicit WritePath(bool in_place) : in_place_(in_place) {}

  void Run() override {
    image_.WriteSector(in_place_ ? next_ % kAllocated : kAllocated + next_);
    ++next_;
  }

 private:
  static constexpr uint64_t kAllocated = 1024;

  const bool in_place_;
  MemoryImage image_{"qed", 4 * kAllocated, kAllocated};
  uint64_t next_ = 0;
};

class LookUpPath final : public Path {
 public:
  explicit LookUpPath(uint64_t cache_pages) : memory_(64, cache_pages) {}

  void Run() override {
    // Words of all places in a page.
    uint64_t word =
        Need(memory_.pages().ReadWord(memory_.FirstWord(next_) + next_ % 512));
    Keep(word);
    ++next_;
  }

 private:
  MemoryPages memory_;
  uint64_t next_ = 0;
};

class RoundPath final : public Path {
 public:
  void Prepare() override { memory_.ModifyAll(); }
  void Run() override { memory_.Round(); }

 private:
  MemoryPages memory_{64, 1024};
};

class BitmapPath final : public Path {
 public:
  explicit BitmapPath(uint64_t word) { words_.fill(word); }

  void Run() override {
    Keep(words_);
    uint64_t run =
        addcow::EqualRun(words_, 0, words_.size() * addcow::kWordBits);
    Keep(run);
  }

 private:
  std::array<uint64_t, 64> words_;
};

class QedHeaderPath final : public Path {
 public:
  void Run() override {
    auto header = Need(qed::ParseHeader(bytes_, kSampleFileBytes));
    Keep(header);
  }

 private:
  const std::array<uint8_t, qed::kHeaderBytes> bytes_ = SampleQedHeader();
};

class AddCowHeaderPath final : public Path {
 public:
  void Run() override {
    auto header = Need(addcow::ParseHeader(bytes_, kSampleFileBytes));
    Keep(header);
  }

 private:
  const std::vector<uint8_t> bytes_ = SampleAddCowHeader();
};

template <typename T, typename... Arguments>
std::function<std::unique_ptr<Path>()> Make(Arguments... arguments) {
  return [=] { return std::make_unique<T>(arguments...); };
}

std::function<std::unique_ptr<Path>()> Resolve(const std::string& format,
                                               uint64_t overlays,
                                               uint64_t bytes) {
  return Make<ResolvePath>(ChainRecipe{format, overlays, /*random=*/true},
                           bytes);
}

struct NamedPath {
  std::string name;
  int operations;
  std::function<std::unique_ptr<Path>()> make;
};

std::vector<NamedPath> AllPaths() {
  constexpr uint64_t kPage = 4096;
  constexpr uint64_t kMegabyte = 1 << 20;
  // The whole cache is one set of eight pages.
  constexpr uint64_t kTooSmall = 8;
  return {
      {"resolve 4K, 1 QED overlay", 1024, Resolve("qed", 1, kPage)},
      {"resolve 4K, 4 QED overlays", 1024, Resolve("qed", 4, kPage)},
      {"resolve 4K, 16 QED overlays", 1024, Resolve("qed", 16, kPage)},
      {"resolve 4K, 1 add-cow overlay", 1024, Resolve("add-cow", 1, kPage)},
      {"resolve 4K, 4 add-cow overlays", 1024, Resolve("add-cow", 4, kPage)},
      {"resolve 4K, 16 add-cow overlays", 1024, Resolve("add-cow", 16, kPage)},
      {"resolve 1M, half in QED", 1024, Resolve("qed", 1, kMegabyte)},
      {"resolve 1M, half in add-cow", 1024, Resolve("add-cow", 1, kMegabyte)},
      {"publish a QED cluster", 4096, Make<PublishPath>("qed")},
      {"publish an add-cow cluster", 4096, Make<PublishPath>("add-cow")},
      {"write a sector in place", 2048, Make<WritePath>(true)},
      {"write a sector, new cluster", 2048, Make<WritePath>(false)},
      {"round over 64 dirty pages", 32, Make<RoundPath>()},
      {"look up a cached word", 4096, Make<LookUpPath>(1024)},
      {"look up a word not cached", 512, Make<LookUpPath>(kTooSmall)},
      {"search 4096 set bits", 1024, Make<BitmapPath>(~uint64_t{0})},
      {"search alternating bits", 1024, Make<BitmapPath>(0x5555555555555555)},
      {"parse a QED header", 256, Make<QedHeaderPath>()},
      {"parse an add-cow header", 256, Make<AddCowHeaderPath>()},
  };
}

std::string Compiler() {
#if defined(__clang__)
  std::string compiler = "clang++ " + std::to_string(__clang_major__);
#else
  std::string compiler = "g++ " + std::to_string(__GNUC__);
#endif
#if !defined(__OPTIMIZE__)
  compiler += ", not optimizing";
#endif
  return compiler;
}

}  // namespace
}  // namespace flatcow::bench

// Found by its name in programs without debug information too.
extern "C" [[gnu::noinline]] void CountedOperation(flatcow::bench::Path& path) {
  path.Run();
  asm volatile("" : : : "memory");  // so that the call is not a jump
}

int main(int argc, char** argv) {
  using flatcow::bench::AllPaths;
  const absl::string_view wanted = argc == 2 ? argv[1] : "";
  if (wanted == "--compiler") {
    std::printf("%s\n", flatcow::bench::Compiler().c_str());
    return 0;
  }
  for (const auto& [name, operations, make] : AllPaths()) {
    if (argc == 1) std::printf("%s\n", name.c_str());
    if (name != wanted) continue;
    const auto path = make();
    // What happens once only: symbols are bound, memory is taken, ...
    for (int i = 0; i < operations / 4; ++i) {
      path->Prepare();
      path->Run();
    }
    for (int i = 0; i < operations; ++i) {
      path->Prepare();
      CountedOperation(*path);
    }
    std::printf("%d\n", operations);
    return 0;
  }
  return argc == 1 ? 0 : 2;
}
