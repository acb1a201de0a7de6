"""Insert a batch: stage its transfers in pieces, then move all of them in one transaction."""

import secrets
from collections.abc import AsyncIterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field, frozen

from paystar_async.errors import InvalidValue, StorageError, StorageUnavailable, TrackIdConflict
from paystar_async.payouts.channels import PayoutChannel
from paystar_async.payouts.classify import AnyTransfer
from paystar_async.payouts.ledger.insert_statements import (
    COUNT_STAGED,
    DELETE_ABANDONED,
    DELETE_STAGED,
    INSERT_ACCOUNT_HOLD,
    INSERT_BATCH,
    INSERT_BATCH_ITEMS,
    INSERT_CHUNKS,
    INSERT_DEPOSIT_HOLDS,
    INSERT_EVENTS,
    INSERT_TRANSFERS,
    SELECT_CONFLICTS,
    SELECT_PIECE_END,
    SELECT_STAGED_POSITION,
    SELECT_STAGED_POSITIONS,
    STAGE_TRANSFERS,
    STAGED_COLUMNS,
    UPDATE_POLICY,
)
from paystar_async.payouts.ledger.queries import SELECT_BATCH, batch_of, find_batch
from paystar_async.payouts.ledger.session import LedgerDatabase, LedgerTransaction, split
from paystar_async.payouts.models import BatchRecord, Policy
from paystar_async.storage.database import Parameters, Row, Value
from paystar_async.values.field_type import short_repr
from paystar_async.values.numbers import MAX_INT64

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.AsyncConnection[Any]

MAX_BUFFERED_TRANSFERS = 1000
"""Transfers in memory at once."""
MAX_STATEMENT_ROWS = 100
"""Rows in one statement."""
MAX_MOVED_ROWS = 20_000
"""Rows moved in one statement: servers cancel long statements."""
ABANDONED_SECONDS = 3600.0
"""Age of the last staged row after which an insert counts as abandoned."""


@frozen(kw_only=True)
class BatchFingerprint:
    """A fingerprint of the contents of a batch, in any order of its transfers.

    Attributes:
        count: the number of transfers.
        amount: the sum of the transfers, in Rial.
        digests: the sum of the transfers' digests, modulo 2**256.
    """

    count: int
    amount: int
    digests: int

    def text(self) -> str:
        """Return the fingerprint in hexadecimal digits."""
        return f"{self.digests:064x}"


def _sum_text(count: int, amount: int) -> str:
    return f"{count:,} transfer{'' if count == 1 else 's'} of {amount:,} Rial in all"


