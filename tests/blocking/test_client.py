"""The blocking client: the same methods as ``Paystar``, from any number of threads."""

import inspect
import subprocess
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from paystar_async import Paystar
from paystar_async.blocking import BlockingPaystar
from paystar_async.errors import ConfigurationError, InvalidValue, IpNotAllowed, NoResponse
from paystar_async.payouts.batch import Batch
from paystar_async.sandbox import Sandbox
from tests.blocking.support import MATCH, WAIT_SECONDS, Server, loop_threads
from tests.support import transfer

SERVICES = ("identity", "inquiry", "transfers", "gateway", "wallet", "keys", "payments", "payouts")


NOT_BLOCKING = {
    "payments.close": "internal",
    "payouts.use": "dispatchers belong to an event loop",
    "payouts.advance_in_turn": "for queues with an event loop",
}


OTHER_PARAMETERS = {"payouts.submit": {"connection"}}
"""psycopg's asynchronous connection."""


def public_methods(value: object) -> dict[str, Any]:
    names = [name for name in dir(value) if not name.startswith("_") and callable(getattr(value, name))]
    return {name: getattr(value, name) for name in names}


class TestSameMethods:
    @pytest.mark.parametrize("service", SERVICES)
    def test_service_has_same_methods_and_docs(self, service: str) -> None:
        blocking = public_methods(getattr(BlockingPaystar(), service))
        for name, method in public_methods(getattr(Paystar(), service)).items():
            if f"{service}.{name}" in NOT_BLOCKING:
                continue
            parameters = inspect.signature(method).parameters
            skipped = OTHER_PARAMETERS.get(f"{service}.{name}", set())
            expected = [
                (each.name, each.kind, each.default) for each in parameters.values() if each.name not in skipped
            ]
            actual = inspect.signature(blocking[name]).parameters.values()
            assert [(each.name, each.kind, each.default) for each in actual] == expected, name
            assert not inspect.iscoroutinefunction(blocking[name])
            if service != "payouts" and name not in ("batch", "sweeping"):
                assert inspect.getdoc(blocking[name]) == inspect.getdoc(method), name

    def test_batch_has_same_methods(self) -> None:
        from paystar_async.blocking.payouts import BlockingBatch

        assert set(public_methods(BlockingBatch)) == set(public_methods(Batch))

    def test_class_shows_methods_of_services(self) -> None:
        for service in SERVICES:
            assert public_methods(getattr(BlockingPaystar, service)), service

    def test_client_has_same_public_names(self) -> None:
        names = {name for name in dir(Paystar) if not name.startswith("_")} - {"aclose"}
        assert {name for name in dir(BlockingPaystar) if not name.startswith("_")} == names | {"close", "from_client"}


class TestCalls:
    def test_call_returns_value(self, server: Server) -> None:
        with server.client() as paystar:
            assert paystar.identity.match_mobile(national_id="0012345679", mobile_number="09121234567").is_matched
            response = paystar.send(MATCH, timeout=5)
        assert (response.value.is_matched, response.http_status) == (True, 200)

    def test_call_error_has_its_class(self) -> None:
        sandbox = Sandbox()
        sandbox.fail("transfers.balance", "status", status=7)
        with BlockingPaystar(application=sandbox.application, engine=sandbox.engine()) as paystar:
            with pytest.raises(IpNotAllowed):
                paystar.transfers.balance(account_number="0100000000001")
            with pytest.raises(InvalidValue, match="account_number"):
                paystar.transfers.balance(account_number="")

    def test_page_needs_no_request(self) -> None:
        sandbox = Sandbox()
        paystar = BlockingPaystar(gateway=sandbox.gateway)
        assert "token=t" in paystar.gateway.payment_url(token="t")
        assert not loop_threads()

    def test_threads_share_connections(self, server: Server) -> None:
        with server.client(concurrency=8, timeout=60) as paystar:

            def calls() -> int:
                return sum(paystar.send(MATCH).value.is_matched for _ in range(50))

            with ThreadPoolExecutor(100) as pool:
                matched = [future.result() for future in [pool.submit(calls) for _ in range(100)]]
            assert len(loop_threads()) == 1
        assert matched == [50] * 100
        assert server.most_open <= 8

    def test_error_traceback_hides_values(self, server: Server) -> None:
        with server.client() as paystar, pytest.raises(InvalidValue) as raised:
            paystar.identity.match_mobile(national_id="0084575948", mobile_number="0912")
        with server.client() as paystar, pytest.raises(ConfigurationError) as unconfigured:
            paystar.payments.start(amount=50_000, order_id="o", callback="https://shop.example/", phone="09121234567")
        for error in (raised, unconfigured):
            shown = traceback.TracebackException.from_exception(error.value, capture_locals=True)
            frames = [line for frame in shown.stack if "paystar_async" in frame.filename for line in str(frame.locals)]
            text = "".join(frames) + str(error.value)
            assert "0084575948" not in text
            assert "09121234567" not in text

    def test_repr_names_accounts_without_secrets(self) -> None:
        paystar = BlockingPaystar(application=Sandbox().application)
        assert repr(paystar).startswith("<BlockingPaystar application")
        assert repr(paystar.identity) == f"<BlockingIdentityCalls of {paystar!r}>"

    def test_from_env_reads_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PAYSTAR_GATEWAY_ID", "g-1")
        assert "gateway" in repr(BlockingPaystar.from_env(timeout=3))

    def test_from_client_shares_settings(self, server: Server) -> None:
        client = Paystar(base_url=server.url)
        with BlockingPaystar.from_client(client) as paystar, pytest.raises(ConfigurationError, match="application"):
            paystar.send(MATCH)


class TestClose:
    def test_close_ends_connections_and_thread(self, server: Server) -> None:
        paystar = server.client()
        paystar.close()  # nothing is open
        paystar.send(MATCH)
        paystar.close()
        paystar.close()
        assert not loop_threads()
        paystar.send(MATCH)
        assert server.opened == 2
        paystar.close()

    def test_close_keeps_thread_of_other_client(self, server: Server) -> None:
        with server.client() as other:
            other.send(MATCH)
            with server.client() as paystar:
                paystar.send(MATCH)
            assert len(loop_threads()) == 1
            other.send(MATCH)
        assert server.opened == 2

    def test_close_during_call_is_no_response(self, server: Server) -> None:
        server.may_respond.clear()
        paystar = server.client()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(paystar.transfers.settle, transfers=[transfer("t-1")])
            assert server.arrived.wait(WAIT_SECONDS)
            paystar.close()
            with pytest.raises(NoResponse) as raised:
                call.result(WAIT_SECONDS)
        assert raised.value.executed == "maybe"
        paystar.close()

    def test_exit_without_close_is_clean(self, server: Server) -> None:
        script = f"""
from paystar_async import Application, MatchMobile
from paystar_async.blocking import BlockingPaystar
paystar = BlockingPaystar(Application(id="1", access_password="x", api_key="k"), base_url={server.url!r})
assert paystar.send(MatchMobile(national_id="0012345679", mobile_number="09121234567")).value.is_matched
"""
        process = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
        assert (process.returncode, process.stderr) == (0, "")
