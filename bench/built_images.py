# SPDX-License-Identifier: Apache-2.0
"""Images of any shape, their bytes written one by one as the formats say:
neither program that is measured had a part in them.

What a cluster holds says which cluster of which layer it is, so that what a
disk shows can be checked without another disk to compare it with.
"""

import array
import os
import random
import struct

from machine import MIB

NO_PROBE = 0x1 | 0x4  # QED: has a backing file, which is raw
STAMP = struct.Struct("<QQ")  # layer and cluster
POOL = 4 * MIB
POOL_STEP = 4096


class Content:
    """The data of one layer; no block of it is zero."""

    def __init__(self, layer, cluster_size):
        self.layer = layer
        self.size = cluster_size
        pool = random.Random(layer).randbytes(POOL)
        self.pool = memoryview(pool + pool[:cluster_size])

    def stamp(self, cluster):
        return STAMP.pack(self.layer, cluster)

    def buffers(self, cluster):
        at = cluster * POOL_STEP % POOL
        return [self.stamp(cluster), self.pool[at + STAMP.size:at + self.size]]


def mixed_clusters(count, seed):
    """Half of the clusters, in runs of 1 to 16."""
    generator = random.Random(seed)
    clusters, position = [], 0
    while position < count:
        run = generator.randint(1, 16)
        if generator.random() < 0.5:
            clusters.extend(range(position, min(position + run, count)))
        position += run
    return clusters


def spread_clusters(count, wanted):
    return [number * count // wanted for number in range(wanted)]


def write_raw(path, size, clusters, content):
    with open(path, "wb") as file:
        file.truncate(size)
        for cluster in clusters:
            os.pwritev(file.fileno(), content.buffers(cluster),
                       cluster * content.size)


def write_raw_runs(path, size, every, length, content):
    """`length` bytes of data in every so many."""
    step = content.size
    write_raw(path, size, [c for c in range(size // step)
                           if c * step % every < length], content)


class Qed:
    """Writes an image; `slots[i]` is the cluster of the disk that the i-th
    cluster behind the tables belongs to."""

    def __init__(self, size, cluster_size=64 << 10, table_size=4):
        self.size = size
        self.cluster_size = cluster_size
        self.table_size = table_size
        self.table_bytes = cluster_size * table_size
        self.entries = self.table_bytes // 8
        clusters = size // cluster_size
        self.tables = -(-clusters // self.entries)
        self.data_offset = cluster_size + (1 + self.tables) * self.table_bytes

    def header(self, backing):
        name = backing.encode()
        return struct.pack(
            "<4sIIIQQQQQII", b"QED\0", self.cluster_size, self.table_size, 1,
            NO_PROBE if name else 0, 0, 0, self.cluster_size, self.size,
            64 if name else 0, len(name)) + name

    def l2_entries(self, slots):
        entries = array.array("Q", bytes(8 * self.tables * self.entries))
        for slot, cluster in enumerate(slots):
            entries[cluster] = self.data_offset + slot * self.cluster_size
        return entries

    def write(self, path, slots, backing="", content=None):
        """Without `content` the clusters are holes of the file."""
        first_table = self.cluster_size + self.table_bytes
        l1 = array.array("Q", [first_table + table * self.table_bytes
                               for table in range(self.tables)])
        with open(path, "wb") as file:
            file.truncate(self.data_offset + len(slots) * self.cluster_size)
            os.pwrite(file.fileno(), self.header(backing), 0)
            os.pwrite(file.fileno(), l1.tobytes(), self.cluster_size)
            file.seek(first_table)
            file.write(self.l2_entries(slots))
            if content:
                for slot, cluster in enumerate(slots):
                    os.pwritev(file.fileno(), content.buffers(cluster),
                               self.data_offset + slot * self.cluster_size)


def write_add_cow(path, data_path, size, clusters, backing, content):
    """`backing` and the data file are in the folder of `path`."""
    cluster_size, header_size = content.size, max(content.size, 4096)
    names = backing.encode() + os.path.basename(data_path).encode()
    header = struct.pack(
        "<4sIIIIIQQI16s16s", b"ACOW", 76, len(backing), 76 + len(backing),
        len(os.path.basename(data_path)), cluster_size.bit_length() - 1, 0, 0,
        header_size, b"raw", b"raw")
    bits = bytearray(-(-size // cluster_size) // 8 + 1)
    for cluster in clusters:
        bits[cluster // 8] |= 1 << cluster % 8
    with open(path, "wb") as file:
        file.write(header + names)
        file.seek(header_size)
        file.write(bits)
        bitmap_size = -(-len(bits) // cluster_size) * cluster_size
        file.truncate(header_size + bitmap_size)
    write_raw(data_path, size, clusters, content)


def check_shown(path, size, layers):
    """Raises unless a raw file holds what a chain shows. `layers`: the top one
    first, (its content, its clusters)."""
    cluster_size = layers[0][0].size
    shown = {}
    for content, clusters in reversed(layers):
        for cluster in clusters:
            shown[cluster] = content
    hole = bytes(STAMP.size)
    with open(path, "rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size != size:
            raise RuntimeError(path + ": has another size")
        for cluster in range(size // cluster_size):
            content = shown.get(cluster)
            found = os.pread(file.fileno(), STAMP.size, cluster * cluster_size)
            if found != (content.stamp(cluster) if content else hole):
                raise RuntimeError("%s: cluster %d is not what was written" %
                                   (path, cluster))
