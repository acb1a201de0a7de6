"""``llms.txt``: the list of guides and endpoints for language models; see https://llmstxt.org."""

import re
from collections.abc import Iterator

from paystar_async.describe import (
    Table,
    annotation_source,
    describe_safety,
    endpoints_by_service,
    path_variants,
    to_markdown,
)
from paystar_async.endpoint import Endpoint
from paystar_async.models.base import fields_of, response_type
from paystar_async.table import TABLE

_GUIDES = "https://github.com/paystar-async/paystar-async/raw/main/paystar_async/docs"
_ENTRY = re.compile(r"^- \[(.+?)\]\((.+?)\): (.+)$", re.MULTILINE)
_INTRODUCTION = """\
# paystar_async

> Asyncio Python SDK for Paystar, the Iranian payment provider: identity checks, bank transfers, inquiries, the internet
> payment gateway and wallet payouts, with a sandbox to develop against. `pip install paystar-async`, Python >= 3.11.

Rules for code that uses it:

- `async with Paystar.from_env() as paystar:` opens a client, one per process; credentials are read from `PAYSTAR_*`.
- Arguments are keyword-only. Amounts are whole Rial; `Toman(5_000)` is `50_000` Rial.
- Store a transfer's `track_id` (`new_track_id()`) before you send it: an unknown result is looked up by it.
- Branch on an error's `.executed`: `"no"`: nothing happened; `"maybe"`: look the call up, never repeat it.
- Payments: `payments.start`, redirect the payer, `payments.confirm(Callback.parse(fields))`; hand over in
  `payments.on_verified`, once per `payment.id`. A callback alone proves nothing.
- Payouts: `payouts.submit(transfers, batch_id=...)` sends each transfer at most once, through crashes.
- Without asyncio (Flask, Django under WSGI, scripts): `paystar_async.blocking.BlockingPaystar`, the same methods.
- Tests: the pytest fixtures `paystar` and `paystar_sandbox` (extra `testing`); in a shell `paystar sandbox`.
"""


def render_llms(index: str, table: Table = TABLE) -> str:
    """Return the text of ``llms.txt``.

    Args:
        index: the Markdown of the guides' index.
        table: the endpoints.
    """
    return "\n".join((_INTRODUCTION, *_guides(index), *_endpoints(table))).rstrip() + "\n"


def _guides(index: str) -> Iterator[str]:
    """Yield the index's sections with absolute links; a section without guides is left out."""
    for section in index.split("\n## ")[1:]:
        heading, _, body = section.partition("\n")
        entries = [f"- [{title}]({_GUIDES}/{file}): {summary}" for title, file, summary in _ENTRY.findall(body)]
        yield from (f"## {heading}", "", *entries, "") if entries else ()


def _endpoints(table: Table) -> Iterator[str]:
    for service, endpoints in endpoints_by_service(table).items():
        yield from (f"## Endpoints of `paystar.{service}`", "", *map(_endpoint, endpoints), "")


def _endpoint(endpoint: Endpoint) -> str:
    parameters = ", ".join(f"{field.name}={'' if field.required else '…'}" for field in fields_of(endpoint.request))
    signature = f"{endpoint.id}({parameters}) -> {annotation_source(response_type(endpoint.request))}"
    doc = f"{to_markdown(endpoint.doc)} {describe_safety(endpoint)}"
    return f"- `paystar.{signature}`: {doc} {endpoint.method} `{next(iter(path_variants(endpoint)))}`"
