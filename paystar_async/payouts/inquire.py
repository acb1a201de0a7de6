"""Asking the bank about transfers that are pending or unknown."""

import secrets
from collections.abc import Sequence
from contextlib import suppress

from attrs import evolve

from paystar_async.clock import Clock
from paystar_async.models.transfers import Settlement
from paystar_async.payouts.claims import Claim, Later, Sight, claim_to_ask
from paystar_async.payouts.classify import Known, Verdict, classify
from paystar_async.payouts.decide import ABSENT, Decision, after_ask
from paystar_async.payouts.product import Product
from paystar_async.payouts.tables import Tables

SEVERAL = 3
"""From so many on, the bank's list is looked at first."""


class Inquirer:
    """Asks about the transfers of a chunk.

    Args:
        tables: where they are on record.
        clock: what time it is.
        timeout: seconds all the asking may take.
        lease: seconds a claim to ask lasts.
    """

    def __init__(self, tables: Tables, clock: Clock, timeout: float, lease: float) -> None:
        self._tables, self._clock, self._timeout, self._lease = tables, clock, timeout, lease

    async def ask(self, sight: Sight, product: Product) -> tuple[Claim, Decision] | Later:
        """Claim the asking, ask, and say what follows; nothing is recorded yet but the claim."""
        held = await claim_to_ask(self._tables, sight, secrets.token_hex(8), self._lease)
        if isinstance(held, Later):
            return held
        known, refused = await self._look(held, product)
        decision = after_ask(held.transfers, known, held.policy, held.at, held.chunk.looks)
        if refused is not None and refused.verdict is Verdict.HALT:
            decision = evolve(decision, close=("halted", refused.reason))
        return held, decision

    async def _listed(self, held: Claim, product: Product) -> dict[str, Known]:
        """What the bank's list says of them, where it says something."""
        entries = await product.list(held.chunk.deposit, 0, self._timeout / 2)
        told = classify(list(entries), held.values, product.own, _hashids(held))
        return {name: word for name, word in told.items() if word.verdict is not Verdict.AMBIGUOUS}

    async def _look(self, held: Claim, product: Product) -> tuple[dict[str, Known], Known | None]:
        """What is known now of each, and the refusal that ended the asking, if one did."""
        until = self._clock.monotonic() + self._timeout
        known: dict[str, Known] = {}
        value = held.values[0]
        try:
            if len(held.values) >= SEVERAL:
                # Whatever is wrong with the list may be about others: they can still be asked about one by one.
                with suppress(Exception):
                    known = await self._listed(held, product)
            # One that cannot be asked about must not stand before the others for ever.
            first = held.chunk.looks % len(held.values)
            for value in (*held.values[first:], *held.values[:first]):
                left = until - self._clock.monotonic()
                if value.track_id not in known and left > 0:
                    found: Sequence[Settlement] = await product.find(value.track_id, left)
                    # Others in the answer would mean that it was not asked for this one alone: that proves nothing.
                    told = classify(list(found), [value], product.own, _hashids(held))
                    known[value.track_id] = told[value.track_id] if found else ABSENT
        except Exception as error:
            # It only asks: the next look may go better, and what was heard so far holds.
            return known, classify(error, [value], product.own)[value.track_id]
        return known, None


def _hashids(held: Claim) -> dict[str, str]:
    """Return track_id by hashid for the transfers whose hashid is on record and names one of them alone."""
    named: dict[str, list[str]] = {}
    for one in held.transfers:
        if one.record.hashid:
            named.setdefault(one.record.hashid, []).append(one.record.track_id)
    return {hashid: track_ids[0] for hashid, track_ids in named.items() if len(track_ids) == 1}
