"""TFRecord files of `tf.train.Example`s, written and checked with NumPy, a shard at a time.

Every feature of an example is one string of packed little-endian numbers, so all examples of a
shard have the same layout in bytes: a form that is filled in for all of them at once. A file is
what TensorFlow would write, and `tf.data.TFRecordDataset(..., "GZIP")` reads it.

References:
    https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details
    https://protobuf.dev/programming-guides/encoding/
"""

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfbert.io.paths import as_path

_HEADER = 12  # bytes before a record: its length (8) and the checksum of that (4)
_FOOTER = 4  # bytes after it: its checksum
_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_COMPRESSION_LEVEL = 1  # token ids hardly shrink any further; higher levels take most of the time


def _crc_table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ _POLYNOMIAL, table >> 1)
    return table


_CRC_TABLE = _crc_table()


def masked_crc32c(
    data: np.ndarray, offsets: np.ndarray | list[int], lengths: np.ndarray | list[int]
) -> np.ndarray:
    """Checksums of many pieces of `data`, as TFRecord files hold them.

    Args:
        data: (bytes,) uint8.
        offsets: (pieces,) where each one begins.
        lengths: (pieces,) how long each one is.

    Returns:
        (pieces,) uint32.
    """
    order = np.argsort(-np.asarray(lengths), kind="stable")
    offsets, lengths = np.asarray(offsets)[order], np.asarray(lengths)[order]
    crc = np.full(len(lengths), 0xFFFFFFFF, np.uint32)
    # One byte of every piece at a time; the longest come first, so that the others drop out.
    for i in range(int(lengths[0]) if len(lengths) else 0):
        active = len(lengths) if lengths[-1] > i else int(np.searchsorted(-lengths, -i))
        head = crc[:active]
        head[:] = _CRC_TABLE[(head ^ data[offsets[:active] + i]) & 0xFF] ^ (head >> 8)
    crc = ~crc
    masked = np.empty_like(crc)
    masked[order] = ((crc >> 15) | (crc << 17)) + np.uint32(0xA282EAD8)
    return masked


