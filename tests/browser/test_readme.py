"""The README's shop, as a newcomer runs it: ``paystar sandbox -- uvicorn``, and a browser."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT
from tests.project.guides import read_guide
from tests.support import environment_without_paystar

pytestmark = pytest.mark.browser


def test_readme_shop_is_paid_in_browser(page: Page, tmp_path: Path) -> None:
    example = next(block for block in read_guide(ROOT / "README.md").blocks if "FastAPI(" in block.source)
    (tmp_path / "shop.py").write_text(example.source, encoding="utf-8")
    environment = environment_without_paystar()
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "paystar_async", "sandbox", "--", sys.executable, "-m", "uvicorn"]
    with subprocess.Popen(
        [*command, "shop:app", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env=environment,
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        try:
            address = next(match[1] for line in lines if (match := re.search(r"running on (http://\S+)", line)))
            page.goto(f"{address}/buy")
            page.locator("button[value=pay]").click()
            expect(page.get_by_text("The payment was made.")).to_be_visible()
        finally:
            process.terminate()
        output = "".join(lines)
    assert len(re.findall(r"^paid: \w+ 50000$", output, re.MULTILINE)) == 1
