// SPDX-License-Identifier: Apache-2.0
#include "command.h"

namespace flatcow::tool {
namespace {

constexpr const Command* kCommands[] = {
    &kCreateCommand,  &kInfoCommand,    &kCheckCommand,  &kMapCommand,
    &kConvertCommand, &kCompareCommand, &kCommitCommand, &kRebaseCommand,
    &kResizeCommand,  &kFlattenCommand, &kAmendCommand,  &kMeasureCommand,
};

}  // namespace

absl::Span<const Command* const> Commands() { return kCommands; }

const Command* FindCommand(absl::string_view name) {
  for (const Command* command : Commands()) {
    if (command->name == name) return command;
  }
  return nullptr;
}

}  // namespace flatcow::tool
