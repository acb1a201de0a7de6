"""The ledger: bank transfers, wallet transfers, balances and statements."""

import pytest

from tests.sandbox.raw_client import RawClient

OPENING = 1_000_000_000_000


async def test_settle_one_returns_object_several_return_list(raw_client: RawClient) -> None:
    single = await raw_client.settle(raw_client.transfer("a"))
    assert single["track_id"] == "a"
    assert single["status"] == "pending"
    assert {"hashid", "message", "ref_code"} <= set(single)
    several = await raw_client.settle(raw_client.transfer("b"), raw_client.transfer("c"))
    assert [item["track_id"] for item in several] == ["b", "c"]


async def test_transfer_settles_by_amount_after_settle_seconds(raw_client: RawClient) -> None:
    await raw_client.settle(raw_client.transfer("good", 5_000), raw_client.transfer("bad", 1_999))
    assert await raw_client.balance() == OPENING - 6_999
    raw_client.clock.advance(1.9)
    assert [item["status"] for item in await raw_client.data("transfers.find")] == ["pending", "pending"]
    raw_client.clock.advance(0.1)
    bad, good = await raw_client.data("transfers.find")
    assert (bad["status"], bad["ref_code"]) == ("failed", None)
    assert good["status"] == "success"
    assert good["ref_code"].isdecimal()
    assert await raw_client.balance() == OPENING - 5_000


