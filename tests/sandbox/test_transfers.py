"""Bank transfers: money moves once, and everything can be asked about."""

import pytest

from tests.sandbox.merchant import Merchant

OPENING = 1_000_000_000_000


async def test_one_transfer_answers_with_an_object_and_several_with_a_list(merchant: Merchant) -> None:
    one = await merchant.settle(merchant.transfer("a"))
    assert one["track_id"] == "a"
    assert one["status"] == "pending"
    assert {"hashid", "message", "ref_code"} <= set(one)
    several = await merchant.settle(merchant.transfer("b"), merchant.transfer("c"))
    assert [item["track_id"] for item in several] == ["b", "c"]


async def test_a_transfer_is_pending_and_then_succeeds_or_fails_by_its_amount(merchant: Merchant) -> None:
    await merchant.settle(merchant.transfer("good", 5_000), merchant.transfer("bad", 1_999))
    assert await merchant.balance() == OPENING - 6_999
    merchant.clock.advance(1.9)
    assert [item["status"] for item in await merchant.data("transfers.find")] == ["pending", "pending"]
    merchant.clock.advance(0.1)
    bad, good = await merchant.data("transfers.find")
    assert (bad["status"], bad["ref_code"]) == ("failed", None)
    assert good["status"] == "success"
    assert good["ref_code"].isdecimal()
    assert await merchant.balance() == OPENING - 5_000


async def test_settled_at_once(merchant: Merchant) -> None:
    merchant.sandbox.settings.settle_seconds = 0
    assert (await merchant.settle(merchant.transfer()))["status"] == "success"


async def test_a_repeated_track_id_is_answered_and_not_paid_again(merchant: Merchant) -> None:
    first = await merchant.settle(merchant.transfer("t"))
    merchant.clock.advance(5)
    again = await merchant.settle(merchant.transfer("t"))
    assert again["hashid"] == first["hashid"]
    assert again["status"] == "success"
    assert await merchant.balance() == OPENING - 1_000
    line = merchant.sandbox.ledger["t"]
    assert (line.count, line.requests, line.amount, line.status) == (1, 2, 1_000, "success")


@pytest.mark.parametrize("changed", [{"amount": 2_000}, {"deposit": "0119999999999"}, {"destination_lastname": "X"}])
async def test_a_track_id_with_other_contents_fails_alone(merchant: Merchant, changed: dict[str, object]) -> None:
    await merchant.settle(merchant.transfer("t"))
    conflict, fresh = await merchant.settle(merchant.transfer("t") | changed, merchant.transfer("u"))
    assert (conflict["track_id"], conflict["status"], conflict["hashid"]) == ("t", "failed", None)
    assert fresh["status"] == "pending"
    assert await merchant.balance() == OPENING - 2_000
    assert merchant.sandbox.ledger["t"].amount == 1_000


async def test_a_repetition_can_be_made_to_pay_twice(merchant: Merchant) -> None:
    merchant.sandbox.settings.repeats_execute = True
    await merchant.settle(merchant.transfer("t"))
    await merchant.settle(merchant.transfer("t"))
    assert merchant.sandbox.ledger["t"].count == 2
    assert await merchant.balance() == OPENING - 2_000
    assert len(await merchant.data("transfers.find", track_id="t")) == 2


async def test_what_is_not_covered_is_refused_whole(merchant: Merchant) -> None:
    merchant.sandbox.set_balance("0111234567890", 1_500)
    content = await merchant.call("transfers.settle", transfers=[merchant.transfer("a"), merchant.transfer("b")])
    assert content["status"] == 9
    assert not merchant.sandbox.ledger
    assert await merchant.balance() == 1_500
    await merchant.settle(merchant.transfer("a", 1_500))
    assert await merchant.balance() == 0


async def test_one_track_id_twice_in_a_request_is_invalid(merchant: Merchant) -> None:
    content = await merchant.call("transfers.settle", transfers=[merchant.transfer("a"), merchant.transfer("a")])
    assert (content["status"], list(content["data"])) == (10, ["transfers.1.track_id"])


async def test_the_list_is_newest_first_filtered_and_paged(merchant: Merchant) -> None:
    for number in range(25):
        await merchant.settle(merchant.transfer(f"t{number}", deposit="0111111111" if number % 5 else "0122222222"))
    newest = await merchant.data("transfers.find")
    assert [item["track_id"] for item in newest] == [f"t{number}" for number in range(24, 4, -1)]
    other = await merchant.data("transfers.find", deposit="0122222222", limit=2, skip=1)
    assert [item["track_id"] for item in other] == ["t15", "t10"]
    assert [item["track_id"] for item in await merchant.data("transfers.find", track_id="t7")] == ["t7"]
    assert await merchant.data("transfers.find", track_id="t7", deposit="0122222222") == []
    assert await merchant.data("transfers.find", track_id="none") == []
    assert len(await merchant.data("transfers.find", limit=500)) == 25
    assert (await merchant.call("transfers.find", limit=501))["status"] == 10


async def test_a_listed_transfer_shows_what_was_sent(merchant: Merchant) -> None:
    sent = merchant.transfer("t", pay_id="77")
    await merchant.settle(sent)
    (item,) = await merchant.data("transfers.find")
    assert {name: item[name] for name in sent} == sent
    assert item["created_at"] == "2026-01-01 03:30:00"


async def test_a_statement_shows_what_came_and_went_in_jalali_time(merchant: Merchant) -> None:
    await merchant.settle(merchant.transfer("a", 4_000))
    merchant.clock.advance(60)
    await merchant.settle(merchant.transfer("b", 1_999))
    merchant.clock.advance(60)
    account = {"account_number": "0111234567890"}
    data = await merchant.data("transfers.statement", **account, from_date="2025-12-01")
    *came, went = data["transactions"]
    assert went["debit_amount"] == 4_000
    assert went["credit_amount"] == 0
    assert went["transaction_date_time"] == "04-10-11 03:30:00"
    assert len(came) == 3
    assert all(line["credit_amount"] > 0 and line["debit_amount"] == 0 for line in came)
    assert data == await merchant.data("transfers.statement", **account, from_date="2025-12-01", to_date="2026-01-01")
    today = await merchant.data("transfers.statement", **account, from_date="2026-01-01", to_date="2026-01-01")
    assert went in today["transactions"]
    before = await merchant.data("transfers.statement", **account, from_date="2025-12-01", to_date="2025-12-31")
    assert went not in before["transactions"]
    assert len(before["transactions"]) + len(today["transactions"]) == 4
