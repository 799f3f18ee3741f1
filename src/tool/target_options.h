// SPDX-License-Identifier: Apache-2.0
//
// Options of the verbs that make an image, or measure one to be made.
#ifndef FLATCOW_TOOL_TARGET_OPTIONS_H_
#define FLATCOW_TOOL_TARGET_OPTIONS_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flatcow/image_ops.h"
#include "options.h"

namespace flatcow::tool {

inline constexpr OptionSpec kKeysOption = {
    'o', "options", "KEY=VALUE,...",
    "what the format needs; -o help lists the keys"};
inline constexpr OptionSpec kTargetFormatOption = {
    'O', "output-format", "FMT",
    "format to make: add-cow, qcow2, qed, raw (default: raw)"};
inline constexpr OptionSpec kBackingFormatOption = {
    'F', "backing-format", "FMT",
    "format of the backing file, as -o backing_fmt="};

// The answer to `-o help`; empty when it isn't asked for. Errors: as
// CreateKeys().
absl::StatusOr<std::string> AnswerAboutKeys(const ParsedArguments& arguments,
                                            absl::string_view format);

// What -o, --backing and --backing-format say of an image of that format; the
// last two win, as in qemu-img. Errors: as StoreKeys(), and a backing file that
// the format hasn't.
absl::StatusOr<CreateOptions> ParseTarget(const ParsedArguments& arguments,
                                          absl::string_view format);

}  // namespace flatcow::tool

#endif  // FLATCOW_TOOL_TARGET_OPTIONS_H_