async def test_transfer_zero_settle_seconds_settles_at_once(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.settle_seconds = 0
    assert (await raw_client.settle(raw_client.transfer()))["status"] == "success"


async def test_settle_repeated_track_id_is_not_paid_again(raw_client: RawClient) -> None:
    first = await raw_client.settle(raw_client.transfer("t"))
    raw_client.clock.advance(5)
    repeated = await raw_client.settle(raw_client.transfer("t"))
    assert repeated["hashid"] == first["hashid"]
    assert repeated["status"] == "success"
    assert await raw_client.balance() == OPENING - 1_000
    line = raw_client.sandbox.ledger["t"]
    assert (line.count, line.requests, line.amount, line.status) == (1, 2, 1_000, "success")


@pytest.mark.parametrize("changed", [{"amount": 2_000}, {"deposit": "0119999999999"}, {"destination_lastname": "X"}])
async def test_settle_conflicting_track_id_fails_alone(raw_client: RawClient, changed: dict[str, object]) -> None:
    await raw_client.settle(raw_client.transfer("t"))
    conflict, other = await raw_client.settle(raw_client.transfer("t") | changed, raw_client.transfer("u"))
    assert (conflict["track_id"], conflict["status"], conflict["hashid"]) == ("t", "failed", None)
    assert other["status"] == "pending"
    assert await raw_client.balance() == OPENING - 2_000
    assert raw_client.sandbox.ledger["t"].amount == 1_000


async def test_settle_repeats_execute_pays_twice(raw_client: RawClient) -> None:
    raw_client.sandbox.settings.repeats_execute = True
    await raw_client.settle(raw_client.transfer("t"))
    await raw_client.settle(raw_client.transfer("t"))
    assert raw_client.sandbox.ledger["t"].count == 2
    assert await raw_client.balance() == OPENING - 2_000
    assert len(await raw_client.data("transfers.find", track_id="t")) == 2


async def test_settle_insufficient_balance_refuses_all_transfers(raw_client: RawClient) -> None:
    raw_client.sandbox.set_balance("0111234567890", 1_500)
    content = await raw_client.call("transfers.settle", transfers=[raw_client.transfer("a"), raw_client.transfer("b")])
    assert content["status"] == 9
    assert not raw_client.sandbox.ledger
    assert await raw_client.balance() == 1_500
    await raw_client.settle(raw_client.transfer("a", 1_500))
    assert await raw_client.balance() == 0


async def test_settle_duplicate_track_id_in_request_is_invalid(raw_client: RawClient) -> None:
    content = await raw_client.call("transfers.settle", transfers=[raw_client.transfer("a"), raw_client.transfer("a")])
    assert (content["status"], list(content["data"])) == (10, ["transfers.1.track_id"])


async def test_find_returns_newest_first_filtered_and_paged(raw_client: RawClient) -> None:
    for number in range(25):
        await raw_client.settle(raw_client.transfer(f"t{number}", deposit="0111111111" if number % 5 else "0122222222"))
    newest = await raw_client.data("transfers.find")
    assert [item["track_id"] for item in newest] == [f"t{number}" for number in range(24, 4, -1)]
    other = await raw_client.data("transfers.find", deposit="0122222222", limit=2, skip=1)
    assert [item["track_id"] for item in other] == ["t15", "t10"]
    assert [item["track_id"] for item in await raw_client.data("transfers.find", track_id="t7")] == ["t7"]
    assert await raw_client.data("transfers.find", track_id="t7", deposit="0122222222") == []
    assert await raw_client.data("transfers.find", track_id="none") == []
    assert len(await raw_client.data("transfers.find", limit=500)) == 25
    assert (await raw_client.call("transfers.find", limit=501))["status"] == 10


async def test_find_returns_fields_of_request(raw_client: RawClient) -> None:
    sent = raw_client.transfer("t", pay_id="77")
    await raw_client.settle(sent)
    (item,) = await raw_client.data("transfers.find")
    assert {name: item[name] for name in sent} == sent
    assert item["created_at"] == "2026-01-01 03:30:00"


async def test_statement_lists_debits_and_credits_in_jalali_time(raw_client: RawClient) -> None:
    await raw_client.settle(raw_client.transfer("a", 4_000))
    raw_client.clock.advance(60)
    await raw_client.settle(raw_client.transfer("b", 1_999))
    raw_client.clock.advance(60)
    account = {"account_number": "0111234567890"}
    data = await raw_client.data("transfers.statement", **account, from_date="2025-12-01")
    *credit_lines, debit = data["transactions"]
    assert debit["debit_amount"] == 4_000
    assert debit["credit_amount"] == 0
    assert debit["transaction_date_time"] == "04-10-11 03:30:00"
    assert len(credit_lines) == 3
    assert all(line["credit_amount"] > 0 and line["debit_amount"] == 0 for line in credit_lines)
    assert data == await raw_client.data("transfers.statement", **account, from_date="2025-12-01", to_date="2026-01-01")
    today = await raw_client.data("transfers.statement", **account, from_date="2026-01-01", to_date="2026-01-01")
    assert debit in today["transactions"]
    before = await raw_client.data("transfers.statement", **account, from_date="2025-12-01", to_date="2025-12-31")
    assert debit not in before["transactions"]
    assert len(before["transactions"]) + len(today["transactions"]) == 4


async def wallet_balance(raw_client: RawClient) -> int:
    data = await raw_client.data("wallet.balance")
    assert data["total_amount"] == data["available_amount"]
    return int(data["total_amount"].replace(",", ""))


async def test_wallet_balance_is_text_with_commas(raw_client: RawClient) -> None:
    assert await raw_client.data("wallet.balance") == {
        "total_amount": "1,000,000,000,000",
        "available_amount": "1,000,000,000,000",
    }


async def test_wallet_find_accepts_sent_and_stored_track_id(raw_client: RawClient) -> None:
    await raw_client.data(
        "wallet.settle",
        withdraw_type=8,
        transfers=[raw_client.wallet_transfer("a", 3_000), raw_client.wallet_transfer("b")],
    )
    assert await wallet_balance(raw_client) == OPENING - 4_000
    stored = f"{raw_client.sandbox.wallet.hashid}*b*2"
    (item,) = await raw_client.data("wallet.find", track_id="b")
    assert (item["track_id"], item["status"], item["amount"]) == (stored, "pending", 1_000)
    raw_client.clock.advance(2)
    (item,) = await raw_client.data("wallet.find", track_id=stored)
    assert (item["track_id"], item["status"]) == (stored, "success")
    assert item["ref_code"].isdecimal()
    for other in ("c", f"{raw_client.sandbox.wallet.hashid}*b*1", "other*b*2", "b*2"):
        assert await raw_client.data("wallet.find", track_id=other) == []


async def test_wallet_settle_repeated_track_id_is_not_paid_again(raw_client: RawClient) -> None:
    await raw_client.data("wallet.settle", transfers=[raw_client.wallet_transfer("a")])
    await raw_client.data("wallet.settle", transfers=[raw_client.wallet_transfer("a")])
    assert await wallet_balance(raw_client) == OPENING - 1_000
    assert (raw_client.sandbox.ledger["a"].count, raw_client.sandbox.ledger["a"].requests) == (1, 2)


async def test_wallet_settle_conflicting_track_id_is_refused(raw_client: RawClient) -> None:
    await raw_client.data("wallet.settle", transfers=[raw_client.wallet_transfer("a")])
    content = await raw_client.call(
        "wallet.settle", transfers=[raw_client.wallet_transfer("b"), raw_client.wallet_transfer("a", 2_000)]
    )
    assert (content["status"], list(content["data"])) == (10, ["transfers.1.track_id"])
    assert await wallet_balance(raw_client) == OPENING - 1_000


async def test_wallet_settle_insufficient_balance_refuses_all(raw_client: RawClient) -> None:
    hashid = raw_client.sandbox.wallet.hashid
    raw_client.sandbox.set_balance(hashid, 1_999)
    content = await raw_client.call(
        "wallet.settle", transfers=[raw_client.wallet_transfer("a"), raw_client.wallet_transfer("b")]
    )
    assert content["status"] == 9
    assert not raw_client.sandbox.ledger
    assert await wallet_balance(raw_client) == 1_999


async def test_wallet_failed_transfer_is_refunded(raw_client: RawClient) -> None:
    await raw_client.data("wallet.settle", transfers=[raw_client.wallet_transfer("a", 999)])
    assert await wallet_balance(raw_client) == OPENING - 999
    raw_client.clock.advance(2)
    (item,) = await raw_client.data("wallet.find", track_id="a")
    assert item["status"] == "failed"
    assert await wallet_balance(raw_client) == OPENING


async def test_wallet_settle_invalid_item_names_field_and_index(raw_client: RawClient) -> None:
    content = await raw_client.call(
        "wallet.settle", transfers=[raw_client.wallet_transfer("a"), raw_client.wallet_transfer("b", 0)]
    )
    assert (content["status"], list(content["data"])) == (10, ["transfers.1.amount"])
    assert content["data"]["transfers.1.amount"][0]
    assert (await raw_client.call("wallet.settle", withdraw_type=9, transfers=[raw_client.wallet_transfer("a")]))[
        "status"
    ] == 10
