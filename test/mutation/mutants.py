# SPDX-License-Identifier: Apache-2.0
"""Faults made on purpose, in the code that orders writes and that recovers.

Each is what a hurried edit might do. `edits` are pairs of a text that stands
once in `file` and what replaces it; `tests` are the programs to try first.
"""

from dataclasses import dataclass

# Test programs that a fault may show in, the quick ones first.
PROGRAMS = ["format", "cache", "io", "image", "hostile_image", "repair",
            "interop", "model", "ops", "concurrency", "order", "crash",
            "fault"]


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    edits: list
    tests: list


OVERLAY = "src/image/overlay.cc"
WRITE = "src/image/overlay_write.cc"
ZERO = "src/image/overlay_zero.cc"
ROUNDS = "src/image/flush_rounds.cc"
CHAIN = "src/image/open_chain.cc"
QED = "src/format/qed/layer.cc"
QED_DRIVER = "src/format/qed/driver.cc"
QED_CHECK = "src/format/qed/check.cc"
GEOMETRY = "src/format/table_geometry.h"
TABLE_TREE = "src/format/table_tree.cc"
TABLE_TREE_H = "src/format/table_tree.h"
FILE_TAIL = "src/format/file_tail.cc"
ADDCOW = "src/format/addcow/layer.cc"
BITMAP = "src/format/addcow/bitmap.h"
CACHE = "src/io/metadata_cache.cc"
QCOW2 = "src/format/qcow2/layer.cc"
QCOW2_WRITE = "src/format/qcow2/data_file_layer.cc"
QCOW2_BUILD = "src/format/qcow2/build_metadata.cc"
QCOW2_SPACE = "src/format/qcow2/metadata_space.cc"
QCOW2_WRITABLE = "src/format/qcow2/writable.cc"
QCOW2_RECORD = "src/format/qcow2/record.cc"

FLUSH_MUTANTS = [
    Mutant("no-data-sync", OVERLAY,
           [("if (data_written_.exchange(false) || ",
             "if ((data_written_.exchange(false) && false) || ")],
           ["image"]),
    Mutant("metadata-before-data", OVERLAY,
           [("  if (data_written_.exchange(false) || ",
             "  RETURN_IF_ERROR(layer.WriteRound(syncer_));\n"
             "  if (data_written_.exchange(false) || "),
            ("  return layer.WriteRound(syncer_);",
             "  return absl::OkStatus();")],
           ["image"]),
    Mutant("copy-after-data-sync", OVERLAY,
           [("  chain_.top().BeginRound();\n", ""),
            ("  return layer.WriteRound(syncer_);",
             "  layer.BeginRound();\n  return layer.WriteRound(syncer_);")],
           ["order"]),
    Mutant("data-flag-cleared-after-sync", OVERLAY,
           [("if (data_written_.exchange(false) || ",
             "if (data_written_.load() || "),
            ("  return layer.WriteRound(syncer_);",
             "  data_written_.store(false);\n"
             "  return layer.WriteRound(syncer_);")],
           ["order"]),
    Mutant("failed-sync-forgotten", "src/io/syncer.h",
           [("failed_.store(true);", "failed_.store(false);")],
           ["image"]),
    Mutant("failed-sync-leaves-mappings", OVERLAY,
           [("  chain_.top().Freeze();\n", "")],
           ["image"]),
    Mutant("failed-round-forgets-copies", OVERLAY,
           [("    chain_.top().AbandonRound();\n", "")],
           ["image"]),
    Mutant("first-flush-trusts-predecessor", "src/image/overlay.h",
           [("data_written_{true}", "data_written_{false}")],
           ["image"]),
    Mutant("first-flush-trusts-bitmap", "src/format/addcow/layer.h",
           [("bool file_synced_ = false", "bool file_synced_ = true")],
           ["image"]),
    Mutant("close-does-not-flush", OVERLAY,
           [("if (NeedsFlush() && OutlivesProcess()) RunRounds()",
             "if (false) RunRounds()")],
           ["image"]),
    Mutant("late-flush-joins-round", ROUNDS,
           [("begun_count_ + 1;",
             "begun_count_ + (begun_count_ == ended_count_ ? 1 : 0);")],
           ["cache", "image"]),
    Mutant("joined-round-hides-error", ROUNDS,
           [("error_number_ == 0 ?", "error_number_ >= 0 ?")],
           ["cache", "image"]),
]

