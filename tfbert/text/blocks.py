"""A stream of documents cut into the texts of shards; duplicates dropped, some documents held out.

What a shard holds depends on the text and the options only, not on the processes or the time.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

from tfbert.text.corpus import Part

_MEGABYTE = 1_000_000
_MOST_OVERRUN = 8  # times the size of a shard, where it has one document and waits for a second
_CACHE_KILOBYTES = 64 * 1024
_DIGEST_BYTES = 16


class Block(NamedTuple):
    """The text of one shard.

    Args:
        split: `train` or `validation`.
        number: Which of that split's shards.
        parts: Its text; empty once it is written.
        key: Digest of all that the shard is made of, except for the options.
        read_bytes: Bytes of input that were read for it, with duplicates.
    """

    split: str
    number: int
    parts: list[Part]
    key: str
    read_bytes: int


def make_blocks(
    documents: Iterable[Part],
    seen: SeenDigests,
    shard_mb: float,
    validation_fraction: float,
    keep_duplicates: bool,
    counts: dict[str, int],
) -> Iterator[Block]:
    """Sorts documents into shards, in the order of the text.

    Args:
        documents: From `read_documents`.
        seen: Where the digests of the texts are remembered.
        shard_mb: Megabytes of text a shard.
        validation_fraction: Share of the documents held out; a document's digest decides.
        keep_duplicates: Keep documents whose text was seen before.
        counts: Dictionary to which this adds `bytes` and `documents` of the input, `duplicates`,
            and `train` and `validation`, the documents in each.
    """
    counts |= {"bytes": 0, "documents": 0, "duplicates": 0, "train": 0, "validation": 0}
    gathering = {
        split: _Gathering(split, shard_mb * _MEGABYTE) for split in ("train", "validation")
    }
    last, split, kept = -1, "train", -1
    for part in documents:
        text = part.text.strip()
        encoded = text.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).digest()
        if part.document != last:
            last = part.document
            counts["documents"] += 1
            # All parts of a document go where its first part goes.
            share = int.from_bytes(digest[:8], "little") / 2**64
            split = "validation" if share < validation_fraction else "train"
        counts["bytes"] += len(encoded)
        target = gathering[split]
        target.read_bytes += len(encoded)
        if not seen.add(digest) and not keep_duplicates:
            counts["duplicates"] += 1
            continue
        if part.document != kept:
            kept = part.document
            counts[split] += 1
        target.parts.append(Part(part.document, text))
        target.digests.append(digest)
        target.size += len(encoded)
        if target.is_full() and (block := target.close()):
            yield block
    for target in gathering.values():
        yield from target.close_last()


class SeenDigests:
    """Remembers which texts were seen, on disk, in bounded memory.

    Args:
        path: The file; an existing one is replaced.
    """

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        # After a crash the file is made again, so nothing in it has to be safe.
        self._database = sqlite3.connect(path, isolation_level=None)
        for line in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            f"PRAGMA cache_size = -{_CACHE_KILOBYTES}",
            "CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID",
            "BEGIN",
        ):
            self._database.execute(line)

    def add(self, digest: bytes) -> bool:
        """Remembers a digest, and returns whether it is new."""
        insert = "INSERT OR IGNORE INTO seen VALUES (?)"
        return self._database.execute(insert, (digest,)).rowcount == 1

    def close(self) -> None:
        self._database.close()


_Content: TypeAlias = tuple[list[Part], list[bytes], int]


class _Gathering:
    """The shard of one split that is being filled, and the last full one."""

    def __init__(self, split: str, limit: float) -> None:
        self.split = split
        self.limit = limit
        self.number = 0
        self.held: _Content | None = None
        self.start()

    def start(self) -> None:
        self.parts: list[Part] = []
        self.digests: list[bytes] = []
        self.size = self.read_bytes = 0

    def is_full(self) -> bool:
        full = self.size >= self.limit
        return full and (not self.is_one_document() or self.size >= _MOST_OVERRUN * self.limit)

    def is_one_document(self) -> bool:
        return bool(self.parts) and self.parts[0].document == self.parts[-1].document

    def close(self) -> Block | None:
        """Holds the shard back and returns the one held before, if any."""
        ready, self.held = self.held, (self.parts, self.digests, self.read_bytes)
        self.start()
        return self._finish(ready)

    def close_last(self) -> list[Block]:
        """Returns the last one or two shards."""
        if self.held and (self.is_one_document() or self.size < self.limit / 2):
            # A small rest goes to the shard before it: no tiny shard, and none of one document.
            parts, digests, read_bytes = self.held
            self.parts = parts + self.parts
            self.digests = digests + self.digests
            self.read_bytes += read_bytes
            self.held = None
        return [block for block in (self.close(), self.close()) if block]

    def _finish(self, content: _Content | None) -> Block | None:
        if content is None or not content[0]:
            return None
        parts, digests, read_bytes = content
        key = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        for part, digest in zip(parts, digests, strict=True):
            key.update(digest + (part.document - parts[0].document).to_bytes(8, "little"))
        block = Block(self.split, self.number, parts, key.hexdigest(), read_bytes)
        self.number += 1
        return block
