"""From a template to an answer: everything that is not ours is escaped, and nothing runs that we did not ship."""

from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from importlib.resources import files

import jinja2
from starlette.requests import Request as HttpRequest
from starlette.responses import Response as HttpResponse
from starlette.routing import Route

from paystar_async.sandbox.pages.language import Language

ASSETS = "/_sandbox/assets"
_MEDIA = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_POLICY = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
_HEADERS = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    # The origin and no more: a token in the address goes to nobody, and a form of ours still says where it is from.
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


def page(template: str, language: Language, *, http: int = 200, runs: bool = False, **content: object) -> HttpResponse:
    """A page.

    Args:
        template: its file in ``templates/``.
        language: the language it is in.
        http: the HTTP status.
        runs: whether scripts of ours may run in it, and call this sandbox.
        **content: what the template shows.
    """
    html = (
        _environment()
        .get_template(template)
        .render(
            language=language,
            other=language.other,
            say=language.say,
            number=language.number,
            digits=language.digits,
            assets=ASSETS,
            **content,
        )
    )
    # No form-action: browsers hold every redirect behind a form to it, and where a shop leads its payer is its affair.
    policy = f"{_POLICY}; script-src 'self'; connect-src 'self'" if runs else _POLICY
    headers = {**_HEADERS, "content-security-policy": policy, "content-language": str(language)}
    return HttpResponse(html, http, headers, "text/html")


def asset_routes() -> Iterator[Route]:
    """A route for each file that the pages load."""
    for file in files("paystar_async.sandbox.pages").joinpath("assets").iterdir():
        yield Route(f"{ASSETS}/{file.name}", _asset(file.read_bytes(), file.name), methods=["GET"])


def _asset(content: bytes, name: str) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
    headers = {name: _HEADERS[name] for name in ("x-content-type-options", "cross-origin-resource-policy")}
    media = _MEDIA[name.rpartition(".")[2]]

    async def handle(_: HttpRequest) -> HttpResponse:
        return HttpResponse(content, headers=headers | {"cache-control": "no-cache"}, media_type=media)

    return handle