WRITE_MUTANTS = [
    Mutant("publish-before-write", WRITE,
           [("  return file.Write(host_of(written.offset",
             "  RETURN_IF_ERROR(layer.Publish(reservation));\n"
             "  return file.Write(host_of(written.offset")],
           ["order"]),
    Mutant("no-head-fill", WRITE,
           [("Extent head{begin, written.offset - begin};",
             "Extent head{begin, 0};")],
           ["model"]),
    Mutant("no-tail-fill", WRITE,
           [("Extent tail{written.end(), end - written.end()};",
             "Extent tail{written.end(), 0};")],
           ["model"]),
    Mutant("tail-past-the-disk", WRITE,
           [("end = std::min(end, layer.size());",
             "end = std::max(end, layer.size() - layer.size() % 2);")],
           ["model"]),
    Mutant("long-tail-not-copied", WRITE,
           [("    RETURN_IF_ERROR(CopyOld(tail, host_of(tail.offset), old));\n",
             "")],
           ["image"]),
    Mutant("all-space-taken-for-zero", WRITE,
           [("if (!reservation.reads_zero || edge->length == 0) continue;",
             "if (edge->length == 0) continue;")],
           ["model"]),
    Mutant("no-second-look", WRITE,
           [("    if (mapping.kind == Mapping::Kind::kData) {\n"
             "      RETURN_IF_ERROR(WriteInPlace(mapping, data + done));",
             "    if (mapping.length == 0) {\n"
             "      RETURN_IF_ERROR(WriteInPlace(mapping, data + done));")],
           ["order"]),
    Mutant("write-locks-nothing", WRITE,
           [("hold(ranges_, ClustersOf(extent));",
             "hold(ranges_, {extent.offset, 0});")],
           ["order"]),
    Mutant("write-locks-bytes-not-clusters", WRITE,
           [("hold(ranges_, ClustersOf(extent));", "hold(ranges_, extent);")],
           ["order"]),
    Mutant("write-in-place-not-noted", WRITE,
           [("  NoteDataWritten();\n  return status;", "  return status;")],
           ["image"]),
    Mutant("failed-write-in-place-not-noted", WRITE,
           [("  NoteDataWritten();\n  return status;",
             "  if (status.ok()) NoteDataWritten();\n  return status;")],
           ["fault"]),
    Mutant("new-data-not-noted", WRITE,
           [("  NoteDataWritten();\n  RETURN_IF_ERROR(Publish",
             "  RETURN_IF_ERROR(Publish")],
           ["image"]),
    Mutant("failed-write-leaks", WRITE,
           [("    layer.Release(reservation);\n", "")],
           ["fault", "image"]),
    Mutant("punch-not-noted", ZERO,
           [("  NoteDataWritten();\n  return status;", "  return status;")],
           ["image", "crash"]),
    Mutant("zero-part-shows-backing", ZERO,
           [("  if (zero) return absl::OkStatus();\n  while (part",
             "  if (zero || part.length < 4096) return absl::OkStatus();\n"
             "  while (part")],
           ["model"]),
    Mutant("zero-rounds-outward", ZERO,
           [("std::min(RoundUp(run.offset, cluster_size), run.end())",
             "std::min(RoundDown(run.offset, cluster_size), run.end())")],
           ["model"]),
    Mutant("zero-clusters-lock-nothing", ZERO,
           [("hold(ranges_, ClustersOf(clusters));",
             "hold(ranges_, {clusters.offset, 0});")],
           ["order"]),
    Mutant("range-lock-compares-begins", "src/image/range_lock.h",
           [("Overlaps(earlier->range_.offset, earlier->range_.length,",
             "Overlaps(earlier->range_.offset, 1,")],
           ["order", "cache"]),
    Mutant("gate-stays-open", "src/image/io_gate.h",
           [("if (!closed_.load()) return inside;",
             "if (inside.load() > 0) return inside;")],
           ["cache", "concurrency"]),
]

