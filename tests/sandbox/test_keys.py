"""Renewing: both paths of the application, the wallet's two keys, rotation and its end."""

from datetime import timedelta

import pytest

from paystar_async.endpoint import Realm
from paystar_async.table import RENEWALS
from paystar_async.values.dates import parse_tehran
from tests.sandbox.merchant import Merchant, envelope

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
