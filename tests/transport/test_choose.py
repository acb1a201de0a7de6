"""From what a client is given to an engine."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx
import pytest

from paystar_async.errors import ConfigurationError
from paystar_async.transport.choose import check_engine, make_engine
from paystar_async.transport.engine import Headers
from paystar_async.transport.httpx import HttpxEngine


class Own:
    """An engine of one's own."""

    fences = False

    async def send(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes | None,
        timeout: float,
        before_send: Callable[[], None] | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        return 200, {}, b""

    async def aclose(self) -> None: ...


def test_its_own_pool_by_name() -> None:
    check_engine("httpx")
    assert isinstance(make_engine("httpx", 4), HttpxEngine)
    assert make_engine("httpx", 4).fences


@pytest.mark.parametrize("name", ["", "curl", "HTTPX"])
def test_another_name_is_refused(name: Any) -> None:
    with pytest.raises(ConfigurationError, match="no engine is named"):
        check_engine(name)


def test_an_engine_is_used_as_it_is() -> None:
    own = Own()
    check_engine(own)
    assert make_engine(own, 4) is own


@pytest.mark.parametrize(
    "given", [httpx.AsyncClient(), httpx.AsyncHTTPTransport(), httpx.MockTransport(lambda _: httpx.Response(200))]
)
def test_what_httpx_knows_is_carried_by_httpx(given: Any) -> None:
    check_engine(given)
    assert isinstance(make_engine(given, 4), HttpxEngine)
