// SPDX-License-Identifier: Apache-2.0
//
// The layouts have their bitmaps in different places, so an upgrade in place
// would have moments in which the file is neither. It is written beside the
// image instead, under a name that says so, and then takes its place.
#include "ops/upgrade.h"

#include <array>
#include <cerrno>
#include <memory>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "flatcow/image.h"
#include "flatcow/status.h"
#include "format/link_name.h"
#include "image/image_info.h"
#include "image/open_chain.h"
#include "io/read_to_end.h"

namespace flatcow {
namespace {

// A file without a header is what a power cut leaves of one.
absl::StatusOr<bool> IsLeftover(const File& file, const FormatDriver& driver) {
  std::array<uint8_t, kProbeBytes> head{};
  RETURN_IF_ERROR(ReadToEnd(file, 0, absl::MakeSpan(head)).status());
  return head == std::array<uint8_t, kProbeBytes>{} || driver.probe(head);
}

// What an upgrade that was killed has left goes, unless somebody uses it.
absl::Status RemoveLeftover(FileSystem& file_system, const std::string& path,
                            const FormatDriver& driver) {
  ASSIGN_OR_RETURN(const ChainFile old,
                   OpenLocked(file_system, path, LockRole::kImageReadWrite));
  ASSIGN_OR_RETURN(const bool is_leftover, IsLeftover(*old.file, driver));
  if (!is_leftover) {
    return MakeError(EEXIST, absl::StrCat(path,
                                          ": is in the way, and is not what an "
                                          "upgrade leaves: rename it"));
  }
  return file_system.Remove(path);
}

absl::StatusOr<std::unique_ptr<File>> CreateBeside(FileSystem& file_system,
                                                   const std::string& path,
                                                   const FormatDriver& driver) {
  auto created = file_system.Create(path);
  if (ErrnoOf(created.status()) != EEXIST) return created;
  RETURN_IF_ERROR(RemoveLeftover(file_system, path, driver));
  return file_system.Create(path);
}

// The newest layout has no place for "to be found by magic".
absl::StatusOr<std::string> FindFormat(FileSystem& file_system,
                                       const File& file,
                                       const ImageLink& backing,
                                       std::vector<std::string>& warnings) {
  const auto opened =
      OpenLocked(file_system, ResolveLinkName(file.path(), backing.name),
                 LockRole::kBacking);
  if (!opened.ok()) {
    return AnnotateLink(opened.status(), file, "backing file", backing);
  }
  ASSIGN_OR_RETURN(const ImageInfo info,
                   InspectImage(file_system, *opened->file, ""));
  return FoundBackingFormat(backing.name, info, warnings);
}

}  // namespace

absl::Status UpgradeImage(FileSystem& file_system, const File& file,
                          const FormatDriver& driver, Names names,
                          std::vector<std::string>& warnings) {
  CreateOptions options;
  options.data_file = names.data_file->name;
  options.data_format = names.data_file->format;
  if (names.backing.has_value()) {
    ImageLink& backing = *names.backing;
    if (backing.format.empty()) {
      ASSIGN_OR_RETURN(backing.format,
                       FindFormat(file_system, file, backing, warnings));
    }
    options.backing_file = backing.name;
    options.backing_format = backing.format;
  }
  // Open until the end, so that its size stays.
  const auto disk =
      OpenImage(file_system, ResolveLinkName(file.path(), options.data_file),
                {.format = options.data_format});
  if (!disk.ok()) {
    return AnnotateLink(disk.status(), file, "image file", *names.data_file);
  }
  options.size = (*disk)->Size();

  const std::string path = absl::StrCat(file.path(), ".upgrade");
  ASSIGN_OR_RETURN(const auto target, CreateBeside(file_system, path, driver));
  auto remove =
      absl::MakeCleanup([&] { file_system.Remove(path).IgnoreError(); });
  // Until it is in place and after: whoever comes first finds it locked.
  ImageLock lock(*target);
  RETURN_IF_ERROR(lock.Take(LockRole::kImageReadWrite));
  RETURN_IF_ERROR(driver.upgrade(file, options, *target));
  RETURN_IF_ERROR(file_system.Replace(path, file.path()));
  std::move(remove).Cancel();
  return absl::OkStatus();
}

}  // namespace flatcow