QED_MUTANTS = [
    Mutant("qed-no-sync-after-l1", QED,
           [("    RETURN_IF_ERROR(syncer.Sync(file_));\n  }\n"
             "  pages_.FinishCopies();",
             "  }\n  pages_.FinishCopies();")],
           ["image"]),
    Mutant("qed-no-sync-before-l1", QED,
           [("  RETURN_IF_ERROR(syncer.Sync(file_));\n"
             "  if (pages_.HasCopiesIn(l1)) {",
             "  if (!pages_.HasCopiesIn(l1)) {\n"
             "    RETURN_IF_ERROR(syncer.Sync(file_));\n"
             "  } else {")],
           ["image"]),
    Mutant("qed-l1-before-l2", QED,
           [("WriteCopies({l1}, /*inside=*/false)",
             "WriteCopies({l1}, true)"),
            ("WriteCopies({l1}, /*inside=*/true)",
             "WriteCopies({l1}, false)")],
           ["image"]),
    Mutant("qed-no-space-for-l2", QED,
           [("  RETURN_IF_ERROR(pages_.EnsureSpace("
             "geometry_.L2Word(table, first),\n"
             "                                     wanted / cluster_size));\n",
             "")],
           ["image", "fault"]),
    Mutant("qed-no-space-for-l1", QED,
           [("  RETURN_IF_ERROR(pages_.EnsureSpace(word, 1));\n", "")],
           ["image", "fault"]),
    Mutant("qed-released-space-as-table", QED,
           [("  ASSIGN_OR_RETURN(const uint64_t table, "
             "tail_.Extend(geometry_.table_bytes()));",
             "  ASSIGN_OR_RETURN(const FileTail::Space space,\n"
             "                   tail_.Take(geometry_.table_bytes()));\n"
             "  const uint64_t table = space.extent.offset;")],
           ["image", "fault"]),
    Mutant("qed-released-space-reads-zero", QED,
           [("space.reads_zero}", "true}")],
           ["image", "fault"]),
    Mutant("qed-publish-off-by-a-cluster", QED,
           [("return host_offset + (word - first) * cluster_size;",
             "return host_offset + (word - first + 1) * cluster_size;")],
           ["model"]),
    Mutant("qed-grow-keeps-stale-l2", QED,
           [("[](uint64_t, uint64_t) { return kUnallocated; }",
             "[](uint64_t, uint64_t old) { return old; }")],
           ["image"]),
    Mutant("qed-grow-keeps-stale-l1", TABLE_TREE,
           [("[](uint64_t, uint64_t) { return 0; }",
             "[](uint64_t, uint64_t old) { return old; }")],
           ["image"]),
    Mutant("qed-grow-shows-backing", QED,
           [("if (below <= first_new) return",
             "if (below <= first_new + cluster_size) return")],
           ["model"]),
    Mutant("qed-bad-l2-entry-used", QED,
           [("    if (run == 0) {\n      return tree_.BadEntry(",
             "    if (run == 0) run = 1;\n"
             "    if (mapping.length != 0) {\n      return tree_.BadEntry(")],
           ["hostile_image"]),
    Mutant("qed-bad-l1-entry-used", TABLE_TREE_H,
           [("bad_.contains(index)) {\n      return BadEntry",
             "bad_.contains(~index)) {\n      return BadEntry")],
           ["hostile_image"]),
    Mutant("qed-file-grows-over-damage", QED,
           [("state = TableStates::State::kDamaged;",
             "state = TableStates::State::kSound;")],
           ["hostile_image"]),
    Mutant("qed-place-past-the-end", GEOMETRY,
           [("length <= file_end - host_offset", "length <= file_end")],
           ["format", "hostile_image"]),
    Mutant("qed-place-on-l1", GEOMETRY,
           [("!Overlaps(host_offset, length, shape_.l1.offset, shape_.l1.length)",
             "!Overlaps(host_offset, length, shape_.l1.offset, 0)")],
           ["format", "hostile_image"]),
    Mutant("qed-place-in-header", GEOMETRY,
           [("host_offset >= shape_.header_bytes",
             "host_offset >= 0 * shape_.header_bytes")],
           ["format", "hostile_image"]),
    Mutant("qed-place-not-aligned", GEOMETRY,
           [("IsAligned(host_offset, cluster_size())",
             "IsAligned(host_offset, cluster_size() / 2)")],
           ["format", "hostile_image"]),
]

