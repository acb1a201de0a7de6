"""What was measured and is kept: ``results.json``, the chart, and the table in the README."""

import json
import re
from pathlib import Path
from typing import Any

import cattrs

from benchmarks.chart import svg
from benchmarks.measure import Round
from benchmarks.report import Line, markdown

HERE = Path(__file__).parent
RESULTS, CHART, README = HERE / "results.json", HERE / "chart.svg", HERE.parent / "README.md"
_TABLE = re.compile(r"(<!-- measured: begin -->\n).*?(<!-- measured: end -->)", re.DOTALL)


def write(found: dict[str, Any]) -> None:
    """Keep a run; a line or a load that it did not measure stays as it was, with the time it was measured at."""
    before: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    machine = found["machine"]
    stamp = {"when": machine["when"], "load": machine["load"], "rounds": found["rounds"]}
    lines = before.get("lines", {}) | {name: line | stamp for name, line in found["lines"].items()}
    panels = before.get("panels", {}) | found["panels"]
    held = before.get("held", {}) | found["held"]
    result = {"machine": machine, "lines": lines, "held": held, "panels": panels}
    RESULTS.write_text(json.dumps(result, ensure_ascii=False) + "\n")
    seen = {
        panel: {name: [Round(**one) for one in rounds] for name, rounds in subjects.items()}
        for panel, subjects in panels.items()
    }
    CHART.write_text(svg(seen))
    table = markdown([cattrs.structure(line, Line) for line in lines.values()])
    README.write_text(_TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", README.read_text()))
