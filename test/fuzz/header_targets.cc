// SPDX-License-Identifier: Apache-2.0
//
// Header codecs: what parses must survive being written and parsed again, and
// the driver must agree with the codec, names of other files included.
//
// Input: the length of the file (8 bytes), then its first bytes.
#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "flatcow/image.h"
#include "format/addcow/header.h"
#include "format/qcow2/extensions.h"
#include "format/qcow2/header.h"
#include "format/qed/header.h"
#include "format/registry.h"
#include "fuzz/fuzz_input.h"
#include "fuzz/fuzz_target.h"
#include "model/image_testing.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

constexpr char kPath[] = "/disks/image";
constexpr size_t kMostBytes = 1 << 20;

struct FuzzedFile {
  uint64_t size;
  std::string head;
};

FuzzedFile TakeFile(const uint8_t* data, size_t size) {
  FuzzInput input(data, size);
  FuzzedFile file;
  file.size = input.Word() & std::numeric_limits<int64_t>::max();
  file.head = input.Bytes(kMostBytes);
  if (file.head.size() > file.size) file.head.resize(file.size);
  return file;
}

void RequireLink(const MemoryFileSystem& files, const ImageLink& link,
                 uint64_t offset, uint64_t length) {
  if (link.name.size() != length || link.name.find('\0') != std::string::npos) {
    FuzzFinding("a name that the header does not record");
  }
  const std::string head = files.Contents("/disks/head");
  if (offset < head.size() &&
      head.compare(offset, length, link.name, 0, head.size() - offset) != 0) {
    FuzzFinding("a name from another place");
  }
  if (link.path.empty() || link.path.front() != '/') {
    FuzzFinding(absl::StrCat("a path that is not absolute: ", link.path));
  }
}

// The driver reads the same file that the codec was given.
absl::StatusOr<FormatHeader> ReadByDriver(MemoryFileSystem& files,
                                          const FuzzedFile& fuzzed,
                                          const FormatDriver& driver) {
  files.SetContents("/disks/head", fuzzed.head);
  files.SetContents(kPath, fuzzed.head);
  const auto file = Must(files.Open(kPath, Access::kReadWrite));
  Must(file->Truncate(fuzzed.size));
  auto header = driver.read_header(*file);
  RequireClear(header.status());
  RequireClear(InspectImage(files, *file).status());
  return header;
}

absl::Span<const uint8_t> BytesOf(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()),
                             text.size());
}

template <typename Header>
void RequireRoundTrip(absl::StatusOr<Header> (*parse)(absl::Span<const uint8_t>,
                                                      uint64_t),
                      const Header& header, const FuzzedFile& fuzzed) {
  // Over what was there: names may stand among the fields that a layout lacks.
  const auto bytes = SerializeHeader(header);
  std::string head = fuzzed.head;
  head.resize(std::max(head.size(), bytes.size()));
  Overwrite(head, 0, std::string(bytes.begin(), bytes.end()));
  const auto again = parse(BytesOf(head), fuzzed.size);
  if (!again.ok()) {
    FuzzFinding(absl::StrCat("a serialized header does not parse: ",
                             again.status().ToString()));
  }
  if (!(*again == header)) FuzzFinding("a header changes when it is written");
}

}  // namespace

void FuzzQedHeader(const uint8_t* data, size_t size) {
  const FuzzedFile fuzzed = TakeFile(data, size);
  const auto header = qed::ParseHeader(BytesOf(fuzzed.head), fuzzed.size);
  if (header.ok()) {
    RequireRoundTrip(qed::ParseHeader, *header, fuzzed);
  }
  MemoryFileSystem files;
  const auto read = ReadByDriver(files, fuzzed, kQedFormat);
  if (!read.ok()) return;
  // The head may end early where the file goes on with zeroes.
  if (!header.ok() && fuzzed.head.size() >= qed::kHeaderBytes) {
    FuzzFinding("the driver takes a header that does not parse");
  }
  if (!header.ok()) return;
  if (read->virtual_size != header->image_size ||
      read->cluster_size != header->cluster_size) {
    FuzzFinding("the driver reads another header");
  }
  if (read->backing.has_value()) {
    RequireLink(files, *read->backing, header->backing_filename_offset,
                header->backing_filename_size);
  }
}