REPAIR_MUTANTS = [
    Mutant("open-writes-to-damage", QED_DRIVER,
           [("    if (found.corruptions != 0) {", "    if (false) {")],
           ["image", "hostile_image"]),
    Mutant("open-keeps-need-check", QED_DRIVER,
           [("    RETURN_IF_ERROR(Check(file, header, Repair::kLeaks, "
             "found));\n", "")],
           ["image", "hostile_image"]),
    Mutant("leak-repair-cuts-too-much", QED_CHECK,
           [("RETURN_IF_ERROR(file_.Truncate(keep));",
             "RETURN_IF_ERROR(file_.Truncate(keep - cluster_size));")],
           ["hostile_image", "interop"]),
    Mutant("leak-repair-forgets-tables", QED_CHECK,
           [("std::max(table_clusters_.end(), data_clusters_.end())",
             "data_clusters_.end()")],
           ["hostile_image", "interop"]),
    Mutant("leak-repair-beside-damage", QED_CHECK,
           [("if (result_.corruptions != 0 || result_.check_errors != 0) {\n"
             "    return absl::OkStatus();",
             "if (result_.check_errors != 0) {\n"
             "    return absl::OkStatus();")],
           ["repair"]),
    Mutant("need-check-stays", QED_CHECK,
           [("  return ClearNeedCheck();", "  return absl::OkStatus();")],
           ["hostile_image", "interop"]),
    Mutant("need-check-cleared-first", QED_CHECK,
           [("  if (repair_ == Repair::kNone) return absl::OkStatus();\n",
             "  if (repair_ == Repair::kNone) return absl::OkStatus();\n"
             "  RETURN_IF_ERROR(ClearNeedCheck());\n")],
           ["repair"]),
    Mutant("shared-cluster-left", QED_CHECK,
           [("  if (shared_clusters_ == 0) return", "  return")],
           ["hostile_image", "repair"]),
    Mutant("overlapping-table-left", "src/format/table_overlap.h",
           [("table.offset - kept.back().offset < table_bytes",
             "table.offset == kept.back().offset")],
           ["hostile_image", "repair"]),
    Mutant("short-read-of-metadata-is-the-end", "src/io/read_to_end.cc",
           [("if (offset + length >= stat.size) return length;",
             "if (stat.size != 0) return length;")],
           ["io", "fault"]),
    Mutant("copied-cluster-not-synced", QED_CHECK,
           [("  if (copies.empty()) return absl::OkStatus();\n"
             "  RETURN_IF_ERROR(file_.Sync());",
             "  if (copies.empty()) return absl::OkStatus();")],
           ["crash"]),
]

ADDCOW_MUTANTS = [
    Mutant("addcow-bit-order", BITMAP,
           [("return ones << (begin % kWordBits);",
             "return ones << (kWordBits - bits - begin % kWordBits);")],
           ["format"]),
    Mutant("addcow-mask-one-more", BITMAP,
           [("std::min(first + count, (word + 1) * kWordBits)",
             "std::min(first + count + 1, (word + 1) * kWordBits)")],
           ["format"]),
    Mutant("addcow-run-one-more", BITMAP,
           [("return std::min(run, limit);",
             "return std::min(run + 1, limit);")],
           ["format"]),
    Mutant("addcow-grow-keeps-stale-bits", ADDCOW,
           [("(old & ~MaskIn(word, first, end - first)) |", "old |")],
           ["image"]),
    Mutant("addcow-grow-shows-backing", ADDCOW,
           [("below > first ? below - first : 0;",
             "below > first ? below - first - 1 : 0;")],
           ["model"]),
    Mutant("addcow-bitmap-not-synced", ADDCOW,
           [("    RETURN_IF_ERROR(syncer.Sync(file_));\n"
             "    file_synced_ = true;\n", "    file_synced_ = true;\n")],
           ["image"]),
    Mutant("all-allocated-not-synced", ADDCOW,
           [("  RETURN_IF_ERROR(syncer.Sync(file_));\n"
             "  all_allocated_.store", "  all_allocated_.store")],
           ["image"]),
    Mutant("all-allocated-before-its-data", ADDCOW,
           [(" ||\n      pages_.HasDirty()) {", ") {")],
           ["image"]),
    Mutant("all-allocated-too-early", ADDCOW,
           [("mapping->kind != Mapping::Kind::kData) return false;",
             "mapping->length == 0) return false;")],
           ["image"]),
    Mutant("handed-out-file-not-synced", OVERLAY,
           [(" || handed_out_.load() ||", " ||")],
           ["image"]),
    Mutant("addcow-size-not-synced", ADDCOW,
           [("  RETURN_IF_ERROR(syncer.Sync(image_file_));\n", "")],
           ["image", "crash"]),
    Mutant("addcow-no-space-for-bitmap", ADDCOW,
           [("  RETURN_IF_ERROR(pages_.EnsureSpace(WordOf(first), "
             "WordCount(first, count)));\n", "")],
           ["image", "fault"]),
]