class Layout:
    """The bytes of an example with the given features.

    Args:
        features: By name (NumPy type, shape); () is one number.
    """

    def __init__(self, features: Mapping[str, Sequence]) -> None:
        self.features = {
            name: (np.dtype(kind).newbyteorder("<"), tuple(shape))
            for name, (kind, shape) in sorted(features.items())
        }
        self._places: dict[str, tuple[int, int]] = {}  # begin and size in bytes
        sizes = {
            name: kind.itemsize * int(np.prod(shape, dtype=np.int64))
            for name, (kind, shape) in self.features.items()
        }
        body = bytearray()
        for name, size in sizes.items():
            # Feature {bytes_list {value}} in an entry {key, value} of the map `Features.feature`.
            value = _field(1, _field(1, bytes(size)))
            entry = _field(1, _field(1, name.encode()) + _field(2, value))
            body += entry
            self._places[name] = (len(body) - size, size)
        prefix = _field(1, bytes(body))[: -len(body)]
        for name, (begin, size) in self._places.items():
            self._places[name] = (begin + len(prefix), size)
        self.example = np.frombuffer(prefix + bytes(body), np.uint8)
        self._fixed = np.ones(len(self.example), bool)
        for begin, size in self._places.values():
            self._fixed[begin : begin + size] = False

    def encode(self, arrays: Mapping[str, np.ndarray]) -> bytes:
        """Examples as a part of a TFRecord file; `arrays` has (examples, *shape) by feature."""
        count = len(next(iter(arrays.values())))
        size = len(self.example)
        records = np.zeros((count, _HEADER + size + _FOOTER), np.uint8)
        examples = records[:, _HEADER : _HEADER + size]
        examples[:] = self.example
        for name, (begin, width) in self._places.items():
            values = np.ascontiguousarray(arrays[name], self.features[name][0])
            examples[:, begin : begin + width] = values.reshape(count, -1).view(np.uint8)
        records[:, :8] = np.frombuffer(size.to_bytes(8, "little"), np.uint8)
        starts = np.arange(count) * records.shape[1]
        flat = records.reshape(-1)
        for begin, length in ((0, 8), (_HEADER, size)):
            crc = masked_crc32c(flat, starts + begin, np.full(count, length))
            records[:, begin + length : begin + length + 4] = crc.astype("<u4")[:, None].view(
                np.uint8
            )
        return records.tobytes()

    def decode(
        self, data: np.ndarray, offsets: np.ndarray, lengths: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The reverse of `encode`.

        Args:
            data: (bytes,) uint8.
            offsets: (examples,) where the examples begin.
            lengths: (examples,) their bytes.

        Returns:
            (arrays, good): dictionary of arrays (good examples, *shape), and (examples,) bool,
            False for those with another layout.
        """
        good = np.asarray(lengths) == len(self.example)
        examples = data[np.asarray(offsets)[good][:, None] + np.arange(len(self.example))]
        same = (examples[:, self._fixed] == self.example[self._fixed]).all(axis=1)
        good[good] = same
        examples = examples[same]
        arrays = {}
        for name, (kind, shape) in self.features.items():
            begin, size = self._places[name]
            values = np.ascontiguousarray(examples[:, begin : begin + size]).view(kind)
            arrays[name] = values.reshape(len(examples), *shape)
        return arrays, good


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def compress(content: bytes) -> bytes:
    """A gzip file; the same bytes yield the same file."""
    # `wbits=31` writes a gzip header without a name and without a time.
    return zlib.compress(content, _COMPRESSION_LEVEL, wbits=31)


class Frames(NamedTuple):
    """The records of a file.

    Args:
        data: (bytes,) uint8, the unpacked file.
        offsets: (records,) int64, where each record begins in it.
        lengths: (records,) int64.
        good: (records,) bool, whether the checksum is right.
        rest: What is wrong with the file after the last record, or None.
    """

    data: np.ndarray
    offsets: np.ndarray
    lengths: np.ndarray
    good: np.ndarray
    rest: str | None


def read_frames(path: str | Path, check: bool = True) -> Frames:
    """Reads a TFRecord file, compressed or not, as far as it can be read.

    Args:
        path: The file.
        check: Compare the records' checksums; the headers' are always compared.

    Raises:
        OSError: If the file cannot be opened.
    """
    packed = as_path(path).read_bytes()
    data, rest = _unpack(packed) if packed[:2] == b"\x1f\x8b" else (packed, None)
    begins: list[int] = []
    sizes: list[int] = []
    at = 0
    checksums: dict[bytes, bytes] = {}
    while at < len(data):
        header = data[at : at + 8]
        length = int.from_bytes(header, "little")
        if header not in checksums:
            crc = masked_crc32c(np.frombuffer(header, np.uint8), [0], [len(header)])
            checksums[header] = crc.astype("<u4").tobytes()
        if len(header) < 8 or checksums[header] != data[at + 8 : at + _HEADER]:
            rest = rest or f"no record begins at byte {at}"
            break
        if at + _HEADER + length + _FOOTER > len(data):
            rest = rest or f"the record at byte {at} is cut off"
            break
        begins.append(at + _HEADER)
        sizes.append(length)
        at += _HEADER + length + _FOOTER
    content = np.frombuffer(data, np.uint8)
    offsets, lengths = np.array(begins, np.int64), np.array(sizes, np.int64)
    good = np.ones(len(offsets), bool)
    if check and len(offsets):
        stored = content[(offsets + lengths)[:, None] + np.arange(4)].copy().view("<u4")[:, 0]
        good = stored == masked_crc32c(content, offsets, lengths)
    return Frames(content, offsets, lengths, good, rest)


def _unpack(packed: bytes) -> tuple[bytes, str | None]:
    """Unpacks gzip as far as it goes: (bytes, what is wrong or None)."""
    pieces = []
    while packed:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            # In pieces, so that what comes before a damaged place is not lost.
            for begin in range(0, len(packed), 1 << 16):
                pieces.append(unpacker.decompress(packed[begin : begin + (1 << 16)]))
                if unpacker.eof:
                    packed = unpacker.unused_data + packed[begin + (1 << 16) :]
                    break
            else:
                return b"".join(pieces), "the compressed file is cut off"
        except zlib.error as error:
            return b"".join(pieces), f"the compressed file is damaged ({error})"
    return b"".join(pieces), None
