"""The track_ids of a batch that were met already: two bytes of each in memory, eight on the disk."""

import sys
from hashlib import blake2b
from struct import Struct
from tempfile import TemporaryFile
from typing import BinaryIO

BUCKETS = 8192
"""In memory, of the parts of numbers that say whether it is worth looking for the whole. So many, and they stay small
enough for the interpreter's own allocator, which wastes next to nothing on what grows by and by."""
DRAWERS = 512
"""On the disk, of whole numbers."""
WHOLE, PART = 8, 2
"""Bytes of a number, and of what is kept of it in memory."""
PIECE = 32 * WHOLE
"""Bytes that are written at once; until then they stay in memory."""
PAGE = 16 * PIECE
"""Bytes of a drawer that lie together."""

_pack = Struct("<q").pack


class Met:
    """Remembers texts by a number of 64 bits each, so that a million of them take three megabytes of memory.

    No text is ever forgotten. Two different ones have the same number once in thirty million batches of a million
    transfers; the second one then counts as met, and is not sent. From some ten thousand on, the numbers lie in a
    temporary file without a name, and nothing else of the texts; while there is no room for it, they stay in memory.
    """

    def __init__(self) -> None:
        self._parts = [b""] * BUCKETS
        self._latest = [bytearray() for _ in range(DRAWERS)]
        self._written = [0] * DRAWERS
        self._file: BinaryIO | None = None

    def add(self, text: str) -> bool:
        """Remember a text; whether it is new."""
        number = _number(text)
        whole, bucket, drawer = _pack(number), number % BUCKETS, number % DRAWERS
        part, parts = whole[-PART:], self._parts[bucket]
        # Halves of two neighbours may look like it: then it is not found among the whole numbers.
        if part in parts and self._holds(whole, drawer):
            return False
        self._parts[bucket] = parts + part
        latest = self._latest[drawer]
        latest += whole
        if len(latest) % PIECE == 0:
            self._write(drawer)
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()

    def _holds(self, whole: bytes, drawer: int) -> bool:
        """Whether it is among the whole numbers; so it is said, too, when they cannot be read."""
        if _is_among(whole, self._latest[drawer]):
            return True
        try:
            return any(_is_among(whole, self._page(drawer, at)) for at in range(0, self._written[drawer], PAGE))
        except OSError:
            return True

    def _page(self, drawer: int, start: int) -> bytes:
        size = min(PAGE, self._written[drawer] - start)
        page = self._at(drawer, start).read(size)
        if len(page) < size:
            raise OSError("the file has lost its end")
        return page

    def _write(self, drawer: int) -> None:
        latest = self._latest[drawer]
        try:
            while latest and self._at(drawer, self._written[drawer]).write(latest[:PIECE]) == PIECE:
                self._written[drawer] += PIECE
                del latest[:PIECE]
        except OSError:
            pass  # they stay in memory, and it is tried again when there are more

    def _at(self, drawer: int, place: int) -> BinaryIO:
        """The file, where a drawer has this place."""
        if self._file is None:
            self._file = TemporaryFile(buffering=0)  # noqa: SIM115 - closed with the batch
        page, within = divmod(place, PAGE)
        self._file.seek((page * DRAWERS + drawer) * PAGE + within)
        return self._file


def _is_among(whole: bytes, numbers: bytes | bytearray) -> bool:
    at = numbers.find(whole)
    while at > 0 and at % WHOLE:
        at = numbers.find(whole, at + 1)
    return at >= 0


def _number(text: str) -> int:
    # The interpreter's own hash is keyed anew in each process; small machines have a shorter one.
    if sys.hash_info.width >= 64:
        return hash(text)
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=WHOLE).digest()
    return int.from_bytes(digest, "big", signed=True)
