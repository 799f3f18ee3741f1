// SPDX-License-Identifier: Apache-2.0
//
// The library's verbs as the fault loop sees them, a line each.
#ifndef FLATCOW_TEST_FAULT_FAULT_VERBS_H_
#define FLATCOW_TEST_FAULT_FAULT_VERBS_H_

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flatcow/file.h"
#include "support/memory_file_system.h"

namespace flatcow {

struct VerbResult {
  // All that the verb told.
  std::string text;
  // It told of something that it could not do, and went on.
  bool admits_trouble = false;
};

struct FaultVerb {
  // What it may do to files.
  enum class Effect {
    kNone,
    kCreates,
    kRepairs,  // also: rewrites; the disk shows the same
    kShrinks,  // what lies past the new end may be lost
  };

  std::string name;
  Effect effect = Effect::kNone;
  // Makes the files that the verb works on; the image is kChainImage.
  std::function<void(MemoryFileSystem&)> prepare;
  std::function<absl::StatusOr<VerbResult>(FileSystem&)> run;
};

inline void PrintTo(const FaultVerb& verb, std::ostream* out) {
  *out << verb.name;
}

// Every verb with every format. A later verb or format is one more line.
std::vector<FaultVerb> AllFaultVerbs();

}  // namespace flatcow

#endif  // FLATCOW_TEST_FAULT_FAULT_VERBS_H_
