"""Run the probes of ``paystar conform``: announced, limited in their rate, recorded, and resumable."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from attrs import evolve, frozen

from paystar_async.cli.conform.probes import PROBES, Probe, ProbeContext
from paystar_async.cli.console import print_note
from paystar_async.client import Paystar
from paystar_async.config import LOOPBACK, read_application, read_crypto, read_gateway, read_setting, read_wallet
from paystar_async.conform.recorder import ShapeRecorder, read_observations
from paystar_async.credentials import BASE_URL, Application, Gateway, Realm, Wallet, without_refresh_tokens
from paystar_async.endpoint import Observation
from paystar_async.errors import ConfigurationError, NoResponse, NotSent, PaystarError, StatusError
from paystar_async.errors.text import visible
from paystar_async.keys.factory import make_key_store
from paystar_async.keys.store import KeyId
from paystar_async.models.base import Call
from paystar_async.runtime.clock import Clock, SystemClock
from paystar_async.values.secret import Secret

if TYPE_CHECKING:
    from paystar_async.transport.factory import EngineOption

PROBE_FACT = "probe"
"""The fact that names the probe of a recorded response."""
FINISHED = "conform.finished"
"""The endpoint of the record that ends a complete run."""
SANDBOX_CALLBACK = "https://shop.example/conform"
"""The callback URL of an order that is created in a sandbox on this machine."""


class ProbeRecorder(ShapeRecorder):
    """A recorder that adds the name of the running probe to each record.

    Attributes:
        probe: the name of the running probe.
        observations: the responses of this run.
    """

    probe = ""

    def __init__(self, path: Path, *, clock: Clock) -> None:
        super().__init__(path, clock=clock)
        self.observations: list[Observation] = []

    def record(self, observation: Observation) -> None:
        """Record an observation of the running probe."""
        observation.facts[PROBE_FACT] = self.probe
        self.observations.append(observation)
        super().record(observation)

    def finish(self) -> None:
        """Record that the run made every request, so that the next run begins with the first probe."""
        super().record(
            Observation(endpoint=FINISHED, http_status=0, status=None, sent="none", shape='"null"', facts={})
        )


@frozen(kw_only=True)
class RunOptions:
    """The options of a run.

    Attributes:
        record: the file of shapes, which also says which probes were made before.
        interval: seconds between two requests.
        refresh: whether keys may be refreshed.
        create: whether an order may be created.
        callback: the callback URL of the created order; may be None for a sandbox on this machine.
        subject: values for inquiries, by field name.
    """

    record: Path
    interval: float
    refresh: bool
    create: bool
    callback: str | None
    subject: Mapping[str, Any]


class ConformRun:
    """The probes that are still to be made with the configured accounts; those of an interrupted run are not repeated.

    Args:
        options: the options of the run.
        clock: the clock of the rate limit; the system's by default.
        engine: the engine of every client; the configured one by default.

    Raises:
        ConfigurationError: no account is configured, or a refreshed key would be lost.
    """

    def __init__(
        self, options: RunOptions, clock: Clock | None = None, *, engine: "EngineOption | None" = None
    ) -> None:
        self._options, self._clock, self._engine = options, clock or SystemClock(), engine
        self._application, self._wallet, self._gateway = read_application(), read_wallet(), read_gateway()
        accounts = {"application": self._application, "wallet": self._wallet, "gateway": self._gateway}
        if not any(accounts.values()):
            raise ConfigurationError("no account is configured", hint="see paystar doctor")
        is_local = urlsplit(read_setting("PAYSTAR_BASE_URL") or BASE_URL).hostname in LOOPBACK
        if options.refresh and not is_local and not read_setting("PAYSTAR_KEYS"):
            raise ConfigurationError(
                "--refresh needs PAYSTAR_KEYS: without a key store a new refresh token would be lost",
                hint="PAYSTAR_KEYS=keys.db",
            )
        if options.create and not is_local and options.callback is None:
            raise ConfigurationError(
                "--create needs --callback: a URL on the domain that is registered for the gateway",
                hint="--callback https://your.domain/back",
            )
        self._recorder = ProbeRecorder(options.record, clock=self._clock)
        earlier = read_observations(options.record)[0] if options.record.exists() else []
        ends = [index for index, observation in enumerate(earlier, 1) if observation.endpoint == FINISHED]
        self.observations: list[Observation] = earlier[ends[-1] :] if ends else earlier
        """The responses on record from a run that was interrupted; ``run`` adds its own."""
        recorded = {observation.facts.get(PROBE_FACT) for observation in self.observations}
        self.probes: Sequence[Probe] = [
            probe
            for probe in PROBES
            if accounts[probe.account] and self._is_allowed(probe) and probe.name not in recorded
        ]
        """The probes that ``run`` will make."""

    def _is_allowed(self, probe: Probe) -> bool:
        return probe.needs is None or (self._options.refresh if probe.needs == "refresh" else self._options.create)

    async def run(self) -> None:
        """Make the probes one after the other; a refusal is a result, and a missing response is noted.

        Raises:
            ConfigurationError: no probe got a response.
        """
        failure: PaystarError | None = None
        async with await self._make_configured_client() as paystar:
            context = ProbeContext(
                application=self._application,
                wallet=self._wallet,
                gateway=self._gateway,
                make_client=self._make_client,
                send=lambda call: self._send(paystar, call),
                wait=self._wait,
                subject=self._options.subject,
                callback=self._options.callback or SANDBOX_CALLBACK,
            )
            for number, probe in enumerate(self.probes, 1):
                print_note(f"{number} of {len(self.probes)}: {probe.announcement}")
                self._recorder.probe = probe.name
                try:
                    await probe.send(context)
                except (NotSent, NoResponse) as error:
                    failure = error
                    print_note(f"  no response: {visible(str(error))}; a later run makes this request")
                except StatusError as error:
                    print_note(f"  refused: {type(error).__name__}")
                except PaystarError as error:
                    print_note(f"  {visible(str(error))}")
        self.observations = [*self.observations, *self._recorder.observations]
        if failure is None:
            self._recorder.finish()
        elif not self.observations:
            raise ConfigurationError(f"no request got a response: {failure}", hint="see paystar doctor")

    async def _send(self, paystar: Paystar, call: Call[Any]) -> Any:
        await self._wait()
        return await paystar.send(call)

    async def _wait(self) -> None:
        if self._recorder.observations:
            await self._clock.sleep(self._options.interval)

    async def _make_configured_client(self) -> Paystar:
        if self._options.refresh:
            return self._make_client(self._application, self._gateway, self._wallet, keys=read_setting("PAYSTAR_KEYS"))
        application, wallet = await self._read_only_accounts()
        return self._make_client(application, self._gateway, wallet)

    async def _read_only_accounts(self) -> tuple[Application | None, Wallet | None]:
        """Return the accounts with the keys of the key store, and without refresh tokens."""
        location = read_setting("PAYSTAR_KEYS")
        store = make_key_store(location, self._clock, read_crypto())

        async def token(realm: Realm, account: str, seed: Secret | None) -> Secret | None:
            record = await store.load(KeyId(realm.value, account))
            return record.token if record is not None and record.token is not None else seed

        application, wallet = without_refresh_tokens(self._application, self._wallet)
        try:
            if application is not None:
                key = await token(Realm.APPLICATION, application.id, application.api_key)
                application = evolve(application, api_key=key)
            if wallet is not None:
                wallet = evolve(
                    wallet,
                    api_key=await token(Realm.WALLET, wallet.hashid, wallet.api_key),
                    inquiry_key=await token(Realm.INQUIRY, wallet.hashid, wallet.inquiry_key),
                )
        finally:
            await store.aclose()
        return application, wallet

    def _make_client(
        self,
        application: Application | None = None,
        gateway: Gateway | None = None,
        wallet: Wallet | None = None,
        keys: str | None = None,
    ) -> Paystar:
        engine: Any = {} if self._engine is None else {"engine": self._engine}
        return Paystar.from_env(
            application=application,
            gateway=gateway,
            wallet=wallet,
            keys=keys,
            database=None,
            max_retries=0,
            middleware=(self._recorder,),
            **engine,
        )
