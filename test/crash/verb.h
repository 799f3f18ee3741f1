// SPDX-License-Identifier: Apache-2.0
//
// What writes to images beside a guest: create, check, and the recovery when an
// image is opened. A later verb or format is one line in AllVerbs().
#ifndef FLATCOW_TEST_CRASH_VERB_H_
#define FLATCOW_TEST_CRASH_VERB_H_

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flatcow/file.h"
#include "support/memory_file_system.h"

namespace flatcow {

// The files as they were before the verb ran and as it left them.
struct VerbRun {
  const MemoryFileSystem& before;
  const MemoryFileSystem& after;
};

struct Verb {
  std::string name;
  std::function<void(MemoryFileSystem&)> prepare;
  // `again`: after a power cut, as a user would who was told of it.
  std::function<absl::Status(FileSystem&, bool again)> run;
  // Return values: empty, or what is wrong with the files after a power cut.
  // `returned`: the verb had ended by then.
  std::function<std::string(const VerbRun&, MemoryFileSystem& files,
                            bool returned)>
      examine;
};

inline void PrintTo(const Verb& verb, std::ostream* out) { *out << verb.name; }

std::vector<Verb> AllVerbs();

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_VERB_H_
