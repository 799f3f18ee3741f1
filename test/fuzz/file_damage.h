// SPDX-License-Identifier: Apache-2.0
//
// Damage to image files, as a fuzzer's input says.
#ifndef FLATCOW_TEST_FUZZ_FILE_DAMAGE_H_
#define FLATCOW_TEST_FUZZ_FILE_DAMAGE_H_

#include <string>

#include "flatcow/file.h"
#include "fuzz/fuzz_input.h"

namespace flatcow {

// One stroke anywhere: bytes replaced, the file cut or grown, a field of the
// header changed, or DamageTables().
void DamageFile(File& file, FuzzInput& input);

// One stroke to what maps clusters: an entry of an L1 or L2 table or of qcow2's
// refcount table, or bytes of a table or a bitmap.
void DamageTables(File& file, FuzzInput& input);

}  // namespace flatcow

#endif  // FLATCOW_TEST_FUZZ_FILE_DAMAGE_H_