void FuzzAddCowHeader(const uint8_t* data, size_t size) {
  const FuzzedFile fuzzed = TakeFile(data, size);
  const auto header = addcow::ParseHeader(BytesOf(fuzzed.head), fuzzed.size);
  if (header.ok()) {
    RequireRoundTrip(addcow::ParseHeader, *header, fuzzed);
  }
  MemoryFileSystem files;
  const auto read = ReadByDriver(files, fuzzed, kAddCowFormat);
  if (!read.ok()) return;
  if (!header.ok() && fuzzed.head.size() >= addcow::kParsedBytes) {
    FuzzFinding("the driver takes a header that does not parse");
  }
  if (!header.ok()) return;
  if (read->cluster_size != header->cluster_size() ||
      read->all_allocated != header->all_allocated()) {
    FuzzFinding("the driver reads another header");
  }
  if (!read->data_file.has_value()) FuzzFinding("an image without image file");
  RequireLink(files, *read->data_file, header->image_name_offset,
              header->image_name_size);
  if (read->backing.has_value() != (header->backing_name_offset != 0)) {
    FuzzFinding("a backing file that the header does not record");
  }
  if (read->backing.has_value()) {
    RequireLink(files, *read->backing, header->backing_name_offset,
                header->backing_name_size);
  }
}

namespace {

// Extensions lie one behind the other between the header and what follows it.
void RequireExtensions(const File& file, const qcow2::Header& header,
                       const FormatHeader& read) {
  const auto extensions = Must(qcow2::ReadExtensions(file, header));
  uint64_t end = header.header_length;
  for (const auto& item : extensions.items) {
    if (item.data.offset < end + qcow2::kExtensionHeadBytes ||
        item.data.end() > header.cluster_size()) {
      FuzzFinding("an extension outside of its place");
    }
    end = item.data.end();
  }
  const auto* const name = extensions.Find(qcow2::kExtensionDataFileName);
  if (read.data_file.has_value() != header.has_data_file() ||
      (read.data_file.has_value() &&
       (name == nullptr || read.data_file->name.size() != name->data.length))) {
    FuzzFinding("a data file that the header does not record");
  }
}

// New names change nothing else.
void RequireRecord(MemoryFileSystem& files, const FormatHeader& old) {
  const auto file = Must(files.Open(kPath, Access::kReadWrite));
  const ImageLink backing{.name = "new", .path = "/disks/new", .format = "raw"};
  const absl::Status status =
      kQcow2Format.record(*file, backing, old.data_file);
  RequireClear(status);
  const auto now = kQcow2Format.read_header(*file);
  if (!now.ok()) {
    FuzzFinding(absl::StrCat("a recorded name makes the header unreadable: ",
                             now.status().ToString()));
  }
  const auto& expected = status.ok() ? backing : old.backing;
  if (now->backing.has_value() != expected.has_value() ||
      (expected.has_value() && (now->backing->name != expected->name ||
                                now->backing->format != expected->format))) {
    FuzzFinding("a backing file is not recorded as it should be");
  }
  if (now->virtual_size != old.virtual_size ||
      now->cluster_size != old.cluster_size ||
      now->read_only != old.read_only ||
      now->data_file.has_value() != old.data_file.has_value() ||
      (old.data_file.has_value() &&
       now->data_file->name != old.data_file->name)) {
    FuzzFinding("recording a backing file changes something else");
  }
}

}  // namespace

void FuzzQcow2Header(const uint8_t* data, size_t size) {
  const FuzzedFile fuzzed = TakeFile(data, size);
  const auto header = qcow2::ParseHeader(BytesOf(fuzzed.head), fuzzed.size);
  if (header.ok()) {
    RequireRoundTrip(qcow2::ParseHeader, *header, fuzzed);
  }
  MemoryFileSystem files;
  const auto read = ReadByDriver(files, fuzzed, kQcow2Format);
  if (!read.ok()) return;
  if (!header.ok() && fuzzed.head.size() >= qcow2::kWrittenBytes) {
    FuzzFinding("the driver takes a header that does not parse");
  }
  if (!header.ok()) return;
  if (read->virtual_size != header->size ||
      read->cluster_size != header->cluster_size() ||
      read->read_only.empty() !=
          (header->has_data_file() &&
           (header->incompatible & qcow2::kIncompatibleCorrupt) == 0)) {
    FuzzFinding("the driver reads another header");
  }
  if (read->backing.has_value() !=
      (header->backing_name_offset != 0 && header->backing_name_size != 0)) {
    FuzzFinding("a backing file that the header does not record");
  }
  if (read->backing.has_value()) {
    RequireLink(files, *read->backing, header->backing_name_offset,
                header->backing_name_size);
  }
  const auto file = Must(files.Open(kPath, Access::kReadOnly));
  RequireExtensions(*file, *header, *read);
  RequireRecord(files, *read);
}

}  // namespace flatcow
