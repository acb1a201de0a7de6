"""A worker that ends by itself fails the batch."""

from pathlib import Path

import pytest

from paystar_async.cli.demo.batch import BatchRun
from paystar_async.errors import PaystarError


async def test_batch_run_worker_ending_early_raises(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def expire_keys() -> None: ...

    async def is_key_refreshed() -> bool:
        return False

    monkeypatch.setattr("sys.executable", "/bin/true")
    batch_run = BatchRun(
        settings={},
        transfer_count=3,
        expire_keys=expire_keys,
        is_key_refreshed=is_key_refreshed,
        on_progress=lambda _: None,
    )
    with pytest.raises(PaystarError, match="too early"):
        await batch_run.run()
    assert batch_run.kills == 0
