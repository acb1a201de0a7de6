"""The Grafana dashboard and the alerts of the guide, compared with what Prometheus scrapes."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY

from paystar_async import Paystar
from paystar_async.contrib.opentelemetry import Metered
from paystar_async.errors import InsufficientBalance
from paystar_async.payments.models import OrderStatus
from paystar_async.payouts.models import TransferState
from paystar_async.runtime.events import Event, EventName
from paystar_async.sandbox import Sandbox
from tests.payouts.sandbox_clients import transfers
from tests.project.guides import DOCS, read_guide

PANELS: list[dict[str, Any]] = json.loads((DOCS / "grafana.json").read_text("utf-8"))["panels"]
CHARTS = [panel for panel in PANELS if panel["type"] != "row"]
ALERTS = [
    line
    for block in read_guide(DOCS / "metrics.md").blocks
    if block.language == "promql"
    for line in block.source.splitlines()
]
QUERIES: list[str] = [target["expr"] for chart in CHARTS for target in chart["targets"]] + ALERTS


@pytest_asyncio.fixture
async def exported(tmp_path: Path) -> dict[str, set[str]]:
    """Return the labels of each sample that Prometheus scrapes."""
    provider = MeterProvider([PrometheusMetricReader()])
    recorder = Metered(provider)
    for name in get_args(EventName):
        recorder.on_event(Event(name=name, realm="wallet", account="w1", detail="wallet.find: ServerFault"))
    sandbox = Sandbox()
    sandbox.fail("transfers.settle", "funds")
    async with Paystar(
        sandbox.application,
        sandbox.gateway,
        engine=sandbox.engine(),
        database=tmp_path / "paystar.db",
        middleware=[recorder],
    ) as paystar:
        await paystar.transfers.find(limit=1)
        with pytest.raises(InsufficientBalance):
            await paystar.transfers.settle(transfers=transfers(1))
        await recorder.observe(paystar)
    samples: dict[str, set[str]] = {}
    try:
        for family in REGISTRY.collect():
            for sample in family.samples:
                samples.setdefault(sample.name, set()).update(sample.labels)
    finally:
        provider.shutdown()
    return {name: labels for name, labels in samples.items() if name.startswith("paystar_")}


def test_queries_name_exported_metrics_and_labels(exported: dict[str, set[str]]) -> None:
    for query in QUERIES:
        names = {name for name in re.findall(r"\bpaystar_\w+", query) if name in exported}
        assert len(names) == 1, query
        labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)\"", query))
        labels |= {label for group in re.findall(r"by \((.*?)\)", query) for label in group.split(", ")}
        assert labels <= exported[names.pop()], query


def test_dashboard_shows_every_metric(exported: dict[str, set[str]]) -> None:
    names = {name for name in exported if not name.endswith(("_sum", "_created"))}
    assert len(names) >= 8
    assert {name for name in names if not any(name in query for query in QUERIES)} == set()


def test_queries_name_known_states() -> None:
    known = {*TransferState, *OrderStatus, "failed", "rejected", "maybe", ""}
    values = {value for query in QUERIES for text in re.findall(r'"(.*?)"', query) for value in text.split("|")}
    assert len(values) > 5
    assert values <= known


@pytest.mark.skipif(shutil.which("promtool") is None, reason="there is no promtool")
def test_queries_are_valid_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"query{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(QUERIES)
    ]
    file = tmp_path / "rules.yaml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "queries", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(QUERIES)} rules found" in checked.stdout


@pytest.mark.parametrize("query", QUERIES)
def test_query_brackets_are_balanced(query: str) -> None:
    text = re.sub(r'".*?"', "", query)
    while (shorter := re.sub(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}", "", text)) != text:
        text = shorter
    assert not re.search(r"[()\[\]{}]", text)


def test_panels_do_not_overlap() -> None:
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in PANELS)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert all(chart["title"] and chart["description"] for chart in CHARTS)
