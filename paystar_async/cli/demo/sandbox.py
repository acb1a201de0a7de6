"""The demo's sandbox: a sandbox process, its controls, and a payer with a browser."""

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

KEY_LIFETIME_SECONDS = 86_400
HTTP_TIMEOUT_SECONDS = 30
_BASE_URL_PREFIX = "export PAYSTAR_BASE_URL="

_AMBIGUOUS_FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "reset_before"},
    {"kind": "reset_after"},
    {"kind": "truncated"},
    {"kind": "server_error"},
    {"kind": "server_error", "executed": True},
    {"kind": "status_11"},
    {"kind": "html"},
    {"kind": "unavailable"},
)
"""Faults that leave it unknown whether the call was executed; half of them execute it."""
_REFUSAL_FAULT: Mapping[str, Any] = {"kind": "funds"}
"""A fault that proves that the call was not executed."""
_SETTLE_ENDPOINTS = ("transfers.settle", "wallet.settle")


@frozen
class DemoSandbox:
    """A running sandbox.

    Attributes:
        base_url: the base URL of its API.
        http: an HTTP client for the sandbox's controls and the payer's browser.
    """

    base_url: str
    http: httpx.AsyncClient

    async def read_control(self, control: str) -> Any:
        """Return the JSON of a control."""
        return (await self._request("GET", f"/_sandbox/{control}")).json()

    async def change_control(self, control: str, **changes: Any) -> Any:
        """Post changes to a control and return its JSON."""
        return (await self._request("POST", f"/_sandbox/{control}", json=changes)).json()

    async def _request(self, method: str, url: str, **content: Any) -> httpx.Response:
        try:
            response = await self.http.request(method, url, **content)
            if response.status_code < HTTPStatus.BAD_REQUEST:
                return response
            reason = f"HTTP {response.status_code} {response.text[:200]}"
        except httpx.HTTPError as error:
            reason = f"{type(error).__name__}: {error}"
        raise PaystarError(f"the sandbox failed to respond to {method} {url}: {reason}")

    async def inject_faults(self, rate: float) -> None:
        """Make this part of all responses fail, spread over all kinds of faults, except key refreshes.

        A refresh whose response is lost must be repeated, and the demo proves that each key is refreshed only once.
        """
        for endpoint in TABLE:
            if endpoint.kind != "call" or endpoint.refresh_token_field:
                continue
            is_settle = endpoint.id in _SETTLE_ENDPOINTS
            faults = (*_AMBIGUOUS_FAULTS, _REFUSAL_FAULT) if is_settle else _AMBIGUOUS_FAULTS
            share = rate / len(faults)
            await asyncio.gather(
                *(self.change_control("faults", endpoint=endpoint.id, rate=share, **fault) for fault in faults)
            )

    async def expire_keys(self) -> None:
        """Advance the sandbox's clock until every key has expired."""
        await self.change_control("clock", advance=KEY_LIFETIME_SECONDS + 60)

    async def pay(self, url: str) -> dict[str, str]:
        """Pay on the payment page and return the fields of the callback."""
        await self._request("GET", url)
        page, _, query = url.partition("?")
        redirect = await self._request("POST", page, data={**dict(parse_qsl(query)), "choice": "pay"})
        return dict(parse_qsl(urlsplit(redirect.headers["location"]).query))


@contextlib.asynccontextmanager
async def start_sandbox(seed: int) -> AsyncGenerator[DemoSandbox]:
    """Start a sandbox process on a free port; terminate it at the end of the block.

    Raises:
        ConfigurationError: the sandbox did not start; its stderr says why.
    """
    options = ("--port", "0", "--seed", str(seed), "--key-life", str(KEY_LIFETIME_SECONDS))
    command = ("-m", "paystar_async", "sandbox", *options)
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdout=asyncio.subprocess.PIPE)
    try:
        base_url = await _read_base_url(process)
        root = base_url.removesuffix("/api")
        async with httpx.AsyncClient(base_url=root, trust_env=False, timeout=HTTP_TIMEOUT_SECONDS) as http:
            yield DemoSandbox(base_url, http)
    finally:
        with contextlib.suppress(ProcessLookupError):  # Ctrl-C also reaches the process, which may have ended
            process.terminate()
        await process.communicate()


async def _read_base_url(process: asyncio.subprocess.Process) -> str:
    if process.stdout is not None:
        async for line in process.stdout:
            text = line.decode().strip()
            if text.startswith(_BASE_URL_PREFIX):
                return text.removeprefix(_BASE_URL_PREFIX)
    raise ConfigurationError("the sandbox did not start", hint="try: paystar sandbox --port 0")
