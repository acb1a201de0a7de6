"""Wallet payouts."""

from tests.sandbox.merchant import Merchant

OPENING = 1_000_000_000_000


async def balance(merchant: Merchant) -> int:
    data = await merchant.data("wallet.balance")
    assert data["total_amount"] == data["available_amount"]
    return int(data["total_amount"].replace(",", ""))


async def test_the_balance_is_a_text_with_commas(merchant: Merchant) -> None:
    assert await merchant.data("wallet.balance") == {
        "total_amount": "1,000,000,000,000",
        "available_amount": "1,000,000,000,000",
    }


async def test_transfers_are_found_in_both_forms_of_their_track_id(merchant: Merchant) -> None:
    await merchant.data("wallet.settle", withdraw_type=8, transfers=[merchant.payout("a", 3_000), merchant.payout("b")])
    assert await balance(merchant) == OPENING - 4_000
    stored = f"{merchant.sandbox.wallet.hashid}*b*2"
    (item,) = await merchant.data("wallet.find", track_id="b")
    assert (item["track_id"], item["status"], item["amount"]) == (stored, "pending", 1_000)
    merchant.clock.advance(2)
    (item,) = await merchant.data("wallet.find", track_id=stored)
    assert (item["track_id"], item["status"]) == (stored, "success")
    assert item["ref_code"].isdecimal()
    for other in ("c", f"{merchant.sandbox.wallet.hashid}*b*1", "other*b*2", "b*2"):
        assert await merchant.data("wallet.find", track_id=other) == []


async def test_a_repeated_track_id_is_not_paid_twice(merchant: Merchant) -> None:
    await merchant.data("wallet.settle", transfers=[merchant.payout("a")])
    await merchant.data("wallet.settle", transfers=[merchant.payout("a")])
    assert await balance(merchant) == OPENING - 1_000
    assert (merchant.sandbox.ledger["a"].count, merchant.sandbox.ledger["a"].requests) == (1, 2)


async def test_a_track_id_with_other_contents_is_refused_by_field(merchant: Merchant) -> None:
    await merchant.data("wallet.settle", transfers=[merchant.payout("a")])
    content = await merchant.call("wallet.settle", transfers=[merchant.payout("b"), merchant.payout("a", 2_000)])
    assert (content["status"], list(content["data"])) == (10, ["transfers.1.track_id"])
    assert await balance(merchant) == OPENING - 1_000


async def test_what_is_not_covered_is_refused_whole(merchant: Merchant) -> None:
    hashid = merchant.sandbox.wallet.hashid
    merchant.sandbox.set_balance(hashid, 1_999)
    content = await merchant.call("wallet.settle", transfers=[merchant.payout("a"), merchant.payout("b")])
    assert content["status"] == 9
    assert not merchant.sandbox.ledger
    assert await balance(merchant) == 1_999


async def test_a_transfer_that_fails_gives_the_money_back(merchant: Merchant) -> None:
    await merchant.data("wallet.settle", transfers=[merchant.payout("a", 999)])
    assert await balance(merchant) == OPENING - 999
    merchant.clock.advance(2)
    (item,) = await merchant.data("wallet.find", track_id="a")
    assert item["status"] == "failed"
    assert await balance(merchant) == OPENING


async def test_a_wrong_field_is_named_with_its_place(merchant: Merchant) -> None:
    content = await merchant.call("wallet.settle", transfers=[merchant.payout("a"), merchant.payout("b", 0)])
    assert (content["status"], list(content["data"])) == (10, ["transfers.1.amount"])
    assert content["data"]["transfers.1.amount"][0]
    assert (await merchant.call("wallet.settle", withdraw_type=9, transfers=[merchant.payout("a")]))["status"] == 10
