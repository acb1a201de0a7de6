"""The pytest plugin, by tests of a user's, run in a pytest of their own."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SETTINGS = "[pytest]\nfilterwarnings = error\nasyncio_default_fixture_loop_scope = function\n"
Pytester = pytest.Pytester

PAYS = """
    started = await paystar.payments.start(amount=50_000, order_id="o-1", callback="https://shop.example/back")
    payment = await paystar.payments.confirm(Callback.parse(paystar_sandbox.pay(started.url)))
    assert isinstance(payment.outcome, Verified)
"""
IMPORTS = "import pytest\nfrom paystar_async.payments import Callback, Verified\n"


class Modules:
    """Remembers what a pytest inside this one imported; it would be forgotten, and be imported anew beside it."""

    def __init__(self) -> None:
        self._seen: dict[str, ModuleType] = {}

    def pytest_sessionfinish(self) -> None:
        self._seen |= {name: one for name, one in sys.modules.items() if name.startswith("paystar_async")}

    def put_back(self) -> None:
        sys.modules.update(self._seen)


MODULES = Modules()


@pytest.fixture(autouse=True)
def _a_pytest_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    """It is told nothing of this one's options; and it ends after ``pytester``, which forgets modules."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    yield
    MODULES.put_back()


def run(pytester: Pytester, source: str, *arguments: str, mode: str = "auto", ini: str = "") -> pytest.RunResult:
    """What a pytest of its own says to these tests."""
    pytester.makeini(f"{SETTINGS}asyncio_mode = {mode}\n{ini}")
    pytester.makepyfile(source)
    ours = ("-p", "no:paystar", "-p", "paystar_async.testing", "-p", "no:cacheprovider")
    result = pytester.runpytest_inprocess(*ours, *arguments, plugins=[MODULES])
    MODULES.put_back()
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
def test_a_payment_is_tested_with_every_plugin_that_runs_async_tests(
    pytester: Pytester, mode: str, marker: str, backend: str
) -> None:
    anyio_backend = f"\n@pytest.fixture\ndef anyio_backend():\n    return {backend!r}\n"
    test = f"{marker}\nasync def test_a_payer_pays(paystar, paystar_sandbox):{PAYS}"
    run(pytester, IMPORTS + anyio_backend + test, mode=mode).assert_outcomes(passed=1)


def test_each_test_has_a_sandbox_of_its_own(pytester: Pytester) -> None:
    twice = "".join(f"async def test_{number}(paystar, paystar_sandbox):{PAYS}" for number in "12")
    run(pytester, IMPORTS + twice).assert_outcomes(passed=2)


def test_a_method_of_a_class_and_a_parametrized_test_may_ask_for_it(pytester: Pytester) -> None:
    source = """
    import pytest

    class TestWallet:
        @pytest.mark.parametrize("amount", [1_000, 2_000])
        async def test_balance(self, paystar, paystar_sandbox, amount):
            paystar_sandbox.set_balance(paystar_sandbox.wallet.hashid, amount)
            assert (await paystar.wallet.balance()).total_amount == amount
    """
    run(pytester, source).assert_outcomes(passed=2)


def test_the_client_is_closed_in_the_loop_of_the_test_and_a_failure_stays_a_failure(pytester: Pytester) -> None:
    source = """
    import asyncio
    import pytest
    from paystar_async import Paystar

    closed = []

    @pytest.fixture(autouse=True)
    def noted(monkeypatch):
        aclose = Paystar.aclose
        async def noting(self):
            closed.append(asyncio.get_running_loop())
            await aclose(self)
        monkeypatch.setattr(Paystar, "aclose", noting)

    loops = []

    async def test_it_fails(paystar):
        loops.append(asyncio.get_running_loop())
        await paystar.wallet.balance()
        assert False, "as it must"

    def test_it_was_closed():
        assert closed == loops != []
    """
    result = run(pytester, source)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*as it must*"])


def test_a_test_that_is_not_async_may_run_a_loop_of_its_own(pytester: Pytester) -> None:
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


def test_the_clock_is_put_forward_for_keys_orders_and_sleepers_alike(pytester: Pytester) -> None:
    source = f"""
    {IMPORTS.splitlines()[1]}
    import asyncio
    from paystar_async.payments import Expired
    from paystar_async.sandbox.clock import SandboxClock

    async def test_too_late(paystar, paystar_sandbox, paystar_clock):
        started = await paystar.payments.start(amount=50_000, order_id="1", callback="https://shop.example/back")
        fields = paystar_sandbox.pay(started.url)
        paystar_clock.advance(11 * 60)
        assert isinstance((await paystar.payments.confirm(Callback.parse(fields))).outcome, Expired)

    async def test_a_key_expires(paystar, paystar_sandbox, paystar_clock):
        before = await paystar.wallet.balance()
        paystar_clock.advance(86_400)
        assert await paystar.wallet.balance() == before
        assert paystar_sandbox.stats["refreshes"]["inquiry"] + paystar_sandbox.stats["refreshes"]["wallet"] >= 1

    async def test_sleepers_wake(paystar_clock):
        sleeper = asyncio.create_task(paystar_clock.sleep(3_600))
        await asyncio.sleep(0)
        paystar_clock.advance(3_600)
        await asyncio.wait_for(sleeper, 30)

    def test_the_time_of_day_jumps_and_no_time_passes(paystar_clock):
        assert isinstance(paystar_clock, SandboxClock)
        before, run = paystar_clock.time(), paystar_clock.monotonic()
        paystar_clock.jump(-86_400)
        assert paystar_clock.time() < before - 86_000
        assert 0 <= paystar_clock.monotonic() - run < 3_600
    """
    run(pytester, source).assert_outcomes(passed=4)


