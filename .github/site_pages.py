"""Pages of the site that are no guides, the README and the API, and the navigation over all of them."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "paystar_async"
GUIDES = PACKAGE / "docs"

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
    "frameworks": sorted(f"contrib.{path.stem}" for path in (PACKAGE / "contrib").glob("[!_]*")),
    "blocking": ["blocking.BlockingPaystar"],
    "testing": ["testing", "sandbox.sandbox.Sandbox", "conform.recorder.ShapeRecorder"],
}
"""The modules or classes on each page, below ``paystar_async``."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation of the list of guides; a guide that is not in the list fails a strict build."""
    sections: dict[str, list[dict[str, str]]] = {}
    guide_list = (GUIDES / "index.md").read_text("utf-8")
    for heading, title, guide in re.findall(r"^## (.+)$|^- \[(.+?)\]\((.+?\.md)\)", guide_list, re.MULTILINE):
        if heading:
            sections[heading] = []
        else:
            # The title of the list: MkDocs finds none in a page that begins with a right-to-left block.
            sections[next(reversed(sections))].append({title: guide})
    guides = [{heading: entries} for heading, entries in sections.items() if entries]
    config.nav = [{"Overview": "index.md"}, *guides, {"API": [f"api/{name}.md" for name in API]}]
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the API, and the README as the first page; the list of guides, which it replaces, is the navigation."""
    readme = (ROOT / "README.md").read_text("utf-8")
    pages = {"index.md": re.sub(r"\]\((?!https?:|#)", f"]({config.repo_url}/blob/main/", readme)}
    for name, objects in API.items():
        directives = "\n\n".join(f"::: paystar_async.{target}" for target in objects)
        pages[f"api/{name}.md"] = f"# {name.capitalize()}\n\n{directives}\n"
    if guide_list := files.get_file_from_path("index.md"):
        files.remove(guide_list)
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files
