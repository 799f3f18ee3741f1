// SPDX-License-Identifier: Apache-2.0
#ifndef FLATCOW_TEST_CRASH_REWRITING_VERB_H_
#define FLATCOW_TEST_CRASH_REWRITING_VERB_H_

#include <vector>

#include "crash/verb.h"

namespace flatcow {

// The verbs that rewrite an image or copy one, a line each. A disk shows the
// same at any point, and what was interrupted can be run again to the end.
std::vector<Verb> RewritingVerbs();

}  // namespace flatcow

#endif  // FLATCOW_TEST_CRASH_REWRITING_VERB_H_
