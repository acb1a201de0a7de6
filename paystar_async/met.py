"""The track_ids of a batch that were met already, at six bytes each and what an array keeps free."""

import sys
from array import array
from bisect import bisect_left
from hashlib import blake2b


class Met:
    """Remembers texts by a number of 56 bits each, so that a million of them take some eight megabytes.

    No text is ever forgotten. Two different ones have the same number once in a hundred thousand batches of a million
    transfers; the second one then counts as met, and is not sent.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, tuple[array[int], array[int]]] = {}

    def add(self, text: str) -> bool:
        """Remember a text; whether it is new."""
        number = _number(text)
        high, low = number >> 24 & 0xFFFF_FFFF, number >> 8 & 0xFFFF
        bucket = self._buckets.get(number >> 56)
        if bucket is None:
            self._buckets[number >> 56] = array("I", (high,)), array("H", (low,))
            return True
        highs, lows = bucket
        place = bisect_left(highs, high)
        while place < len(highs) and highs[place] == high:
            if lows[place] == low:
                return False
            place += 1
        highs.insert(place, high)
        lows.insert(place, low)
        return True


def _number(text: str) -> int:
    # The interpreter's own hash is keyed anew in each process; small machines have a shorter one.
    if sys.hash_info.width >= 64:
        return hash(text) & (1 << 64) - 1
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