@pytest.mark.parametrize("source", [one for one in EXAMPLES if "paystar_sandbox)" in one])
def test_an_example_of_the_readme_passes_as_it_stands_in_ten_lines(pytester: Pytester, source: str) -> None:
    run(pytester, source).assert_outcomes(passed=1)
    assert len(source.split("async def")[1].splitlines()) <= 10


def test_failures_are_on_tap(pytester: Pytester) -> None:
    source = """
    import pytest
    from paystar_async import WalletTransfer
    from paystar_async.errors import Unanswered

    async def test_an_answer_is_lost(paystar, paystar_sandbox):
        paystar_sandbox.fail("wallet.settle", "reset_after", times=1)
        one = WalletTransfer(amount=50_000, destination_number=paystar_sandbox.people[0].iban, track_id="t-1",
                             destination_firstname="Ali", destination_lastname="Ahmadi")
        with pytest.raises(Unanswered):
            await paystar.wallet.settle(transfers=[one])
        assert paystar_sandbox.ledger["t-1"].count == 1
    """
    run(pytester, source).assert_outcomes(passed=1)


REACHES = """
import pytest
from paystar_async import Gateway, Paystar
from paystar_async.errors import ConfigurationError

async def reach(**options):
    async with Paystar(gateway=Gateway(id="g", sign_key="k"), max_retries=0, **options) as client:
        await client.gateway.inquiry(ref_num="r")
"""


def test_a_client_without_an_engine_reaches_nothing_but_this_machine(pytester: Pytester) -> None:
    source = REACHES + (
        """
from paystar_async.errors import NotSent, PaystarError
from paystar_async.sandbox.server import running

async def test_the_real_service(paystar_sandbox):
    with pytest.raises(ConfigurationError, match="core.paystar.ir; nothing was sent") as caught:
        await reach()
    assert "engine=paystar_sandbox.engine()" in caught.value.hint

@pytest.mark.paystar_offline
async def test_the_marker_is_enough():
    with pytest.raises(ConfigurationError, match="evil.example"):
        await reach(base_url="https://127.0.0.1.evil.example/api")

async def test_a_server_on_this_machine(paystar_offline, paystar_sandbox):
    with running(paystar_sandbox) as base_url:
        with pytest.raises(PaystarError, match="gateway.inquiry"):
            await reach(base_url=base_url)

async def test_an_engine_that_is_given_is_the_tests_own_affair(paystar_sandbox):
    with pytest.raises(PaystarError, match="gateway.inquiry"):
        await reach(engine=paystar_sandbox.engine())
"""
    )
    run(pytester, source).assert_outcomes(passed=4)


def test_the_guard_is_for_those_who_ask_and_a_setting_asks_for_all(pytester: Pytester) -> None:
    pytester.makeconftest(
        "import pytest\nfrom paystar_async.transport.auto import AutoEngine\n"
        "@pytest.fixture(autouse=True)\ndef no_wire(monkeypatch):\n"
        "    async def send(*_):\n        raise KeyError('the wire was reached')\n"
        "    monkeypatch.setattr(AutoEngine, 'send', send)\n"
    )
    unguarded = f"{REACHES}\nasync def test_it():\n    with pytest.raises(KeyError):\n        await reach()\n"
    guarded = f"{REACHES}\nasync def test_it():\n    with pytest.raises(ConfigurationError):\n        await reach()\n"
    run(pytester, unguarded).assert_outcomes(passed=1)
    run(pytester, guarded, ini="paystar_offline = true").assert_outcomes(passed=1)


def test_the_plugin_costs_a_run_without_it_nothing(pytester: Pytester) -> None:
    source = """
    import sys

    def test_nothing_was_imported():
        ours = {name for name in sys.modules if name.startswith("paystar_async")}
        assert ours == {"paystar_async", "paystar_async.version", "paystar_async.testing"}
    """
    pytester.makepyfile(source)
    pytester.runpytest_subprocess("-p", "no:paystar", "-p", "paystar_async.testing").assert_outcomes(passed=1)


def test_the_markers_and_the_fixtures_are_listed(pytester: Pytester) -> None:
    listed = run(pytester, "", "--markers").stdout.str() + run(pytester, "", "--fixtures").stdout.str()
    for name in ("paystar_offline:", "paystar_sandbox", "paystar_clock", "A client of ``paystar_sandbox``"):
        assert name in listed


def test_it_is_an_entry_point() -> None:
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'\[project\.entry-points\.pytest11\]\npaystar = "paystar_async\.testing"', text)
