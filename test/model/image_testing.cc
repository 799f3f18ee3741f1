// SPDX-License-Identifier: Apache-2.0
#include "model/image_testing.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/byte_order.h"
#include "flatcow/status.h"
#include "model/disk_model.h"
#include "support/memory_file_system.h"

namespace flatcow {
namespace {

absl::Span<uint8_t> BytesOf(std::string& text) {
  return absl::MakeSpan(reinterpret_cast<uint8_t*>(text.data()), text.size());
}

absl::Span<const uint8_t> BytesOf(absl::string_view text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()),
                             text.size());
}

}  // namespace

testing::AssertionResult Fails(const absl::Status& status, int error_number,
                               absl::string_view text) {
  if (ErrnoOf(status) != error_number) {
    return testing::AssertionFailure()
           << "errno " << ErrnoOf(status) << " instead of " << error_number
           << ": " << status;
  }
  if (!absl::StrContains(status.message(), text)) {
    return testing::AssertionFailure()
           << "no '" << text << "' in: " << status.message();
  }
  return testing::AssertionSuccess() << status.message();
}

CreateOptions OptionsOf(const NewImage& image) {
  CreateOptions options;
  options.format = image.format;
  options.size = image.size;
  options.backing_file = image.backing_file;
  options.backing_format = image.backing_format;
  options.cluster_size = image.cluster_size;
  options.table_size = image.table_size;
  options.data_file = image.data_file;
  options.data_file_raw = image.data_file_raw;
  options.refcount_bits = image.refcount_bits;
  return options;
}

CreateResult Make(FileSystem& files, const std::string& path,
                  const NewImage& image) {
  return Must(CreateImage(files, path, OptionsOf(image)));
}

std::string ReadDisk(BlockDevice& disk, Extent extent) {
  std::string bytes(extent.length, '\xa5');
  const size_t done = Must(disk.Read(extent.offset, BytesOf(bytes)));
  if (done != extent.length) throw std::runtime_error("short read");
  return bytes;
}

std::string ReadDisk(BlockDevice& disk) {
  return ReadDisk(disk, {0, disk.Size()});
}

void WriteDisk(BlockDevice& disk, uint64_t offset, absl::string_view data) {
  const size_t done = Must(disk.Write(offset, BytesOf(data)));
  if (done != data.size()) throw std::runtime_error("short write");
}

std::string ReadFile(FileSystem& files, const std::string& path) {
  const auto file = Must(files.Open(path, Access::kReadOnly));
  std::string bytes(Must(file->Stat()).size, '\0');
  Must(file->Read(0, BytesOf(bytes)).status());
  return bytes;
}

void PokeFile(FileSystem& files, const std::string& path, uint64_t offset,
              absl::string_view data) {
  const auto file = Must(files.Open(path, Access::kReadWrite));
  std::string copy(data);
  const iovec piece{copy.data(), copy.size()};
  Must(file->Write(offset, absl::MakeConstSpan(&piece, 1)));
}

testing::AssertionResult Shows(BlockDevice& disk, absl::string_view content) {
  if (disk.Size() != content.size()) {
    return testing::AssertionFailure()
           << "size " << disk.Size() << " instead of " << content.size();
  }
  const std::string got = ReadDisk(disk);
  const auto [wrong, right] =
      std::mismatch(got.begin(), got.end(), content.begin());
  if (wrong == got.end()) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << "byte " << wrong - got.begin() << " is "
         << int{static_cast<uint8_t>(*wrong)} << " instead of "
         << int{static_cast<uint8_t>(*right)};
}

testing::AssertionResult IsClean(FileSystem& files, const std::string& path) {
  const auto check = CheckImage(files, path, {});
  if (!check.ok()) return testing::AssertionFailure() << check.status();
  if (check->corruptions + check->leaks + check->check_errors == 0) {
    return testing::AssertionSuccess();
  }
  auto failure = testing::AssertionFailure()
                 << path << ": " << check->corruptions << " corruptions, "
                 << check->leaks << " leaks, " << check->check_errors
                 << " errors";
  for (const std::string& problem : check->problems) {
    failure << "\n  " << problem;
  }
  return failure;
}

std::string PatternText(uint64_t tag, uint64_t length) {
  const std::vector<uint8_t> bytes = Pattern(tag, length);
  return {bytes.begin(), bytes.end()};
}

std::string Little32(uint32_t value) {
  std::string bytes(sizeof(value), '\0');
  StoreLittle32(BytesOf(bytes).data(), value);
  return bytes;
}

std::string Little64(uint64_t value) {
  std::string bytes(sizeof(value), '\0');
  StoreLittle64(BytesOf(bytes).data(), value);
  return bytes;
}

std::string Describe(const SegmentList& segments) {
  std::string text;
  for (const Segment& segment : segments) {
    absl::StrAppend(&text,
                    segment.kind == Segment::Kind::kData ? "data" : "zero",
                    " +", segment.length);
    if (segment.allocated) absl::StrAppend(&text, " @", segment.depth);
    if (segment.file != nullptr) {
      absl::StrAppend(&text, " ", segment.file->path(), " ",
                      segment.host_offset);
    }
    text += '\n';
  }
  return text;
}

void Overwrite(std::string& content, uint64_t offset, absl::string_view data) {
  std::copy(data.begin(), data.end(),
            content.begin() + static_cast<ptrdiff_t>(offset));
}

std::vector<std::pair<std::string, std::string>> AllContents(
    const MemoryFileSystem& files) {
  std::vector<std::pair<std::string, std::string>> result;
  for (const std::string& path : files.Paths()) {
    result.emplace_back(path,
                        files.Exists(path) ? files.Contents(path) : "dangling");
  }
  return result;
}

}  // namespace flatcow