@define(eq=False)
class BatchWriter:
    """A writer of one batch.

    Args:
        ledger: the ledger.
        channel: the channel and account of the transfers.
        batch_id: the batch's id.
        policy: the policy by which the batch is paid.
        connection: the caller's own transaction, or None.
    """

    ledger: LedgerDatabase
    channel: PayoutChannel
    batch_id: str
    policy: Policy
    connection: "Connection | None"
    _plan: str = field(factory=lambda: secrets.token_hex(8), init=False)
    _rows: list[dict[str, Value]] = field(factory=lambda: list[dict[str, Value]](), init=False)
    _chunks: int = field(default=0, init=False)
    _open_chunks: dict[str, tuple[str, int]] = field(factory=lambda: dict[str, tuple[str, int]](), init=False)
    _staged: int = field(default=0, init=False)
    _first_difference: str | None = field(default=None, init=False)

    async def write(self, transfers: AsyncIterable[AnyTransfer], recorded: BatchRecord | None) -> BatchRecord:
        """Return the batch on record; insert it if ``recorded`` is None."""
        count, amount, digests = 0, 0, 0
        await self.ledger.open()
        try:
            async for value in transfers:
                digest = self._add(count, value)
                count, amount, digests = count + 1, amount + value.amount, (digests + digest) % 2**256
                if len(self._rows) == MAX_BUFFERED_TRANSFERS:
                    await self._flush_buffer(recorded)
            if count == 0:
                raise InvalidValue("transfers", expected="one transfer or more", got="none")
            if amount > MAX_INT64:
                raise InvalidValue("transfers", expected="a total within 64 bits", got="more")
            contents = BatchFingerprint(count=count, amount=amount, digests=digests)
            if recorded is not None:
                await self._flush_buffer(recorded)
                return await self._checked(recorded, contents)
            return await self._commit(contents)
        finally:
            if self._staged:
                await self._delete_staged()

    def _add(self, position: int, value: AnyTransfer) -> int:
        """Add a transfer to the buffer; return its digest."""
        try:
            deposit = self.channel.deposit(value)
        except InvalidValue as refusal:
            raise refusal.at(f"transfers[{position}]") from None
        encoded = self.ledger.codec.encode(self.channel.name, self.channel.account, value)
        self._rows.append(
            {
                "position": position,
                "track_id": value.track_id,
                "chunk_id": self._next_chunk(deposit),
                "amount": value.amount,
                "deposit": deposit,
                "destination": encoded.destination,
                "digest": encoded.digest,
                "payload": encoded.payload,
                "masked_payload": encoded.masked_payload,
            }
        )
        return int(encoded.digest, 16)

    def _next_chunk(self, deposit: str) -> str:
        """Return the chunk of the next transfer of a deposit account; a chunk has one deposit account."""
        chunk_id, size = self._open_chunks.get(deposit, ("", self.policy.chunk))
        if size == self.policy.chunk:
            chunk_id, size = self._chunk_id(self._chunks), 0
            self._chunks += 1
        self._open_chunks[deposit] = chunk_id, size + 1
        return chunk_id

    def _chunk_id(self, number: int) -> str:
        return f"{self._plan}.{number:07d}"

    async def _flush_buffer(self, recorded: BatchRecord | None) -> None:
        """Empty the buffer: compare it with the batch on record, or stage it."""
        if recorded is not None:
            await self._compare(recorded)
            return
        async with self.ledger.transaction(self.connection) as transaction:
            await self._stage(transaction)

    async def _stage(self, transaction: LedgerTransaction) -> None:
        for rows in split(self._rows, MAX_STATEMENT_ROWS):
            query, parameters = transaction.values(STAGED_COLUMNS, rows)
            count = await transaction.execute(STAGE_TRANSFERS.format(rows=query), {**parameters, "plan": self._plan})
            if count < len(rows):
                await self._raise_repeated(transaction, rows)
        self._staged += len(self._rows)
        self._rows.clear()

    async def _raise_repeated(self, transaction: LedgerTransaction, rows: Sequence[Mapping[str, Value]]) -> None:
        params: dict[str, Value] = {"plan": self._plan, "first": rows[0]["position"], "last": rows[-1]["position"]}
        staged = {row["position"] for row in await transaction.fetch(SELECT_STAGED_POSITIONS, params)}
        repeated = next(row for row in rows if row["position"] not in staged)
        first = await transaction.fetch(SELECT_STAGED_POSITION, {"plan": self._plan, "track_id": repeated["track_id"]})
        raise InvalidValue(
            f"transfers[{repeated['position']}].track_id",
            expected="a unique track_id",
            got=f"the one of transfers[{first[0]['position']}]",
            hint="the same transfer twice would pay twice",
        )

    async def _compare(self, recorded: BatchRecord) -> None:
        """Note the first transfer that differs from the batch on record in this position, for the error message."""
        if self._first_difference is None and self._rows:
            first, last = self._rows[0]["position"], self._rows[-1]["position"]
            items = await self.ledger.fetch(
                "SELECT position, track_id FROM paystar_payout_batch_items"
                " WHERE batch_id = :batch_id AND position BETWEEN :first AND :last",
                {"batch_id": recorded.batch_id, "first": first, "last": last},
            )
            track_ids = {row["position"]: row["track_id"] for row in items}
            different = (row for row in self._rows if track_ids.get(row["position"]) != row["track_id"])
            self._first_difference = next((str(row["track_id"]) for row in different), None)
        self._rows.clear()

    async def _checked(self, recorded: BatchRecord, contents: BatchFingerprint) -> BatchRecord:
        """Return the batch on record; raise InvalidValue if it is another batch."""
        rows = await self.ledger.fetch(SELECT_BATCH, {"batch_id": recorded.batch_id})
        self._check_same(recorded, contents, rows)
        return recorded

    def _check_same(self, recorded: BatchRecord, contents: BatchFingerprint, rows: Sequence[Row]) -> None:
        """Raise InvalidValue if the batch on record has other contents."""
        account = (self.channel.name, self.channel.account)
        if account != (recorded.product, recorded.account):
            difference = f"one of the {recorded.product} account {recorded.account}"
        elif rows and rows[0]["digest"] == contents.text() and recorded.count == contents.count:
            return
        else:
            difference = _sum_text(contents.count, contents.amount)
            difference += (
                f", the first that differs being {short_repr(self._first_difference)}"
                if self._first_difference
                else ", not the same ones"
            )
        raise InvalidValue(
            "batch_id",
            expected=f"{short_repr(recorded.batch_id)} as recorded, {_sum_text(recorded.count, recorded.amount)}",
            got=difference,
            hint="submit the same transfers again, or choose another batch_id; nothing was changed",
        )

    async def _commit(self, contents: BatchFingerprint) -> BatchRecord:
        """Move all rows in one transaction. If the commit has no known result, read whether it was stored."""
        rows, staged = list(self._rows), self._staged
        for is_last in (False, True):
            try:
                async with self.ledger.transaction(self.connection) as transaction:
                    await self._stage(transaction)
                    record = await self._move(transaction, contents)
            except StorageUnavailable:
                if is_last or self.connection is not None:
                    raise
                self._rows, self._staged = list(rows), staged
                if (recorded := await find_batch(self.ledger, self.batch_id)) is not None:
                    return await self._checked(recorded, contents)
            else:
                self._staged = 0
                if self.connection is None and contents.count >= MAX_BUFFERED_TRANSFERS:
                    await self.ledger.update_statistics(contents.count)
                return record
        raise AssertionError  # the second time returns or raises

    async def _move(self, transaction: LedgerTransaction, contents: BatchFingerprint) -> BatchRecord:
        identity = self.ledger.identity
        [staging] = await transaction.fetch(COUNT_STAGED.format(origin=identity.origin_sql), {"plan": self._plan})
        identity.check_origin(staging["origin"])
        if staging["count"] != contents.count:
            raise StorageError(
                "the insert took too long, and its first rows were deleted as abandoned", hint="submit it again"
            )
        params: dict[str, Value] = {
            "plan": self._plan,
            "batch_id": self.batch_id,
            "product": self.channel.name,
            "account": self.channel.account,
            "at": staging["at"],
            "runner": None if self._is_looked_up(staging["at"]) else identity.runner,
        }
        batch: dict[str, Value] = {
            "count": contents.count,
            "total": contents.amount,
            "content": contents.text(),
            "policy": self.policy.to_json(),
        }
        if not await transaction.execute(INSERT_BATCH, params | batch):
            return await self._inserted_elsewhere(transaction, contents)
        await transaction.execute(INSERT_ACCOUNT_HOLD, params)
        moved = await self._move_transfers(transaction, params)
        step = max(1, MAX_MOVED_ROWS // self.policy.chunk)
        for first in range(0, self._chunks, step):
            chunks = {"first_chunk": self._chunk_id(first), "end_chunk": self._chunk_id(first + step)}
            for sql in (INSERT_CHUNKS, INSERT_EVENTS):
                await transaction.execute(sql, params | chunks)
        if moved < contents.count:
            await self._raise_conflicts(transaction, params)
        await transaction.execute(DELETE_STAGED, {"plan": self._plan})
        rows = await transaction.fetch(SELECT_BATCH, {"batch_id": self.batch_id})
        return batch_of(rows[0])

    async def _move_transfers(self, transaction: LedgerTransaction, params: dict[str, Value]) -> int:
        """Move the staged transfers in pieces; return how many were not on record."""
        moved, after = 0, ""
        while True:
            end = await transaction.fetch(
                SELECT_PIECE_END, {"plan": self._plan, "after": after, "piece": MAX_MOVED_ROWS - 1}
            )
            last = end[0]["track_id"] if end else None
            piece = params | {"after": after, "last": last}
            moved += await transaction.execute(INSERT_TRANSFERS, piece)
            for sql in (INSERT_BATCH_ITEMS, INSERT_DEPOSIT_HOLDS):
                await transaction.execute(sql, piece)
            if last is None:
                return moved
            after = last

    def _is_looked_up(self, now: float) -> bool:
        """Return True if the batch is looked up at the bank before it is sent, also by the process that submits it."""
        return self.policy.look_before_send == "always" or self.ledger.identity.is_newly_restored(now)

    async def _inserted_elsewhere(self, transaction: LedgerTransaction, contents: BatchFingerprint) -> BatchRecord:
        """Return the batch that another process has inserted."""
        await transaction.execute(DELETE_STAGED, {"plan": self._plan})
        rows = await transaction.fetch(SELECT_BATCH, {"batch_id": self.batch_id})
        recorded = batch_of(rows[0])
        self._check_same(recorded, contents, rows)
        return recorded

    async def _raise_conflicts(self, transaction: LedgerTransaction, params: Parameters) -> None:
        rows = await transaction.fetch(SELECT_CONFLICTS, params)
        if rows:
            names = ", ".join(short_repr(row["track_id"]) for row in rows)
            raise TrackIdConflict(f"track_id on record with other contents: {names}; nothing of the batch was recorded")

    async def _delete_staged(self) -> None:
        """Delete the staged rows; ``delete_abandoned`` deletes what an error leaves."""
        with suppress(StorageError):
            async with self.ledger.transaction(self.connection) as transaction:
                await transaction.execute(DELETE_STAGED, {"plan": self._plan})


async def insert_batch(
    ledger: LedgerDatabase,
    channel: PayoutChannel,
    batch_id: str,
    transfers: AsyncIterable[AnyTransfer],
    *,
    policy: Policy | None = None,
    connection: "Connection | None" = None,
) -> BatchRecord:
    """Put all of a batch on record, or nothing; send nothing.

    Args:
        ledger: the ledger.
        channel: the channel and account of the transfers.
        batch_id: the batch's id; the same id with the same contents returns the batch on record.
        transfers: the transfers; read once, a thousand at a time.
        policy: the policy by which the batch is paid; None: the policy on record, or the default.
        connection: a psycopg connection with an open transaction, of which the batch becomes a part.

    Returns:
        The batch on record.

    Raises:
        InvalidValue: a transfer belongs to another product, a track_id is repeated, or ``batch_id`` is on record with
            other contents.
        TrackIdConflict: a track_id is on record with other contents.
        StorageError: the ledger cannot be used.
    """
    recorded = await find_batch(ledger, batch_id) if connection is None else None
    writer = BatchWriter(ledger, channel, batch_id, policy or Policy(), connection)
    record = await writer.write(transfers, recorded)
    if policy is None or policy == record.policy:
        return record
    async with ledger.transaction(connection) as transaction:
        params: dict[str, Value] = {"policy": policy.to_json(), "batch_id": batch_id}
        await transaction.execute(UPDATE_POLICY, params)
    return evolve(record, policy=policy)


async def delete_abandoned(ledger: LedgerDatabase) -> int:
    """Delete staged rows of abandoned inserts; return how many."""
    async with ledger.transaction() as transaction:
        return await transaction.execute(DELETE_ABANDONED, {"abandoned": ABANDONED_SECONDS})