OTHER_MUTANTS = [
    Mutant("grow-without-round", OVERLAY,
           [("chain_.backing_size(), syncer_));\n"
             "  RETURN_IF_ERROR(RunRounds());\n",
             "chain_.backing_size(), syncer_));\n")],
           ["image", "crash"]),
    Mutant("grow-shows-old-tail", OVERLAY,
           [("  RETURN_IF_ERROR(ZeroPastOldEnd());\n", "")],
           ["model"]),
    Mutant("grow-shows-backing-in-last-cluster", OVERLAY,
           [("if (chain_.backing_size() <= size) return",
             "if (chain_.backing_size() <= size + layer.cluster_size()) "
             "return")],
           ["model"]),
    Mutant("remembered-extent-of-the-wrong-unit",
           "src/image/backing_layer.cc",
           [("EncodeUnit(segment, unit * unit_ - at)",
             "EncodeUnit(segment, unit * unit_)")],
           ["image"]),
    Mutant("unit-in-two-segments-remembered", "src/image/backing_layer.cc",
           [("(unit + 1) * unit_ <= end", "unit * unit_ < end")],
           ["image"]),
    Mutant("shared-although-replaced", CHAIN,
           [("return now.ok() && IsUnchanged(stat, *now);",
             "return now.ok() || stat.size > 0;")],
           ["image"]),
    Mutant("shared-files-not-in-cycle-check", CHAIN,
           [("return RememberAll(chain.below->Layers(), place);",
             "return absl::OkStatus();")],
           ["image"]),
    Mutant("cache-read-ignores-version", "src/io/metadata_cache.h",
           [("    if (frame.version.load(std::memory_order_relaxed) "
             "!= version) continue;\n", "")],
           ["cache", "concurrency"]),
    Mutant("cache-read-ignores-generation", CACHE,
           [("      if (set.generation.load(std::memory_order_relaxed) "
             "!= generation) {\n        continue;\n      }\n", "")],
           ["cache", "order"]),
    Mutant("cache-modify-ignores-generation", CACHE,
           [("if (!found && have_content &&\n"
             "          set.generation.load(std::memory_order_relaxed) "
             "== generation) {",
             "if (!found && have_content) {")],
           ["cache", "order"]),
    Mutant("cache-evicts-page-being-written", CACHE,
           [("if (frame.state.pinned()) continue;",
             "if (frame.state.dirty) continue;")],
           ["cache"]),
    Mutant("cache-forgets-page-changed-in-round", CACHE,
           [("    if (found.state->dirty) continue;\n",
             "    found.state->dirty = false;\n")],
           ["cache", "image"]),
    Mutant("cycle-not-seen", "src/image/seen_files.cc",
           [("if (seen.id != id) continue;",
             "if (seen.id != id || part == seen.part) continue;")],
           ["hostile_image"]),
    Mutant("backing-not-locked", CHAIN,
           [("plain || place->written ? role_ : LockRole::kBacking;",
             "plain || place->written ? role_ : LockRole::kNone;")],
           ["image", "interop"]),
    Mutant("writer-locks-like-a-reader", CHAIN,
           [("return options.access == Access::kReadWrite ? "
             "LockRole::kImageReadWrite",
             "return false ? LockRole::kImageReadWrite")],
           ["image", "interop"]),
]

VERB_MUTANTS = [
    Mutant("name-in-header-before-it-is-written", "src/format/qed/driver.cc",
           [("      header.features |= kFeatureBackingFormatNoProbe;\n"
             "    }\n    RETURN_IF_ERROR(file.Sync());\n",
             "      header.features |= kFeatureBackingFormatNoProbe;\n"
             "    }\n")],
           ["crash"]),
    Mutant("new-name-over-the-old", "src/format/addcow/driver.cc",
           [("  room.Take({header.backing_name_offset, "
             "header.backing_name_size});\n", "")],
           ["crash"]),
    Mutant("flat-before-all-is-allocated", "src/format/addcow/driver.cc",
           [("if (found.allocated_clusters != found.total_clusters) {",
             "if (found.allocated_clusters > found.total_clusters) {")],
           ["ops"]),
    Mutant("link-dropped-before-flush", "src/ops/flatten.cc",
           [("  RETURN_IF_ERROR(image->Flush());\n", "")],
           ["crash"]),
    Mutant("rebase-recorded-before-flush", "src/ops/rebase.cc",
           [("  RETURN_IF_ERROR(image_->Flush());\n", "")],
           ["crash"]),
    Mutant("emptied-before-base-is-durable", "src/ops/commit.cc",
           [("  RETURN_IF_ERROR(base_->Flush());\n", "")],
           ["crash"]),
    Mutant("bits-dropped-after-space", "src/format/addcow/driver.cc",
           [("  RETURN_IF_ERROR(file.Truncate(header.header_size));\n",
             "  RETURN_IF_ERROR(data_file->Zero({0, stat.size}));\n"
             "  RETURN_IF_ERROR(file.Truncate(header.header_size));\n")],
           ["crash"]),
    Mutant("shrink-keeps-tables", QED,
           [("    RETURN_IF_ERROR(tree_.Drop(geometry_.L1Index(rest.offset))"
             ".status());\n",
             "")],
           ["ops"]),
    Mutant("copied-zeroes-left-as-they-are", "src/image/overlay_populate.cc",
           [("if (!reservation.reads_zero) "
             "RETURN_IF_ERROR(file.Zero(host));", "")],
           ["ops"]),
    Mutant("populate-without-a-lock", "src/image/overlay_populate.cc",
           [("    ShardedRangeLock::Hold hold(ranges_, ClustersOf(run));\n",
             "")],
           ["ops"]),
    Mutant("sure-to-be-the-same", "src/ops/segment_cursor.cc",
           [("a.file->path() == b.file->path() && "
             "a.host_offset == b.host_offset",
             "a.host_offset == b.host_offset")],
           ["ops"]),
]

