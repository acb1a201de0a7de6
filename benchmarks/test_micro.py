"""The rings' parts, one by one: ``python -m pytest -c /dev/null benchmarks/test_micro.py``. No time is asserted."""

from typing import Any

import pytest

from benchmarks.asked import ID, MATCH, PASSWORD, PERSON, TOKEN
from paystar_async import Application, Transfer
from paystar_async.accounts import Accounts
from paystar_async.endpoint import Request
from paystar_async.models.base import Call
from paystar_async.models.identity import MatchMobile
from paystar_async.models.transfers import Settle
from paystar_async.table import BY_REQUEST
from paystar_async.transport.wire import Wire
from paystar_async.values.secret import Secret

pytest.importorskip("pytest_benchmark")

WIRE = Wire(Accounts(application=Application(id=ID, access_password=PASSWORD)), "https://paystar.example/api")
MANY = 500
SETTLED = (
    b'{"status":"ok","message":"ok","data":['
    + b",".join(b'{"hashid":"h-%d","track_id":"t-%d","status":"success","ref_code":"1"}' % (n, n) for n in range(MANY))
    + b"]}"
)


def transfer(number: int) -> Transfer:
    return Transfer(
        amount=1_000_000 + number,
        deposit="0100000000001",
        destination_account="IR570790000000850774361353",
        destination_firstname="Ali",
        destination_lastname="Ahmadi",
        track_id=f"t-{number}",
    )


def asked(value: Call[Any]) -> Request[Any]:
    return Request(value=value, endpoint=BY_REQUEST[type(value)], account=ID, timeout=30, key=Secret(TOKEN))


SMALL, LARGE = asked(MatchMobile(**PERSON)), asked(Settle(transfers=[transfer(number) for number in range(MANY)]))


@pytest.mark.parametrize("request_", [SMALL, LARGE], ids=["one call", f"{MANY} transfers"])
def test_encode(benchmark: Any, request_: Request[Any]) -> None:
    assert benchmark(WIRE.encode, request_).body


@pytest.mark.parametrize(
    ("request_", "body"), [(SMALL, MATCH), (LARGE, SETTLED)], ids=["one call", f"{MANY} transfers"]
)
def test_decode(benchmark: Any, request_: Request[Any], body: bytes) -> None:
    assert benchmark(WIRE.decode, request_, 200, {}, body).http_status == 200


def test_a_request_value(benchmark: Any) -> None:
    assert benchmark(MatchMobile, **PERSON)


def test_a_transfer(benchmark: Any) -> None:
    assert benchmark(transfer, 1)
