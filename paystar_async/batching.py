"""What a batch is made of: groups of transfers on the way out, what became of each on the way back."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

from paystar_async.errors import InvalidValue, PaystarError, StorageError
from paystar_async.models.base import item_of
from paystar_async.models.transfers import Settlement, Transfer, TransferStatus
from paystar_async.outcomes import Failed, Outcome, Succeeded, Unknown
from paystar_async.polling import outcome_of
from paystar_async.turns import turn
from paystar_async.values.kind import shown

SLICE = 50
"""Transfers read in one turn of the loop: a few tenths of a millisecond."""

_SUCCESS = TransferStatus.SUCCESS

Check = Callable[[Transfer], None]
"""Refuses a transfer by InvalidValue before it is sent."""
Source = Iterable[Transfer] | AsyncIterable[Transfer]


class Groups:
    """The transfers of a source in groups, each track_id once; read no further than it is asked to.

    Args:
        source: any iterable or async iterable; mappings are taken as ``settle`` takes them.
        size: transfers in a group, 1 or more.
        check: refuses a transfer, which is then told alone: the others of its group are sound.

    Attributes:
        failure: what ended the source before its end.
        more: whether there may be another group.

    Raises:
        InvalidValue: ``size`` is below 1, or the source is no iterable of transfers.
    """

    def __init__(self, source: Source, size: int, check: Check | None) -> None:
        from paystar_async.seen_track_ids import SeenTrackIds  # loads sqlite3, which only batches need

        _refuse(source, size)
        self._later: AsyncIterator[Transfer] | None = aiter(source) if isinstance(source, AsyncIterable) else None
        self._now: Iterator[Transfer] = iter(()) if isinstance(source, AsyncIterable) else iter(source)
        self._size, self._check, self._seen = size, check, SeenTrackIds()
        self._read = 0
        self.failure: Exception | None = None
        self.more = True

    async def next(self) -> tuple[list[Transfer], list[Outcome]]:
        """The next group, and what is said of those that must not be sent."""
        group: list[Transfer] = []
        refused: list[Outcome] = []
        while self.more and len(group) < self._size:
            await turn()  # a source that never waits must not hold the loop, nor be read while answers are waiting
            piece = await self._piece(min(SLICE, self._size - len(group)))
            try:
                for one in piece:
                    self._admit(item_of(Transfer, one, "transfers", self._read), group, refused)
            except (InvalidValue, StorageError) as error:
                self.failure, self.more = error, False
        if self.failure is not None:
            why = "not sent: the source of transfers failed"
            return [], refused + [Failed(track_id=one.track_id, reason=why) for one in group]
        return group, refused

    def close(self) -> None:
        """Forget the track_ids; the source belongs to the caller."""
        self._seen.close()

    async def _piece(self, most: int) -> list[Transfer]:
        piece: list[Transfer] = []
        try:
            if self._later is None:
                piece.extend(islice(self._now, most))  # what came before an error stays in it
                self.more = len(piece) == most
            while self._later is not None and len(piece) < most:
                piece.append(await anext(self._later))
        except StopAsyncIteration:
            self.more = False
        except Exception as error:
            self.failure, self.more = error, False
        return piece

    def _admit(self, one: Transfer, group: list[Transfer], refused: list[Outcome]) -> None:
        self._read += 1
        if self._seen.add(one.track_id, self._read) is not None:
            # Unknown, not failed: the first one of this track_id may well have succeeded.
            refused.append(Unknown(track_id=one.track_id, reason="a repeated track_id: this copy was not sent"))
            return
        try:
            if self._check is not None:
                self._check(one)
        except InvalidValue as error:
            refused.append(without_answer(one.track_id, error))
        else:
            group.append(one)


def _refuse(source: object, size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InvalidValue("chunk", expected="a whole number, 1 or more", got=shown(size))
    got = f"a {type(source).__name__}"
    if isinstance(source, str | bytes | Mapping) or not isinstance(source, Iterable | AsyncIterable):
        raise InvalidValue("transfers", expected="an iterable of Transfer", got=got, hint="wrap a single one in a list")


def without_answer(track_id: str, error: PaystarError) -> Outcome:
    """What is known of a transfer whose call ended with an error."""
    if error.executed == "maybe":
        return Unknown(track_id=track_id, reason=str(error.args[0]), error=error)
    return Failed(track_id=track_id, reason=str(error.args[0]), error=error)


def matched(group: Sequence[Transfer], entries: Sequence[Settlement]) -> list[Outcome]:
    """What an answer says of each transfer of a call."""
    once: dict[str | None, Settlement] = {entry.track_id: entry for entry in entries}
    if len(once) == len(entries):
        return [_said_once(one.track_id, once.get(one.track_id)) for one in group]
    answered: dict[str | None, list[Settlement]] = {}
    for entry in entries:
        answered.setdefault(entry.track_id, []).append(entry)
    return [
        outcome_of(one.track_id, answered[one.track_id]) if one.track_id in answered else _said_once(one.track_id, None)
        for one in group
    ]


def _said_once(track_id: str, entry: Settlement | None) -> Outcome:
    if entry is None:
        return Unknown(track_id=track_id, reason="the answer does not mention it")
    # The usual one is told at once: a list around each of a million would be a third of what the collector walks.
    if entry.status == _SUCCESS:
        return Succeeded(track_id=track_id, ref_code=entry.ref_code)
    return outcome_of(track_id, (entry,))
