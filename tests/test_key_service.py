"""The keys service: ``replace``."""

from datetime import UTC, datetime
from typing import Any

import pytest

from paystar_async import Realm, Secret
from paystar_async.errors import ConfigurationError, InvalidValue, PaystarError
from tests.support import Engine, client, in_turn, ok


@pytest.mark.parametrize(
    ("arguments", "kind", "field"),
    [
        ({"realm": "gateway", "token": "k"}, ConfigurationError, None),
        ({"realm": "bank", "token": "k"}, InvalidValue, "realm"),
        ({"realm": None, "token": "k"}, InvalidValue, "realm"),
        ({"realm": "wallet", "token": ""}, InvalidValue, "token"),
        ({"realm": "wallet", "token": "a\nb"}, InvalidValue, "token"),
        ({"realm": "wallet", "token": "k", "refresh_token": ""}, InvalidValue, "refresh_token"),
        ({"realm": "wallet", "token": "k", "expires_at": datetime(2026, 1, 1)}, InvalidValue, "expires_at"),
    ],
)
async def test_keys_replace_invalid_key_changes_nothing(
    arguments: dict[str, Any], kind: type[PaystarError], field: str | None
) -> None:
    paystar = client(engine := Engine(in_turn(ok({"total_amount": 1, "available_amount": 1}))))

    with pytest.raises(kind) as error:
        await paystar.keys.replace(arguments.pop("realm"), **arguments)

    assert getattr(error.value, "field", None) == field
    await paystar.wallet.balance()
    assert engine.sent[0].bearer == "key-0"


@pytest.mark.parametrize("realm", ["inquiry", Realm.INQUIRY])
async def test_keys_replace_key_is_used_by_next_call(realm: Any) -> None:
    paystar = client(engine := Engine(in_turn(ok({"total_amount": 1, "available_amount": 1}))))

    await paystar.keys.replace(realm, token=Secret("key-new"), expires_at=datetime(2099, 1, 1, tzinfo=UTC))
    await paystar.wallet.balance()

    assert engine.sent[0].bearer == "key-new"
