"""The demo's counterpart: a sandbox in a process of its own, its controls, and a payer with a browser."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from attrs import frozen

from paystar_async.errors import ConfigurationError, PaystarError
from paystar_async.table import TABLE

KEY_LIFE = 86_400
_BASE_URL = "export PAYSTAR_BASE_URL="

_LOST: tuple[Mapping[str, Any], ...] = (
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "truncated"},
    {"kind": "server_error"},
    {"kind": "server_error", "executed": True},
    {"kind": "status_11"},
    {"kind": "html"},
    {"kind": "unavailable"},
)
"""Answers that leave it open what happened: half of these calls are carried out, half are not."""
_REFUSED: Mapping[str, Any] = {"kind": "funds"}
"""An answer that leaves nothing open: it was not carried out."""
_PAYING = ("transfers.settle", "wallet.settle")


@frozen
class DemoSandbox:
    """A running sandbox.

    Attributes:
        base_url: where clients find it.
        http: carries what is no client's: controls and the payer's browser.
    """

    base_url: str
    http: httpx.AsyncClient

    async def read(self, control: str) -> Any:
        """What a control says."""
        return (await self._ask("GET", f"/_sandbox/{control}")).json()

    async def do(self, control: str, **wish: Any) -> Any:
        """Have a control do something."""
        return (await self._ask("POST", f"/_sandbox/{control}", json=wish)).json()

    async def _ask(self, method: str, url: str, **content: Any) -> httpx.Response:
        try:
            answer = await self.http.request(method, url, **content)
            if answer.status_code < HTTPStatus.BAD_REQUEST:
                return answer
            reason = f"HTTP {answer.status_code} {answer.text[:200]}"
        except httpx.HTTPError as problem:
            reason = f"{type(problem).__name__}: {problem}"
        raise PaystarError(f"the sandbox does not answer {method} {url}: {reason}")

    async def spoil(self, rate: float) -> None:
        """Let this part of all answers go wrong, in every way, wherever keys are not renewed.

        Renewals are left alone: one whose answer is lost must be made again, and the count of renewals, which is to
        prove that each key is renewed once, would be 2.
        """
        for row in TABLE:
            if row.kind == "call" and not row.renews:
                kinds = (*_LOST, _REFUSED) if row.id in _PAYING else _LOST
                share = rate / len(kinds)
                await asyncio.gather(*(self.do("faults", endpoint=row.id, rate=share, **kind) for kind in kinds))

    async def expire_keys(self) -> None:
        """Let so much time pass that every key given out so far has ended."""
        await self.do("clock", advance=KEY_LIFE + 60)

    async def pay(self, url: str) -> dict[str, str]:
        """Be the payer: open the payment page, press the button; gives what the browser brings to the callback."""
        await self._ask("GET", url)
        page, _, query = url.partition("?")
        back = await self._ask("POST", page, data={**dict(parse_qsl(query)), "choice": "pay"})
        return dict(parse_qsl(urlsplit(back.headers["location"]).query))


@contextlib.asynccontextmanager
async def own_sandbox(seed: int) -> AsyncGenerator[DemoSandbox]:
    """Start a sandbox on a free port; it ends with the block.

    Raises:
        ConfigurationError: it does not start; it says itself why, on stderr.
    """
    command = ("-m", "paystar_async", "sandbox", "--port", "0", "--seed", str(seed), "--key-life", str(KEY_LIFE))
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    try:
        base_url = await _base_url(process)
        home = base_url.removesuffix("/api")
        async with httpx.AsyncClient(base_url=home, trust_env=False, timeout=30) as http:
            yield DemoSandbox(base_url, http)
    finally:
        with contextlib.suppress(ProcessLookupError):  # Ctrl-C reaches it too, and it may be gone
            process.terminate()
        await process.communicate()


async def _base_url(process: asyncio.subprocess.Process) -> str:
    if process.stdout is not None:
        async for line in process.stdout:
            text = line.decode().strip()
            if text.startswith(_BASE_URL):
                return text.removeprefix(_BASE_URL)
    raise ConfigurationError("the sandbox did not start", hint="try: paystar sandbox --port 0")
