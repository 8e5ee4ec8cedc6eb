"""Large files in pieces, with the checksum of what was written or read.

Whatever the system refuses is an OSError.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from tfbert.io.paths import AnyPath, as_path, is_remote

_CHUNK = 4 << 20  # bytes: large enough to be fast, small enough to let other threads in


class Digest(NamedTuple):
    """What a file holds: `size` in bytes and CRC-32, which finds damage and not forgery."""

    size: int
    crc32: int


def write_file(path: AnyPath, parts: Iterable[bytes | np.ndarray]) -> Digest:
    """Writes a file in pieces, so that no copy of the whole is made.

    Args:
        path: Where to; what is there is replaced.
        parts: Bytes, or arrays of any dtype.
    """
    size = crc32 = 0
    with as_path(path).open("wb") as file:
        for part in parts:
            array = np.frombuffer(part, np.uint8) if isinstance(part, bytes) else part
            flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)  # mostly without a copy
            for begin in range(0, flat.size, _CHUNK):
                chunk = flat[begin : begin + _CHUNK].data
                crc32 = zlib.crc32(chunk, crc32)
                file.write(chunk)
            size += flat.size
        if not is_remote(path):
            file.flush()
            os.fsync(file.fileno())
    return Digest(size, crc32)


def read_file(path: AnyPath) -> tuple[np.ndarray, Digest]:
    """Reads a file: (size,) uint8 array, which can be written to, and its `Digest`."""
    crc32, position = 0, 0
    with as_path(path).open("rb") as file:
        # Of the file that is open: another one may have taken its place.
        content = np.empty(file.seek(0, os.SEEK_END), np.uint8)
        file.seek(0)
        while position < content.size:
            count = file.readinto(content.data[position : position + _CHUNK])
            if not count:
                raise OSError(f"{path}: ends after {position} of {content.size} bytes")
            crc32 = zlib.crc32(content.data[position : position + count], crc32)
            position += count
    return content, Digest(content.size, crc32)
