// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <algorithm>
#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace flatcow::tool {
namespace {

// Walks the arguments once; Next() hands out one word at a time.
class Parser {
 public:
  Parser(absl::Span<const std::string> args, absl::Span<const OptionSpec> specs,
         OperandRule rule)
      : args_(args), specs_(specs.begin(), specs.end()), rule_(rule) {
    specs_.push_back(kHelpOption);
  }

  absl::StatusOr<ParsedArguments> Run() {
    while (next_ < args_.size()) {
      const std::string& word = args_[next_++];
      if (word == "--") break;
      absl::Status status;
      if (absl::StartsWith(word, "--")) {
        status = Long(absl::string_view(word).substr(2));
      } else if (word.size() > 1 && word[0] == '-' && !IsNumber(word)) {
        status = Short(absl::string_view(word).substr(1));
      } else {
        parsed_.AddOperand(word);
        if (rule_ == OperandRule::kStop) break;
      }
      if (!status.ok()) return status;
    }
    while (next_ < args_.size()) parsed_.AddOperand(args_[next_++]);
    return std::move(parsed_);
  }

 private:
  bool IsNumber(absl::string_view word) const {
    return rule_ == OperandRule::kNumbers && absl::ascii_isdigit(word[1]);
  }

  absl::Status Long(absl::string_view word) {
    const size_t equals = word.find('=');
    const absl::string_view name = word.substr(0, equals);
    const OptionSpec* found = nullptr;
    for (const OptionSpec& spec : specs_) {
      if (name.empty()) break;
      if (name == spec.name) {
        found = &spec;
        break;
      }
      if (!absl::StartsWith(spec.name, name)) continue;
      if (found != nullptr) {
        return absl::InvalidArgumentError(
            absl::StrCat("option '--", name, "' is ambiguous: '--", found->name,
                         "' or '--", spec.name, "'"));
      }
      found = &spec;
    }
    const bool has_value = equals != absl::string_view::npos;
    if (found == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("unrecognized option '--", name, "'"));
    }
    if (has_value && found->argument == nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("option '--", found->name, "' takes no argument"));
    }
    if (has_value) {
      parsed_.AddOption(found->name, std::string(word.substr(equals + 1)));
      return absl::OkStatus();
    }
    return AddWithNextWord(*found, absl::StrCat("--", found->name));
  }

  absl::Status Short(absl::string_view letters) {
    for (size_t i = 0; i < letters.size(); ++i) {
      const auto spec = std::find_if(
          specs_.begin(), specs_.end(),
          [&](const OptionSpec& s) { return s.letter == letters[i]; });
      const std::string shown = absl::StrCat("-", letters.substr(i, 1));
      if (spec == specs_.end()) {
        return absl::InvalidArgumentError(
            absl::StrCat("unrecognized option '", shown, "'"));
      }
      const absl::string_view rest = letters.substr(i + 1);
      if (spec->argument != nullptr && !rest.empty()) {
        parsed_.AddOption(spec->name, std::string(rest));
        return absl::OkStatus();
      }
      absl::Status status = AddWithNextWord(*spec, shown);
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // The option as it stands, or with the word behind it when it needs one.
  absl::Status AddWithNextWord(const OptionSpec& spec,
                               absl::string_view shown) {
    if (spec.argument == nullptr) {
      parsed_.AddOption(spec.name, "");
      return absl::OkStatus();
    }
    if (next_ == args_.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("missing argument for option '", shown, "'"));
    }
    parsed_.AddOption(spec.name, args_[next_++]);
    return absl::OkStatus();
  }

  const absl::Span<const std::string> args_;
  std::vector<OptionSpec> specs_;
  const OperandRule rule_;
  size_t next_ = 0;
  ParsedArguments parsed_;
};

}  // namespace

std::optional<std::string> ParsedArguments::Value(
    absl::string_view name) const {
  std::optional<std::string> last;
  for (const auto& [option, value] : options_) {
    if (option == name) last = value;
  }
  return last;
}

std::vector<std::string> ParsedArguments::Values(absl::string_view name) const {
  std::vector<std::string> values;
  for (const auto& [option, value] : options_) {
    if (option == name) values.push_back(value);
  }
  return values;
}

absl::StatusOr<ParsedArguments> ParseArguments(
    absl::Span<const std::string> args, absl::Span<const OptionSpec> specs,
    OperandRule rule) {
  return Parser(args, specs, rule).Run();
}

}  // namespace flatcow::tool
