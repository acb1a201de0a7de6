"""Pages of the site that are no guides: the README as the first page, and the API, a page for each public module."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation

ROOT = Path(__file__).parents[1]

API = {
    "client": ["client.Paystar", "credentials", "config", "endpoint"],
    "endpoints": ["services"],
    "transfers": ["transfers.Transfers", "transfers.Wallets", "models.transfers", "models.wallet", "outcomes"],
    "payments": [
        "payments.service.Payments",
        "payments.callback.Callback",
        "payments.payment_page.StartedPayment",
        "payments.outcomes",
    ],
    "payouts": [
        "payouts.service.Payouts",
        "payouts.operations.PayoutOperations",
        "payouts.batch.Batch",
        "payouts.models.Policy",
        "payouts.report.Report",
        "payouts.reconcile.Reconciliation",
    ],
    "keys": ["key_service.Keys", "keys.store"],
    "errors": ["errors.base", "errors.statuses"],
    "engines": ["transport.engine"],
    "frameworks": [
        "contrib.fastapi",
        "contrib.starlette",
        "contrib.aiohttp",
        "contrib.aiogram",
        "contrib.taskiq",
        "contrib.procrastinate",
        "contrib.opentelemetry",
    ],
    "testing": ["testing", "sandbox.sandbox.Sandbox"],
}
"""The modules or classes on each page, below ``paystar_async``."""


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages to those that stand in the folder of the guides."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {"index.md": re.sub(r"\]\((?!https?:|#)", f"]({config.repo_url}/blob/main/", readme)}
    for name, objects in API.items():
        directives = "\n\n".join(f"::: paystar_async.{target}" for target in objects)
        pages[f"api/{name}.md"] = f"# {name.capitalize()}\n\n{directives}\n"
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_nav(nav: Navigation, **_: object) -> Navigation:
    """Name the first page and the section of the API; the other titles are the pages' own."""
    for item in nav.items:
        if item is nav.homepage:
            item.title = "Overview"
        elif item.is_section and item.title == "Api":
            item.title = "API"
    return nav
