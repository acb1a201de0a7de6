"""Who may call: every realm's keys, passwords and signatures are checked for real."""

from datetime import timedelta

import pytest

from paystar_async.accounts import signature
from paystar_async.endpoint import Realm
from paystar_async.sandbox.responses import INVALID_ACCESS
from paystar_async.table import RENEWALS, TABLE
from paystar_async.values.dates import parse_tehran
from tests.sandbox.merchant import Merchant, envelope, example_fields

ROWS = {realm: row.id for realm, row in RENEWALS.items()}
READ = {Realm.APPLICATION: "transfers.find", Realm.WALLET: "wallet.balance", Realm.INQUIRY: "wallet.balance"}


def named(realm: Realm) -> str:
    return "inquiry_key" if realm is Realm.INQUIRY else "api_key"


@pytest.mark.parametrize("realm", ROWS)
async def test_a_renewal_gives_a_key_for_another_life(merchant: Merchant, realm: Realm) -> None:
    merchant.clock.advance(90_000)
    now = merchant.clock.time()
    data = await merchant.data(ROWS[realm])
    assert set(data) == {named(realm), f"{named(realm)}_expire_date"}
    expires = parse_tehran(data[f"{named(realm)}_expire_date"])
    assert expires is not None
    assert expires.utcoffset() == timedelta(hours=3, minutes=30)
    assert expires.timestamp() == now + 86_400
    bearer = f"Bearer {data[named(realm)]}"
    assert envelope(await merchant.send(READ[realm], bearer=bearer))["status"] in (1, "ok")
    merchant.clock.advance(86_400)
    assert envelope(await merchant.send(READ[realm], bearer=bearer))["status"] not in (1, "ok")


@pytest.mark.parametrize("realm", ROWS)
async def test_a_wrong_refresh_token_is_status_13(merchant: Merchant, realm: Realm) -> None:
    renews = RENEWALS[realm].renews
    assert renews
    for wrong in ("wrong", None, "", 13):
        assert (await merchant.call(ROWS[realm], **{renews: wrong}))["status"] == 13
    assert (await merchant.call(ROWS[realm], **{renews: ...}))["status"] == 13


@pytest.mark.parametrize("path", ["/open-banking/application/refresh-api-key", "/application/refresh-api-key"])
async def test_the_application_renews_on_both_paths_without_a_bearer(merchant: Merchant, path: str) -> None:
    answer = await merchant.send("keys.refresh_application_key", path=path, bearer="")
    assert envelope(answer)["data"]["api_key"]


@pytest.mark.parametrize("realm", ROWS)
async def test_a_refresh_token_stays_unless_it_is_to_rotate(merchant: Merchant, realm: Realm) -> None:
    sandbox, renews = merchant.sandbox, RENEWALS[realm].renews
    assert renews
    await merchant.data(ROWS[realm])
    await merchant.data(ROWS[realm])
    first = merchant.accounts.first_key(realm)[1]
    sandbox.settings.rotate_refresh_tokens = True
    data = await merchant.data(ROWS[realm])
    assert first
    assert data[renews] != first.reveal()
    assert (await merchant.call(ROWS[realm], **{renews: first.reveal()}))["status"] == 13
    await merchant.data(ROWS[realm], **{renews: data[renews]})
    assert sandbox.stats["refreshes"][realm] == 4


@pytest.mark.parametrize("ends", [False, True])
async def test_an_old_key_lives_out_its_time_unless_a_renewal_ends_it(merchant: Merchant, ends: bool) -> None:
    merchant.sandbox.settings.renewal_ends_old_key = ends
    old = merchant.sandbox.application.api_key
    assert old
    await merchant.data("keys.refresh_application_key")
    answer = await merchant.send("transfers.find", bearer=f"Bearer {old.reveal()}")
    assert envelope(answer)["status"] == (4 if ends else "ok")


async def test_a_clock_that_jumps_expires_nothing(merchant: Merchant) -> None:
    merchant.clock.jump(200_000)
    await merchant.data("transfers.find")


CALLS = [row for row in TABLE if row.kind == "call"]
OPEN_BANKING = [row.id for row in CALLS if row.realm is Realm.APPLICATION]
WALLET = [row.id for row in CALLS if row.realm in (Realm.WALLET, Realm.INQUIRY)]
WITH_KEY = [row for row in CALLS if not row.renews]


@pytest.mark.parametrize("row_id", OPEN_BANKING)
async def test_open_banking_knows_its_application_and_password(merchant: Merchant, row_id: str) -> None:
    fields = example_fields(row_id)
    assert (await merchant.call(row_id, **fields))["status"] in (1, "ok")
    for wrong in ("other", ..., None, "", 5, ["a"]):
        assert (await merchant.call(row_id, **fields, application_id=wrong))["status"] == 2
        assert (await merchant.call(row_id, **fields, access_password=wrong))["status"] == 6


