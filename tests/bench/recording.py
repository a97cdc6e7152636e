"""What recordings say of themselves, and how many bytes of them are what."""
import ctypes
import sys
from collections import Counter

from targets import REPO

sys.path.insert(0, str(REPO / "tests" / "integration"))
import pyprof_reader as reader  # noqa: E402

STATE, HOW = 4, 5   # columns that are no part of time and stack
ROWS = 7
ZSTD_LEVEL = 3      # the writer's


class Totals(reader.Stream):
    """A stream whose rows and definitions are not looked at."""

    def rows(self, c, unit):
        pass

    def define(self, kind, c):
        pass


def statistics(path):
    """The totals at the end of a recording, or None. What is not in there is 0."""
    chunks = path.read_bytes().rsplit(reader.CHUNK, 3)
    for chunk in reversed(chunks[1:]):
        head = reader.HEADER.unpack_from(reader.CHUNK + chunk)
        codec, size, raw, packed, number = head[2:7]
        payload = (reader.CHUNK + chunk)[size:size + packed]
        if len(payload) != packed:
            continue
        stream = Totals(number)
        stream.records(reader.unpack_zstd(payload, raw) if codec == 1 else payload, head[11])
        if stream.summary:
            return Counter(stream.statistics)
    return None


def _packed_size(data):
    out = ctypes.create_string_buffer(len(data) + len(data) // 128 + 1024)
    reader.ZSTD.ZSTD_compress.restype = ctypes.c_size_t
    n = reader.ZSTD.ZSTD_compress(out, ctypes.c_size_t(len(out)), data, ctypes.c_size_t(len(data)),
                                  ZSTD_LEVEL)
    return min(n, len(data))


def _without(payload, columns):
    """A chunk's payload without some columns of its samples."""
    c, kept = reader.Cursor(payload), bytearray()
    while c.at < c.end:
        begin = c.at
        kind, size = c.varint(), c.varint()
        record = c.take(size)
        if kind != ROWS:
            kept += payload[begin:c.at]
            continue
        r = reader.Cursor(record)
        n = r.varint()
        described = [(r.varint(), r.varint(), r.varint()) for _ in range(r.varint())]
        kept += n.to_bytes(2, "little")
        for number, _, length in described:
            data = r.take(length)
            if number not in columns:
                kept += bytes(3) + data
    return bytes(kept)


def added_by_states(path):
    """Bytes of a recording that are there for states and the way of obtaining only: what its chunks
    lose when they are packed again without these columns."""
    data, at, whole, less = path.read_bytes(), 0, 0, 0
    while (at := data.find(reader.CHUNK, at)) >= 0:
        head = reader.HEADER.unpack_from(data, at)
        codec, size, raw, packed = head[2:6]
        payload = data[at + size:at + size + packed]
        if codec == 1:
            payload = reader.unpack_zstd(payload, raw)
        whole += _packed_size(payload)
        less += _packed_size(_without(payload, {STATE, HOW}))
        at += size + packed
    return whole - less
