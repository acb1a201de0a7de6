"""Encode requests, and add secrets and signatures: no other module writes them down."""

from functools import cache
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from attrs import define, field, has
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from paystar_async._version import USER_AGENT
from paystar_async.credentials import Credentials, signer
from paystar_async.endpoint import Endpoint, Request
from paystar_async.errors import ConfigurationError
from paystar_async.models.base import Call, fields_of
from paystar_async.transport import json_codec
from paystar_async.values.sandbox_mark import has_sandbox_mark
from paystar_async.values.secret import Secret

MAX_SMALL_ITEMS = 100
"""Models in a request's list up to which encoding takes well under a millisecond."""

Headers = tuple[tuple[str, str], ...]

_unstructuring = Converter(omit_if_default=True)


@_unstructuring.register_unstructure_hook_factory(has)
def _unstructure_sent_fields(cls: Any, converter: Converter) -> Any:
    omitted = {info.name: override(omit=True) for info in fields_of(cls) if not info.sent or info.name == "extra"}
    return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True, **cast("dict[str, Any]", omitted))


def unstructure(value: object) -> dict[str, Any]:
    """Return the fields of a model that are sent, as JSON types."""
    return cast("dict[str, Any]", _unstructuring.unstructure(value))


@cache
def _list_field(request_type: type[Any]) -> str | None:
    """Return the name of the field that holds a list of models, or None."""
    return next((info.name for info in fields_of(request_type) if info.item is not None), None)


def count_items(request: Request[Any]) -> int:
    """Return how many models the request's list field holds; 0 without such a field."""
    request_type: Any = request.endpoint.request
    name = _list_field(request_type)
    return 0 if name is None else len(getattr(request.value, name) or ())


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="").geturl()


@define  # not frozen: each call creates an instance, and attrs makes a frozen one by slower assignments
class EncodedRequest:
    """A request as an engine sends it; its repr leaves out the query, headers and body, which hold secrets."""

    method: str
    url: str = field(repr=_without_query)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes | None = field(repr=False)


class RequestTemplate:
    """The parts that all requests of an endpoint share; credentials do not change.

    Args:
        endpoint: the endpoint.
        credentials: the client's credentials.
        base_url: URL in front of each path.
        only_sandbox_keys: whether a key without the mark of a sandbox is refused.

    Attributes:
        endpoint: the endpoint.
        is_get: whether fields are sent in the query.
        url: URL of the endpoint, without a query.
    """

    def __init__(
        self, endpoint: Endpoint, credentials: Credentials, base_url: str, *, only_sandbox_keys: bool = False
    ) -> None:
        self.endpoint = endpoint
        self._only_sandbox_keys = only_sandbox_keys
        self.is_get = endpoint.method == "GET"
        self._has_extra = any(info.name == "extra" for info in fields_of(endpoint.request))
        self.url = base_url + endpoint.path.format(gateway=credentials.path_prefix)
        # cattrs looks its hook up for each value anew, at twice what the hook takes.
        self._unstructure = _unstructuring.get_unstructure_hook(endpoint.request)
        self._credential_fields = {
            name: value.reveal() if isinstance(value, Secret) else value
            for name, value in credentials.identification_fields(endpoint.realm, endpoint.method).items()
        }
        is_signed = endpoint.signed_fields and endpoint.method == "POST"
        sign_key = credentials.sign_key(endpoint.realm) if is_signed else None
        self._sign = None if sign_key is None else signer(sign_key)
        # One tuple: event loops in other threads read the pair too.
        self._key_and_headers: tuple[Secret | None, Headers] = None, self._create_headers(None)

    def fields(self, value: Call[Any], key: Secret | None) -> dict[str, Any]:
        """Return the fields to send: credentials, the model's fields and their signature."""
        fields: dict[str, Any] = self._credential_fields | self._unstructure(value)
        if self._has_extra:
            fields = cast("Any", value).extra.to_dict() | fields
        if self.endpoint.refresh_token_field and key is not None:
            fields[self.endpoint.refresh_token_field] = self._reveal(key)
        if self._sign is not None:
            unsent = {info.name: getattr(value, info.name) for info in fields_of(type(value)) if not info.sent}
            # A signature over a field that was left out would be refused; an inquiry by ref_num alone is unsigned.
            if all(name in fields or name in unsent for name in self.endpoint.signed_fields):
                fields["sign"] = self._sign((fields | unsent)[name] for name in self.endpoint.signed_fields)
        return fields

    def headers(self, key: Secret | None) -> Headers:
        """Return the headers with a key; the same object until the key changes."""
        if self.endpoint.refresh_token_field:
            key = None
        key_and_headers = self._key_and_headers
        if key is not key_and_headers[0]:
            key_and_headers = self._key_and_headers = key, self._create_headers(key)
        return key_and_headers[1]

    def _create_headers(self, key: Secret | None) -> Headers:
        headers = [("Accept", "application/json"), ("User-Agent", USER_AGENT)]
        if key is not None:
            headers.append(("Authorization", f"Bearer {self._reveal(key)}"))
        if self.endpoint.method == "POST":
            headers.append(("Content-Type", "application/json"))
        return tuple(headers)

    def _reveal(self, key: Secret) -> str:
        """Return the text of a key; a key of a store, or one that was replaced, is not checked with the credentials."""
        if self._only_sandbox_keys and not has_sandbox_mark(key.reveal()):
            raise ConfigurationError(
                f"a key of a real account would be sent to {urlsplit(self.url).hostname} unencrypted; nothing was sent",
                hint="use https, or the keys that the sandbox prints",
            )
        return key.reveal()


class RequestEncoder:
    """Encodes requests for one client's credentials.

    Args:
        credentials: the client's credentials.
        base_url: URL in front of each path.
        only_sandbox_keys: whether a key without the mark of a sandbox is refused: ``base_url`` is plain http.
    """

    def __init__(self, credentials: Credentials, base_url: str, *, only_sandbox_keys: bool = False) -> None:
        self._credentials, self._base_url, self._only_sandbox_keys = credentials, base_url, only_sandbox_keys
        self._templates: dict[int, RequestTemplate] = {}

    def page_url(self, endpoint: Endpoint, value: Call[Any]) -> str:
        """Return the URL of a page, with the model's fields in its query."""
        return f"{self._template(endpoint).url}?{urlencode(unstructure(value))}"

    def is_large(self, request: Request[Any]) -> bool:
        """Return True if encoding the request takes a good part of a millisecond."""
        return count_items(request) > MAX_SMALL_ITEMS

    def encode(self, request: Request[Any]) -> EncodedRequest:
        """Return the request with its secrets and its signature."""
        template = self._template(request.endpoint)
        fields, headers = template.fields(request.value, request.key), template.headers(request.key)
        if template.is_get:
            return EncodedRequest("GET", f"{template.url}?{urlencode(fields)}", headers, None)
        return EncodedRequest("POST", template.url, headers, json_codec.dumps(fields))

    def _template(self, endpoint: Endpoint) -> RequestTemplate:
        template = self._templates.get(id(endpoint))
        if template is None or template.endpoint is not endpoint:
            template = self._templates[id(endpoint)] = RequestTemplate(
                endpoint, self._credentials, self._base_url, only_sandbox_keys=self._only_sandbox_keys
            )
        return template
