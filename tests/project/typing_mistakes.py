"""Mistakes that mypy and pyright must report: each marked line and no other; never run."""

from typing import assert_never

from paystar_async import MatchMobile, Paystar, Transfer, WalletTransfer
from paystar_async.blocking import BlockingPaystar
from paystar_async.models.transfers import Settlement
from paystar_async.outcomes import Failed, Pending, Succeeded


async def mistakes(
    paystar: Paystar, transfer: Transfer, wallet_transfer: WalletTransfer, transfer_fields: dict[str, str]
) -> int:
    await paystar.identity.match_mobile("0012345679", "09121234567")  # mistake: positional
    await paystar.identity.match_mobile(national_id="0012345679")  # mistake: a field is missing
    await paystar.identity.match_mobile(national_id=12345679, mobile_number="")  # mistake: an int for a text
    await paystar.transfers.settle(transfers=[wallet_transfer])  # mistake: another product's transfer
    await paystar.transfers.balance(account_number="1", time_out=3)  # mistake: no such parameter
    transfer.amount = 5  # mistake: a value is frozen
    Transfer(amount=1.5, **transfer_fields)  # mistake: a float for an amount
    MatchMobile(national_id="", mobile="")  # mistake: no such field
    response = await paystar.send(MatchMobile(national_id="", mobile_number=""))
    response.value.is_match  # mistake: no such field of the response # noqa: B018
    matches: list[Settlement] = await paystar.identity.match_mobile(national_id="", mobile_number="")  # mistake: type
    assert matches
    paystar.payments.confirm("callback")  # mistake: neither a callback nor awaited
    Paystar(checks="loose")  # mistake: no such level
    outcome = await paystar.transfers.wait(track_id="t")
    match outcome:
        case Succeeded():
            return 1
        case Failed() | Pending():
            return 2
        case _:
            assert_never(outcome)  # mistake: Unknown is missing


def blocking_mistakes(paystar: BlockingPaystar, wallet_transfer: WalletTransfer) -> None:
    paystar.identity.match_mobile("0012345679", "09121234567")  # mistake: positional
    paystar.transfers.settle(transfers=[wallet_transfer])  # mistake: another product's transfer
    paystar.transfers.wait(track_id=5)  # mistake: an int for a text
    paystar.transfers.wait(track="t")  # mistake: no such parameter
    paystar.payments.start(amount=5_000, order_id="o")  # mistake: a parameter is missing
    paystar.payments.confirm("callback")  # mistake: not a callback
    paystar.payouts.advance()  # mistake: a parameter is missing
    BlockingPaystar(time_out=3)  # mistake: no such setting
    BlockingPaystar(checks="loose")  # mistake: no such level
    matches: list[Settlement] = paystar.identity.match_mobile(national_id="", mobile_number="")  # mistake: type
    assert matches
