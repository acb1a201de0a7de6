"""Rendering of the pages from templates: every value is escaped, and only the package's own scripts run."""

from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from importlib.resources import files

import jinja2
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from paystar_async.sandbox.pages.language import Language

ASSETS_PATH = "/_sandbox/assets"
_MEDIA_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "txt": "text/plain",
    "woff2": "font/woff2",
}
_POLICY = (
    "default-src 'none'; style-src 'self'; font-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    # strict-origin: no other site sees a token in the URL, and the pages' own forms still send their origin.
    "referrer-policy": "strict-origin",
}


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("paystar_async.sandbox.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_page(
    template: str, language: Language, *, http_status: int = 200, allow_scripts: bool = False, **content: object
) -> HttpResponse:
    """Return a page.

    Args:
        template: name of the file in ``templates/``.
        language: language of the page.
        http_status: the HTTP status.
        allow_scripts: whether the package's scripts may run on the page and call this sandbox.
        **content: variables of the template.
    """
    html = (
        _environment()
        .get_template(template)
        .render(
            language=language,
            other=language.other,
            gettext=language.gettext,
            number=language.format_number,
            digits=language.format_digits,
            assets=ASSETS_PATH,
            **content,
        )
    )
    # No form-action: browsers apply it to every redirect after a form, and a shop may redirect its payer anywhere.
    policy = f"{_POLICY}; script-src 'self'; connect-src 'self'" if allow_scripts else _POLICY
    headers = {**_HEADERS, "content-security-policy": policy, "content-language": str(language)}
    return HttpResponse(html, http_status, headers, "text/html")


def asset_routes() -> Iterator[Route]:
    """Yield a route for each file that the pages load."""
    for file in files("paystar_async.sandbox.pages").joinpath("assets").iterdir():
        yield Route(f"{ASSETS_PATH}/{file.name}", _asset_handler(file.read_bytes(), file.name), methods=["GET"])


def _asset_handler(content: bytes, name: str) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    headers = {header: _HEADERS[header] for header in ("x-content-type-options", "cross-origin-resource-policy")}
    media_type = _MEDIA_TYPES[name.rpartition(".")[2]]

    async def handle(_: HttpRequest) -> HttpResponse:
        return HttpResponse(content, headers=headers | {"cache-control": "no-cache"}, media_type=media_type)

    return handle
