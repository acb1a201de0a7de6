"""The batches of a seed."""

import random

from paystar_async import Transfer, WalletTransfer
from paystar_async.payouts.classify import AnyTransfer
from tests.payouts.simulator.bank import POISON
from tests.payouts.simulator.world import World

DEPOSITS = "0100000000001", "0100000000002"


def draw_batches(rng: random.Random, world: World, *, wallet: bool) -> dict[str, list[AnyTransfer]]:
    """Return the batches of a seed, of which two may share transfers."""
    values = [_value(rng, world, f"t-{number}", wallet=wallet) for number in range(rng.randint(1, 12))]
    if rng.random() < 0.7:
        return {"b-1": values}
    return {"b-1": values, "b-2": [*values[: len(values) // 2], _value(rng, world, "t-x", wallet=wallet)]}


def _value(rng: random.Random, world: World, track_id: str, *, wallet: bool) -> AnyTransfer:
    name = POISON if rng.random() < world.fault_rates.invalid_transfer else "Ahmadi"
    amount = rng.randrange(5_000, 15_000)
    if wallet:
        return WalletTransfer(
            amount=amount,
            destination_number="IR062960000000100324200001",
            destination_firstname="Ali",
            destination_lastname=name,
            track_id=track_id,
        )
    return Transfer(
        amount=amount,
        deposit=rng.choice(DEPOSITS),
        destination_account="0200000000002",
        destination_firstname="Ali",
        destination_lastname=name,
        track_id=track_id,
    )