@pytest.mark.parametrize("row", WITH_KEY, ids=lambda row: row.id)
async def test_an_unknown_key_is_refused_in_the_realms_own_words(merchant: Merchant, row: object) -> None:
    row = next(one for one in WITH_KEY if one is row)
    for bearer in ("Bearer unknown", "", "Basic abc", "Bearer"):
        answer = await merchant.send(row.id, example_fields(row.id), bearer=bearer)
        content = envelope(answer)
        match row.realm:
            case Realm.APPLICATION | Realm.WALLET | Realm.INQUIRY:
                assert (answer.status_code, content["status"], content["message"]) == (400, 4, INVALID_ACCESS)
            case Realm.GATEWAY:
                assert (answer.status_code, content["status"]) == (401, "unauthenticated")
                assert (content["action"], content["tag"]) == ("PardakhtCreate", "unauthenticated")
                assert content["api_version"]


async def test_a_key_expires_at_the_end_of_its_life(merchant: Merchant) -> None:
    merchant.clock.advance(86_399)
    await merchant.data("transfers.find")
    await merchant.data("wallet.balance")
    merchant.clock.advance(1)
    assert (await merchant.call("transfers.find"))["status"] == 5
    assert (await merchant.call("wallet.balance"))["status"] == 5
    await merchant.created()  # a gateway_id is for ever


@pytest.mark.parametrize("row_id", ["transfers.find", "wallet.balance"])
async def test_hidden_token_codes_leave_the_message_alone(merchant: Merchant, row_id: str) -> None:
    merchant.sandbox.settings.hide_token_codes = True
    answer = await merchant.send(row_id, bearer="Bearer unknown")
    assert (answer.status_code, envelope(answer)["message"]) == (400, INVALID_ACCESS)
    assert envelope(answer)["status"] not in (4, 5)


@pytest.mark.parametrize("row_id", WALLET)
async def test_the_wallet_knows_its_hashid(merchant: Merchant, row_id: str) -> None:
    content = await merchant.call(row_id, **example_fields(row_id), wallet_hashid="w0")
    assert content["status"] == 10
    assert list(content["data"]) == ["wallet_hashid"]


@pytest.mark.parametrize("row_id", [row.id for row in CALLS if row.realm is Realm.WALLET or (row.renews and row.sign)])
async def test_the_wallets_posts_need_password_and_sign(merchant: Merchant, row_id: str) -> None:
    fields = example_fields(row_id)
    for name in ("password", "sign"):
        for wrong in ("wrong", ..., 7):
            content = await merchant.call(
                row_id, **fields, **{name: wrong if wrong is not ... or name == "password" else ""}
            )
            assert (content["status"], list(content["data"])) == (10, [name])


async def test_the_wallet_reads_with_either_key_and_pays_with_one(merchant: Merchant) -> None:
    wallet = merchant.sandbox.wallet
    assert wallet.api_key
    assert wallet.inquiry_key
    reads, pays = f"Bearer {wallet.inquiry_key.reveal()}", f"Bearer {wallet.api_key.reveal()}"
    for bearer in (reads, pays):
        assert envelope(await merchant.send("wallet.balance", bearer=bearer))["status"] == 1
    fields = {"transfers": [merchant.payout()]}
    assert envelope(await merchant.send("wallet.settle", fields, bearer=reads))["message"] == INVALID_ACCESS
    assert not merchant.sandbox.ledger
    assert envelope(await merchant.send("wallet.settle", fields, bearer=pays))["status"] == 1


async def test_one_realms_key_opens_no_other(merchant: Merchant) -> None:
    application = merchant.sandbox.application
    assert application.api_key
    bearer = f"Bearer {application.api_key.reveal()}"
    assert envelope(await merchant.send("wallet.balance", bearer=bearer))["message"] == INVALID_ACCESS


async def test_bearer_may_be_written_small(merchant: Merchant) -> None:
    gateway = merchant.sandbox.gateway
    fields = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/"}
    answer = await merchant.send("gateway.create", fields, bearer=f"bearer {gateway.id.reveal()}")
    assert envelope(answer)["status"] == 1


async def test_create_signs_amount_order_and_callback_as_they_are_sent(merchant: Merchant) -> None:
    key = merchant.sandbox.gateway.sign_key
    assert key
    fields: dict[str, object] = {"amount": 10_000, "order_id": "1", "callback": "https://shop.example/?a=1"}
    good = signature(key, (10_000, "1", "https://shop.example/?a=1"))
    assert (await merchant.call("gateway.create", **fields, sign=good))["status"] == 1
    for wrong in (
        signature(key, (10_000.0, "1", "https://shop.example/?a=1")),
        signature(key, (10_000, "2", "https://shop.example/?a=1")),
        signature(key, (10_000, "1", "https://shop.example/")),
        good.upper(),
        "",
        None,
    ):
        content = await merchant.call("gateway.create", **fields, sign=wrong)
        assert (content["status"], list(content["data"])) == (-1, ["sign"])


async def test_an_unsigned_gateway_asks_for_no_sign(merchant: Merchant) -> None:
    merchant.sandbox.settings.gateway_signed = False
    assert merchant.sandbox.gateway.sign_key is None
    created = await merchant.created()
    callback = merchant.sandbox.pay(created["token"])
    assert (await merchant.verify(callback))["status"] == 1
