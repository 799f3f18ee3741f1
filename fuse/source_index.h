// SPDX-License-Identifier: Apache-2.0
//
// What SOURCE holds: its folders, and which of its files are views.
#ifndef FLATCOW_FUSE_SOURCE_INDEX_H_
#define FLATCOW_FUSE_SOURCE_INDEX_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "flatcow/confined_file_system.h"
#include "image_facts.h"
#include "log.h"
#include "raw_names.h"
#include "source_tree.h"

namespace flatcow::daemon {

struct FoundImage {
  std::string path;  // relative to SOURCE; a link's own
  Look look;
  // Of the backing chain, as far as it is known without opening anything.
  uint64_t below_allocated = 0;  // bytes on the host
  int below_error = 0;           // not 0: an image of the chain is damaged
};

// Not thread-safe.
class SourceIndex {
 public:
  // The facts of an image that is in use and need not be inspected, or null.
  using FactsInUse =
      std::function<std::shared_ptr<const ImageFacts>(const FileId&)>;
  // Is this folder shown already?
  using IsShown = std::function<bool(const std::string& path)>;

  // All outlive this.
  SourceIndex(const SourceTree& tree, ConfinedFileSystem& files,
              ImageInspector& inspector, FactsInUse facts_in_use,
              RawNames raw_names, Log& log);

  enum class Depth {
    kAllFiles,
    kNewFiles,  // files that are known by name and inode are as they were
  };

  // Looks again at a folder and at all below it that is not shown, or where
  // names came or went; the files of other folders are looked at when those
  // are listed themselves. So listing every folder once takes a number of
  // system calls that grows with the number of files, not with its square.
  // Opens only what `inspector` does not know. Trouble with a single file or
  // folder is logged, not returned. Returns whether there is anything new.
  // Errors: SOURCE can't be read.
  absl::StatusOr<bool> Refresh(const std::string& path, Depth depth,
                               const IsShown& is_shown);

  // Every name of every image that is a view.
  std::vector<FoundImage> Views();

  // The attributes of a folder, if it is known.
  std::optional<FileStat> FolderStat(const std::string& path) const;

 private:
  struct File {
    uint64_t inode = 0;  // a link's own
    FileId id;           // what it leads to
  };
  struct Folder {
    FileStat stat;
    bool settled = false;            // see IsSettled()
    std::vector<FoundImage> images;  // sorted; hidden ones too
    // All that were looked at, by path.
    absl::flat_hash_map<std::string, File> files;
  };
  using Folders = std::map<std::string, Folder>;
  using LinkStats = absl::flat_hash_map<std::string, std::optional<FileStat>>;
  using FactsOf =
      absl::flat_hash_map<FileId, std::shared_ptr<const ImageFacts>>;

  std::optional<std::vector<std::string>> KnownChildren(
      const SourceTree::Entry& folder, const IsShown& is_shown) const;
  void LogOnce(absl::string_view message, absl::string_view consequence);
  bool Replace(const std::string& path, const SourceTree::Listing& listing,
               Folders fresh);
  void AddFile(const SourceTree::Entry& entry, Folder& folder);
  // One file of SOURCE. Errors: it can't be looked at.
  absl::StatusOr<Look> LookAt(const std::string& path, const FileStat& stat);
  bool IsKnown(const std::string& path, uint64_t inode) const;
  // Takes over what is known of files.
  void AddSame(const std::vector<std::string>& paths, Folders& fresh) const;
  void ForgetFiles();
  std::optional<FileStat> StatLink(const std::string& path, LinkStats& stats);
  // A file is raw by all of its names when it is by one.
  static void Agree(std::vector<FoundImage>& images);
  void AddRawFiles(const ImageFacts& facts, const FactsOf& facts_of,
                   LinkStats& stats, std::vector<FileId>& raw_files);
  void Hide(std::vector<FoundImage>& images, const FactsOf& facts_of,
            LinkStats& stats);
  void AddBelow(FoundImage& image, const FactsOf& facts_of, LinkStats& stats);
  void AddBacking(FoundImage& image, const ImageFacts* facts,
                  const FactsOf& facts_of, LinkStats& stats);

  const SourceTree& tree_;
  ConfinedFileSystem& files_;
  ImageInspector& inspector_;
  const FactsInUse facts_in_use_;
  const RawNames raw_names_;
  Log& log_;
  Folders folders_;
};

}  // namespace flatcow::daemon

#endif  // FLATCOW_FUSE_SOURCE_INDEX_H_
