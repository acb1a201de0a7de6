"""The pytest plugin, tested by user tests in an inner pytest."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from paystar_async.sandbox import Sandbox

SETTINGS = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
Pytester = pytest.Pytester

PAYMENT_TEST_BODY = """
    started = await paystar.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
    payment = await paystar.payments.confirm(Callback.parse(paystar_sandbox.pay(started.url)))
    assert isinstance(payment.outcome, Verified)
"""
IMPORTS = "import pytest\nfrom paystar_async.payments import Callback, Verified\n"


class Modules:
    """The package's modules imported by inner pytests, which pytester would remove from sys.modules."""

    def __init__(self) -> None:
        self._modules: dict[str, ModuleType] = {}

    def pytest_sessionfinish(self) -> None:
        self._modules |= {name: module for name, module in sys.modules.items() if name.startswith("paystar_async")}

    def restore(self) -> None:
        sys.modules.update(self._modules)


MODULES = Modules()


@pytest.fixture(autouse=True)
def _isolated_pytest(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """Hide the outer pytest's options, and restore the modules after ``pytester`` has removed them."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    yield
    MODULES.restore()


def run(pytester: Pytester, source: str, *arguments: str, mode: str = "auto", ini: str = "") -> pytest.RunResult:
    """Run tests in an inner pytest and return its result."""
    pytester.makeini(f"{SETTINGS}asyncio_mode = {mode}\n{ini}")
    pytester.makepyfile(source)
    plugin_options = ("-p", "no:paystar", "-p", "paystar_async.testing", "-p", "no:cacheprovider")
    result = pytester.runpytest_inprocess(*plugin_options, *arguments, plugins=[MODULES])
    MODULES.restore()
    return result


@pytest.mark.parametrize(
    ("mode", "marker", "backend"),
    [
        ("auto", "", "asyncio"),
        ("strict", "@pytest.mark.asyncio", "asyncio"),
        ("strict", "@pytest.mark.anyio", "asyncio"),
        ("strict", "@pytest.mark.anyio", "trio"),
    ],
)
def test_paystar_fixture_works_with_every_async_plugin(
    pytester: Pytester, mode: str, marker: str, backend: str
) -> None:
    anyio_backend = f"\n@pytest.fixture\ndef anyio_backend():\n    return {backend!r}\n"
    test = f"{marker}\nasync def test_payment(paystar, paystar_sandbox):{PAYMENT_TEST_BODY}"
    run(pytester, IMPORTS + anyio_backend + test, mode=mode).assert_outcomes(passed=1)


def test_paystar_sandbox_is_new_for_each_test(pytester: Pytester) -> None:
    source = "".join(f"async def test_{number}(paystar, paystar_sandbox):{PAYMENT_TEST_BODY}" for number in "12")
    run(pytester, IMPORTS + source).assert_outcomes(passed=2)


def test_paystar_fixture_works_in_class_and_parametrized_test(pytester: Pytester) -> None:
    source = """
    import pytest

    class TestWallet:
        @pytest.mark.parametrize("amount", [1_000, 2_000])
        async def test_balance(self, paystar, paystar_sandbox, amount):
            paystar_sandbox.set_balance(paystar_sandbox.wallet.hashid, amount)
            assert (await paystar.wallet.balance()).total_amount == amount
    """
    run(pytester, source).assert_outcomes(passed=2)


def test_paystar_is_closed_in_loop_of_failed_test(pytester: Pytester) -> None:
    source = """
    import asyncio
    import pytest
    from paystar_async import Paystar

    closed = []

    @pytest.fixture(autouse=True)
    def recorded(monkeypatch):
        aclose = Paystar.aclose
        async def recording(self):
            closed.append(asyncio.get_running_loop())
            await aclose(self)
        monkeypatch.setattr(Paystar, "aclose", recording)

    loops = []

    async def test_failure(paystar):
        loops.append(asyncio.get_running_loop())
        await paystar.wallet.balance()
        assert False, "expected failure"

    def test_closed():
        assert closed == loops != []
    """
    result = run(pytester, source)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*expected failure*"])


def test_paystar_fixture_works_in_sync_test_with_own_loop(pytester: Pytester) -> None:
    source = """
    import asyncio

    def test_balance(paystar, paystar_sandbox):
        async def balance():
            async with paystar:
                await paystar.payments.start(amount=50_000, order_id="1", callback="https://shop.example/back")
                return (await paystar.wallet.balance()).total_amount

        assert asyncio.run(balance()) == paystar_sandbox.settings.wallet_opening
    """
    run(pytester, source).assert_outcomes(passed=1)


def test_paystar_clock_advances_keys_orders_and_sleepers(pytester: Pytester) -> None:
    source = f"""
    {IMPORTS.splitlines()[1]}
    import asyncio
    from paystar_async.payments import Expired
    from paystar_async.sandbox.clock import SandboxClock

    async def test_order_expires(paystar, paystar_sandbox, paystar_clock):
        started = await paystar.payments.start(amount=50_000, order_id="1", callback="https://shop.example/back")
        fields = paystar_sandbox.pay(started.url)
        paystar_clock.advance(11 * 60)
        assert isinstance((await paystar.payments.confirm(Callback.parse(fields))).outcome, Expired)

    async def test_key_expires(paystar, paystar_sandbox, paystar_clock):
        before = await paystar.wallet.balance()
        paystar_clock.advance(86_400)
        assert await paystar.wallet.balance() == before
        assert paystar_sandbox.stats["refreshes"]["inquiry"] + paystar_sandbox.stats["refreshes"]["wallet"] >= 1

    async def test_sleepers_wake(paystar_clock):
        sleeper = asyncio.create_task(paystar_clock.sleep(3_600))
        await asyncio.sleep(0)
        paystar_clock.advance(3_600)
        await asyncio.wait_for(sleeper, 30)

    def test_jump_changes_time_of_day_only(paystar_clock):
        assert isinstance(paystar_clock, SandboxClock)
        time_before, monotonic_before = paystar_clock.time(), paystar_clock.monotonic()
        paystar_clock.jump(-86_400)
        assert paystar_clock.time() < time_before - 86_000
        assert 0 <= paystar_clock.monotonic() - monotonic_before < 3_600
    """
    run(pytester, source).assert_outcomes(passed=4)


def test_paystar_sandbox_fail_injects_fault(pytester: Pytester) -> None:
    source = """
    import pytest
    from paystar_async import WalletTransfer
    from paystar_async.errors import NoResponse

    async def test_response_is_lost(paystar, paystar_sandbox):
        paystar_sandbox.fail("wallet.settle", "reset_after", times=1)
        transfer = WalletTransfer(amount=50_000, destination_number=paystar_sandbox.people[0].iban, track_id="t-1",
                                  destination_firstname="Ali", destination_lastname="Ahmadi")
        with pytest.raises(NoResponse):
            await paystar.wallet.settle(transfers=[transfer])
        assert paystar_sandbox.ledger["t-1"].count == 1
    """
    run(pytester, source).assert_outcomes(passed=1)


CLIENT_CALL = """
import pytest
from paystar_async import Gateway, Paystar
from paystar_async.errors import ConfigurationError

async def call_inquiry(**options):
    async with Paystar(gateway=Gateway(id="g", sign_key="k"), max_retries=0, **options) as client:
        await client.gateway.inquiry(ref_num="r")
"""


def test_offline_client_without_engine_calls_loopback_only(pytester: Pytester) -> None:
    source = CLIENT_CALL + (
        """
from paystar_async.errors import NotSent, PaystarError
from paystar_async.sandbox.server import running

async def test_real_service(paystar_sandbox):
    with pytest.raises(ConfigurationError, match="core.paystar.ir; nothing was sent") as raised:
        await call_inquiry()
    assert "engine=paystar_sandbox.engine()" in raised.value.hint

@pytest.mark.paystar_offline
async def test_marker():
    with pytest.raises(ConfigurationError, match="evil.example"):
        await call_inquiry(base_url="https://127.0.0.1.evil.example/api")

async def test_loopback_server(paystar_offline, paystar_sandbox):
    with running(paystar_sandbox) as base_url:
        with pytest.raises(PaystarError, match="gateway.inquiry"):
            await call_inquiry(base_url=base_url)

async def test_passed_engine(paystar_sandbox):
    with pytest.raises(PaystarError, match="gateway.inquiry"):
        await call_inquiry(engine=paystar_sandbox.engine())
"""
    )
    run(pytester, source).assert_outcomes(passed=4)


def test_offline_engine_abandons_engine_that_has_sockets() -> None:
    """A client whose event loop was closed closes its sockets by ``abandon``."""
    from paystar_async.testing import _LoopbackEngine  # pyright: ignore[reportPrivateUsage]
    from paystar_async.transport.auto import AutoEngine

    abandoned: list[str] = []

    class Engine(AutoEngine):
        def abandon(self) -> None:
            abandoned.append("sockets")

    _LoopbackEngine(Engine(connections=1)).abandon()
    _LoopbackEngine(Sandbox().engine()).abandon()
    assert abandoned == ["sockets"]


def test_offline_setting_guards_every_test(pytester: Pytester) -> None:
    pytester.makeconftest(
        "import pytest\nfrom paystar_async.transport.auto import AutoEngine\n"
        "@pytest.fixture(autouse=True)\ndef no_network(monkeypatch):\n"
        "    async def send(*_):\n        raise KeyError('a request was sent')\n"
        "    monkeypatch.setattr(AutoEngine, 'send', send)\n"
    )
    test = "async def test_call():\n    with pytest.raises({error}):\n        await call_inquiry()\n"
    unguarded = CLIENT_CALL + test.format(error="KeyError")
    guarded = CLIENT_CALL + test.format(error="ConfigurationError")
    run(pytester, unguarded).assert_outcomes(passed=1)
    run(pytester, guarded, ini="paystar_offline = true").assert_outcomes(passed=1)


PAYMENT_TEST = """
async def run_payment(sandbox):
    async with Paystar.from_env() as client:
        started = await client.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
        payment = await client.payments.confirm(Callback.parse(sandbox.pay(started.url)))
        assert isinstance(payment.outcome, Verified)
        assert sandbox.stats["requests"]["gateway.verify"] == 1
"""


def test_paystar_env_leads_every_loop_thread_and_process(pytester: Pytester) -> None:
    source = (
        "import asyncio, os, subprocess, sys, threading\nfrom pathlib import Path\nfrom paystar_async import Paystar\n"
        f"{IMPORTS}{PAYMENT_TEST}"
        """
async def test_loop_of_test(paystar_env):
    await run_payment(paystar_env)

def test_own_loop(paystar_env, paystar_sandbox):
    assert paystar_env is paystar_sandbox
    asyncio.run(run_payment(paystar_env))

def test_thread(paystar_env):
    thread = threading.Thread(target=lambda: asyncio.run(run_payment(paystar_env)))
    thread.start()
    thread.join()
    assert paystar_env.stats["requests"]["gateway.verify"] == 1

def test_process(paystar_env):
    code = "import asyncio; from paystar_async import Paystar; print(asyncio.run(Paystar.from_env().wallet.balance()))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert str(paystar_env.settings.wallet_opening) in process.stdout, process.stderr
    assert paystar_env.stats["requests"] == {"wallet.balance": 1}

async def test_orders_are_in_new_file(paystar_env, tmp_path):
    assert Path(os.environ["PAYSTAR_DATABASE"]).parent == tmp_path
    assert not list(tmp_path.iterdir())
    await run_payment(paystar_env)
    assert (tmp_path / "paystar.db").exists()
"""
    )
    run(pytester, source).assert_outcomes(passed=5)


def test_paystar_env_leads_blocking_client_of_reloaded_module(pytester: Pytester) -> None:
    """Celery tasks and WSGI views use a client that is created when their module is imported."""
    pytester.makepyfile(
        jobs="from paystar_async.blocking import BlockingPaystar\n"
        "paystar = BlockingPaystar.from_env()\n"
        "def balance():\n    return paystar.wallet.balance().total_amount\n"
    )
    source = """
import importlib, threading
import jobs
import pytest

@pytest.fixture
def worker(paystar_env):
    yield importlib.reload(jobs)
    jobs.paystar.close()

@pytest.mark.parametrize("amount", [1_000, 2_000])
def test_threads_of_worker(worker, paystar_env, amount):
    paystar_env.set_balance(paystar_env.wallet.hashid, amount)
    balances = []
    threads = [threading.Thread(target=lambda: balances.append(worker.balance())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert balances == [amount] * 4
"""
    run(pytester, source).assert_outcomes(passed=2)


DJANGO_SHOP = """
from paystar_async import Gateway
from django.http import HttpResponseRedirect
from django.urls import path
from paystar_async.contrib.django import PaymentCallbackView, get_blocking_paystar

SECRET_KEY = "only for tests"
ALLOWED_HOSTS = ["testserver"]
INSTALLED_APPS = ["paystar_async.contrib.django"]
ROOT_URLCONF = "shop"
USE_TZ = True
PAYSTAR = {
    "gateway": Gateway(id="real", sign_key="real"),
    "base_url": "https://paystar.example/api",
    "database": "/real/orders.db",
    "keys": "redis://real/0",
    "proxy": "http://real:8080",
    "timeout": 7,
}

def buy(request):
    callback = request.build_absolute_uri("/pay/callback")
    started = get_blocking_paystar().payments.start(amount=50_000, order_id="o-1", callback=callback)
    return HttpResponseRedirect(started.url)

def on_payment(request, payment):
    return f"/orders/{payment.order_id}"

urlpatterns = [path("buy", buy), path("pay/callback", PaymentCallbackView.as_view(on_payment=on_payment))]
"""


def test_paystar_env_leads_client_of_django_process(pytester: Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's client lives as long as the process, and still each test has its own sandbox."""
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "shop")
    monkeypatch.setenv("PYTHONPATH", f"{pytester.path}:{Path(__file__).parents[1]}")
    pytester.makeini(SETTINGS)
    pytester.makeconftest("import django\ndjango.setup()\n")
    pytester.makepyfile(
        shop=DJANGO_SHOP,
        test_shop="""
import pytest
from django.conf import settings
from django.test import Client
from paystar_async.contrib.django import get_blocking_paystar, payment_verified

@pytest.mark.parametrize("choice", ["pay", "cancel", "pay"])
def test_payer_comes_back(paystar_env, choice):
    verified = []

    def deliver(payment, **_):
        verified.append(payment.order_id)

    payment_verified.connect(deliver)
    assert settings.PAYSTAR == {"timeout": 7}
    browser = Client()
    fields = paystar_env.pay(browser.post("/buy")["location"], choice)
    for _ in range(2):
        assert browser.get("/pay/callback", fields)["location"] == "/orders/o-1"
    get_blocking_paystar().close()  # waits for receivers
    assert verified == (["o-1"] if choice == "pay" else [])
    payment_verified.disconnect(deliver)

def test_settings_are_restored():
    assert settings.PAYSTAR["keys"] == "redis://real/0"
""",
    )
    plugin_options = ("-p", "no:paystar", "-p", "paystar_async.testing", "-p", "no:cacheprovider")
    pytester.runpytest_subprocess(*plugin_options).assert_outcomes(passed=4)


def test_paystar_env_replaces_real_credentials(pytester: Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = pytester.path / "secret"
    secret.write_text("real-canary")
    for name in ("PAYSTAR_GATEWAY_ID", "PAYSTAR_KEYS", "PAYSTAR_PROXY", "PAYSTAR_GATEWAY_DIRECT", "PAYSTAR_DATABASE"):
        monkeypatch.setenv(name, "real-canary")
    for name in ("PAYSTAR_SIGN_KEY", "PAYSTAR_WALLET_PASSWORD", "PAYSTAR_BASE_URL"):
        monkeypatch.setenv(f"{name}_FILE", str(secret))
    monkeypatch.setenv("PAYSTAR_TIMEOUT", "7")
    monkeypatch.setenv("PAYSTAR_CALLBACK", "of the application")
    source = (
        f"import os\nfrom paystar_async import Paystar\n{IMPORTS}{PAYMENT_TEST}"
        """
async def test_payment(paystar_env):
    await run_payment(paystar_env)
    assert "real-canary" not in os.environ.values()
    assert not any(name.endswith("_FILE") for name in os.environ if name.startswith("PAYSTAR_"))
    assert (os.environ["PAYSTAR_TIMEOUT"], os.environ["PAYSTAR_CALLBACK"]) == ("7", "of the application")

def test_environment_is_restored():
    assert os.environ["PAYSTAR_GATEWAY_ID"] == "real-canary"
    assert "PAYSTAR_WALLET_SIGN_KEY" not in os.environ
"""
    )
    run(pytester, source).assert_outcomes(passed=2)


def test_paystar_env_client_follows_clock_and_never_leaves(pytester: Pytester) -> None:
    source = """
import asyncio, httpx, os, pytest
from paystar_async import Paystar
from paystar_async.errors import ConfigurationError

addresses = []

async def test_key_expires_in_client_too(paystar_env, paystar_clock):
    addresses.append(os.environ["PAYSTAR_BASE_URL"])
    async with Paystar.from_env() as client:
        assert client._clock is paystar_clock
        await client.keys.refresh_inquiry_key()
        paystar_clock.advance(86_300)
        await client.wallet.balance()
    assert paystar_env.stats["refreshes"]["inquiry"] == 2

async def test_real_service(paystar_env):
    addresses.append(os.environ["PAYSTAR_BASE_URL"])
    async with Paystar.from_env(base_url="https://core.paystar.ir/api") as client:
        with pytest.raises(ConfigurationError, match="nothing was sent"):
            await client.wallet.balance()

def test_address_stays_and_serves_no_test():
    assert len(set(addresses)) == 1
    assert httpx.get(addresses[0] + "/wallet/balance").status_code == 503

def test_client_clock_is_restored():
    assert Paystar.from_env(base_url="https://core.paystar.ir/api")._clock.__class__.__name__ == "SystemClock"
"""
    run(pytester, source).assert_outcomes(passed=4)


def test_plugin_imports_nothing_unless_used(pytester: Pytester) -> None:
    source = """
    import sys

    def test_imports():
        imported = {name for name in sys.modules if name.startswith("paystar_async")}
        assert imported == {"paystar_async", "paystar_async._version", "paystar_async.testing"}
    """
    pytester.makepyfile(source)
    pytester.runpytest_subprocess("-p", "no:paystar", "-p", "paystar_async.testing").assert_outcomes(passed=1)


def test_plugin_lists_markers_and_fixtures(pytester: Pytester) -> None:
    listed = run(pytester, "", "--markers").stdout.str() + run(pytester, "", "--fixtures").stdout.str()
    for name in (
        "paystar_offline:",
        "paystar_sandbox",
        "paystar_env",
        "paystar_clock",
        "client of ``paystar_sandbox``",
    ):
        assert name in listed
    assert "_paystar_server" not in listed


def test_plugin_is_an_entry_point() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'\[project\.entry-points\.pytest11\]\npaystar = "paystar_async\.testing"', text)
