"""Fixtures: a sandbox in the setting ``PAYSTAR``, and receivers of ``payment_verified``."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from paystar_async.contrib.django import payment_verified
from paystar_async.sandbox import Sandbox
from tests.blocking.support import loop_threads


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox()
    options = {
        "application": sandbox.application,
        "gateway": sandbox.gateway,
        "wallet": sandbox.wallet,
        "engine": sandbox.engine(),
        "database": tmp_path / "orders.db",
    }
    with override_settings(PAYSTAR=options):
        yield sandbox
    assert not loop_threads()


@pytest.fixture
def connected() -> Iterator[Callable[[Callable[..., object]], None]]:
    """Return a function that connects a receiver of ``payment_verified`` for the test."""
    receivers: list[Callable[..., object]] = []

    def connect(receiver: Callable[..., object]) -> None:
        payment_verified.connect(receiver, weak=False)
        receivers.append(receiver)

    yield connect
    for receiver in receivers:
        payment_verified.disconnect(receiver)
