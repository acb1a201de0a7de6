"""``paystar conform``: ask the service about each assumption of this package, or judge recorded shapes."""

import asyncio
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import Parameter

from paystar_async.cli.conform.report import count_line, findings_table, report_json, report_markdown
from paystar_async.cli.conform.run import ConformRun, RunOptions
from paystar_async.cli.console import (
    EXIT_FAILED,
    EXIT_USAGE,
    confirm,
    print_error,
    print_json,
    print_note,
    stdout_console,
)
from paystar_async.cli.parameters import number_parameter
from paystar_async.conform.assumption import Verdict
from paystar_async.conform.assumptions import Finding, judge_observations
from paystar_async.conform.recorder import read_observations
from paystar_async.endpoint import Observation
from paystar_async.errors import ConfigurationError

_INTERVAL = number_parameter(
    float, "seconds, 0 or more", lambda value: 0 <= value < math.inf, "seconds between two requests"
)


def conform(
    *,
    from_file: Annotated[
        Path | None, Parameter(name="--from", help="judge the shapes in this file; no request is made")
    ] = None,
    record: Annotated[
        Path,
        Parameter(help="the file in which shapes are recorded; an interrupted run continues from it"),
    ] = Path("paystar-shapes.jsonl"),
    yes: Annotated[bool, Parameter(help="make the requests without confirmation", negative=())] = False,
    refresh: Annotated[bool, Parameter(help="refresh each key once; needs PAYSTAR_KEYS", negative=())] = False,
    create: Annotated[
        bool, Parameter(help="create an order of 5,000 Rial that is never paid; needs --callback", negative=())
    ] = False,
    callback: Annotated[
        str | None, Parameter(help="the callback URL of the created order, on the domain registered for the gateway")
    ] = None,
    subject: Annotated[
        Path | None,
        Parameter(
            help="a JSON file with your own data for the inquiries: national_id, mobile_number, birth_date, "
            "card_number, card, iban, account_number, bank_id"
        ),
    ] = None,
    interval: Annotated[float, _INTERVAL] = 1.0,
    report: Annotated[Path | None, Parameter(help="write the findings as Markdown to this file")] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", help="print the findings as JSON instead of a table", negative=())
    ] = False,
) -> int:
    """Compare what this package assumes about the service with what the service responds.

    Only calls that read, and calls that are refused (unknown ids, wrong keys), are made with the accounts of the
    environment; each is announced before it is made. No key is refreshed without `--refresh`, and nothing is created
    without `--create`; no transfer is ever sent. Record and report hold shapes (field names, types, lengths in classes)
    and no value.

    Exit status: 0 no assumption is contradicted; 1 one is; 2 usage or configuration error, or no response.
    """
    if from_file is not None:
        observations, unreadable = read_observations(from_file)
    else:
        unreadable = 0
        run = ConformRun(
            RunOptions(
                record=record,
                interval=interval,
                refresh=refresh,
                create=create,
                callback=callback,
                subject=_read_subject(subject) if subject is not None else {},
            )
        )
        for probe in run.probes:
            print_note(f"- {probe.announcement}")
        if run.probes and not yes and not confirm(f"Make these requests? Shapes are recorded in {record}. [y/N] "):
            print_error("nothing was sent")
            return EXIT_USAGE
        asyncio.run(run.run())
        observations = run.observations
    findings = judge_observations(observations)
    _print_findings(findings, observations, unreadable, as_json=as_json)
    if report is not None:
        _write_report(report, report_markdown(findings, responses=len(observations)))
    return EXIT_FAILED if any(finding.verdict is Verdict.CONTRADICTED for finding in findings) else 0


def _print_findings(
    findings: list[Finding], observations: list[Observation], unreadable: int, *, as_json: bool
) -> None:
    if as_json:
        print_json(report_json(findings, responses=len(observations), unreadable=unreadable))
        return
    console = stdout_console()
    console.print(findings_table(findings))
    console.print(f"{len(observations)} responses: {count_line(findings)}")
    if unreadable:
        print_note(f"{unreadable} lines of the record cannot be read")


def _read_subject(path: Path) -> Mapping[str, Any]:
    """Return the values of a subject file.

    Raises:
        ConfigurationError: the file cannot be read, or is not a JSON object.
    """
    try:
        value: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"the subject cannot be read: {error.strerror or type(error).__name__}") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ConfigurationError("the subject is not a JSON object", hint='such as {"iban": "IR…"}')
    return cast("dict[str, Any]", value)


def _write_report(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"the report cannot be written: {error.strerror or type(error).__name__}") from None
