// SPDX-License-Identifier: Apache-2.0
#include "source_scan.h"

#include <sys/stat.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "flatcow/status.h"
#include "hidden_files.h"

namespace flatcow::daemon {
namespace {

class Scanner {
 public:
  Scanner(const SourceTree& tree, ConfinedFileSystem& files,
          ImageInspector& inspector, const FactsInUse& facts_in_use, Log& log)
      : tree_(tree),
        files_(files),
        inspector_(inspector),
        facts_in_use_(facts_in_use),
        log_(log) {}

  absl::StatusOr<SourceScan> Run() {
    auto listing = tree_.List();
    if (!listing.ok()) return listing.status();
    for (const absl::Status& problem : listing->problems) {
      LogOnce(problem.message(), "not searched");
    }
    absl::flat_hash_set<FileId> seen;
    for (SourceTree::Entry& entry : listing->files) {
      auto look = LookAt(entry, seen);
      if (!look.has_value() || look->facts == nullptr) continue;
      facts_[look->stat.id] = look->facts;
      scan_.images.push_back(
          {std::move(entry.path), *std::move(look), 0, absl::OkStatus()});
    }
    inspector_.Keep(seen);
    Hide();
    for (FoundImage& image : scan_.images) AddBelow(image);
    scan_.directories = std::move(listing->directories);
    return std::move(scan_);
  }

 private:
  void LogOnce(absl::string_view message, absl::string_view consequence) {
    const std::string line = absl::StrCat(message, " (", consequence, ")");
    log_.WriteLimited(Severity::kWarning, line, line);
  }

  std::string AbsolutePath(const std::string& path) const {
    return absl::StrCat(files_.root_path(0), "/", path);
  }

  // Nothing for what is not a regular file we can read.
  std::optional<Look> LookAt(const SourceTree::Entry& entry,
                             absl::flat_hash_set<FileId>& seen) {
    FileStat stat = entry.stat;
    const std::string path = AbsolutePath(entry.path);
    if (S_ISLNK(stat.mode)) {
      const auto target = files_.Stat(path);
      if (!target.ok()) {
        // Only where an option could help: links to folders and dangling ones
        // are nobody's mistake.
        if (absl::StrContains(target.status().message(), "allow=")) {
          LogOnce(target.status().message(), "not shown");
        }
        return std::nullopt;
      }
      if (!S_ISREG(target->mode)) return std::nullopt;
      stat = *target;
    }
    seen.insert(stat.id);
    if (auto facts = facts_in_use_(stat.id)) {
      Look look{stat, std::nullopt, std::move(facts)};
      if (look.facts->data_file.has_value()) {
        look.data_stat = StatLink(look.facts->data_file->path);
      }
      return look;
    }
    auto look = inspector_.Inspect(path, stat);
    if (!look.ok()) {
      const int error = ErrnoOf(look.status());
      if (error != ENOENT && error != ESTALE) {
        LogOnce(look.status().message(), "not shown");
      }
      return std::nullopt;
    }
    return *std::move(look);
  }

  // Many images share one backing file: asked for once per scan.
  std::optional<FileStat> StatLink(const std::string& path) {
    const auto [it, is_new] = link_stats_.try_emplace(path);
    if (is_new) {
      const auto stat = files_.Stat(path);
      if (stat.ok()) it->second = *stat;
    }
    return it->second;
  }

  void Hide() {
    RawFilesOf raw_files_of;
    for (const FoundImage& image : scan_.images) {
      std::vector<FileId>& raw_files = raw_files_of[image.look.stat.id];
      const ImageFacts& facts = *image.look.facts;
      if (image.look.data_stat.has_value()) {
        raw_files.push_back(image.look.data_stat->id);
      }
      if (facts.backing.has_value() && facts.backing->format == "raw") {
        const auto stat = StatLink(facts.backing->path);
        if (stat.has_value()) raw_files.push_back(stat->id);
      }
    }
    const auto hidden = HiddenFiles(raw_files_of);
    std::erase_if(scan_.images, [&hidden](const FoundImage& image) {
      return hidden.contains(image.look.stat.id);
    });
  }

  // Follows the chain through images that this scan knows; whatever lies
  // deeper in a file that it doesn't is left out.
  void AddBelow(FoundImage& image) {
    const ImageFacts* facts = image.look.facts.get();
    for (int depth = 0; depth < kMaxDepth && facts->backing.has_value();
         ++depth) {
      const auto stat = StatLink(facts->backing->path);
      if (!stat.has_value()) return;
      image.below_allocated += stat->allocated_bytes;
      if (facts->backing->format == "raw") return;
      const auto known = facts_.find(stat->id);
      if (known == facts_.end()) return;
      facts = known->second.get();
      if (!facts->status.ok()) {
        image.below_status = facts->status;
        return;
      }
      if (facts->data_file.has_value()) {
        const auto data = StatLink(facts->data_file->path);
        if (data.has_value()) image.below_allocated += data->allocated_bytes;
      }
    }
  }

  static constexpr int kMaxDepth = 256;  // files in a chain

  const SourceTree& tree_;
  ConfinedFileSystem& files_;
  ImageInspector& inspector_;
  const FactsInUse& facts_in_use_;
  Log& log_;
  SourceScan scan_;
  absl::flat_hash_map<FileId, std::shared_ptr<const ImageFacts>> facts_;
  absl::flat_hash_map<std::string, std::optional<FileStat>> link_stats_;
};

}  // namespace

absl::StatusOr<SourceScan> ScanSource(const SourceTree& tree,
                                      ConfinedFileSystem& files,
                                      ImageInspector& inspector,
                                      const FactsInUse& facts_in_use,
                                      Log& log) {
  return Scanner(tree, files, inspector, facts_in_use, log).Run();
}

}  // namespace flatcow::daemon