QCOW2_MUTANTS = [
    Mutant("qcow2-l1-with-the-tables", QCOW2_WRITE,
           [("  RETURN_IF_ERROR(syncer.Sync(file_));\n"
             "  file_synced_ = true;\n",
             "  file_synced_ = true;\n")],
           ["crash"]),
    Mutant("qcow2-first-round-without-sync", QCOW2_WRITE,
           [("if (!pages_.HasCopies() && file_synced_)",
             "if (!pages_.HasCopies())")],
           ["crash"]),
    Mutant("qcow2-header-before-what-it-names", QCOW2_BUILD,
           [("  RETURN_IF_ERROR(syncer.Sync(file_));\n  return header_;",
             "  return header_;")],
           ["crash"]),
    Mutant("qcow2-table-not-counted", QCOW2_SPACE,
           [("  RETURN_IF_ERROR(SetCount(offset, 1));\n", "")],
           ["crash"]),
    Mutant("qcow2-entry-without-copied", QCOW2_WRITE,
           [("if (!entry.is_bitmap) return entry.guest_offset | kEntryCopied;",
             "if (!entry.is_bitmap) return entry.guest_offset;")],
           ["model"]),
    Mutant("qcow2-size-before-zeroes", QCOW2_WRITE,
           [("    if (stat.size < new_size) "
             "RETURN_IF_ERROR(data_file_.Truncate(new_size));\n"
             "    RETURN_IF_ERROR(syncer.Sync(data_file_));\n",
             "    if (stat.size < new_size) "
             "RETURN_IF_ERROR(data_file_.Truncate(new_size));\n")],
           ["crash"]),
    Mutant("qcow2-count-dropped-before-entry", QCOW2_WRITE,
           [("  dropped_.push_back(table);\n  return absl::OkStatus();",
             "  return space_->Free(table);")],
           ["crash"]),
    Mutant("qcow2-dirty-bit-stays", QCOW2_WRITABLE,
           [("  next.incompatible &= ~kIncompatibleDirty;\n", "")],
           ["hostile_image"]),
    Mutant("qcow2-refcounts-unseen", QCOW2_WRITABLE,
           [("    ASSIGN_OR_RETURN(sound, AreInUse(file, header, map, "
             "stat.size));\n", "")],
           ["hostile_image"]),
    Mutant("qcow2-cluster-of-another", QCOW2,
           [("? offset == cluster",
             "? IsAligned(offset, header_.cluster_size())")],
           ["hostile_image"]),
    Mutant("qcow2-past-the-data-file", QCOW2,
           [("if (unit.host_offset >= data_end) {", "if (false) {")],
           ["hostile_image"]),
    Mutant("qcow2-name-over-the-old", QCOW2_RECORD,
           [("    room.Take({header.backing_name_offset, "
             "header.backing_name_size});\n", "")],
           ["crash"]),
    Mutant("qcow2-header-before-name", QCOW2_RECORD,
           [("    RETURN_IF_ERROR(file.Sync());\n"
             "    // What of the name",
             "    // What of the name")],
           ["crash"]),
]

MUTANTS = (FLUSH_MUTANTS + WRITE_MUTANTS + QED_MUTANTS + REPAIR_MUTANTS +
           ADDCOW_MUTANTS + QCOW2_MUTANTS + OTHER_MUTANTS + VERB_MUTANTS)
