"""What all requests of a row have in common: made once, from accounts that do not change."""

from typing import Any, cast

from attrs import has
from cattrs import Converter
from cattrs.gen import make_dict_unstructure_fn, override

from paystar_async._version import USER_AGENT
from paystar_async.credentials import Credentials, signer
from paystar_async.endpoint import Endpoint
from paystar_async.models.base import Call, fields_of
from paystar_async.values.secret import Secret

Headers = tuple[tuple[str, str], ...]

_unstructuring = Converter(omit_if_default=True)


@_unstructuring.register_unstructure_hook_factory(has)
def _sent_fields(cls: Any, converter: Converter) -> Any:
    held_back = {one.name: override(omit=True) for one in fields_of(cls) if not one.sent or one.name == "extra"}
    return make_dict_unstructure_fn(cls, converter, _cattrs_omit_if_default=True, **cast("dict[str, Any]", held_back))


def plain(value: object) -> dict[str, Any]:
    """The fields that are sent, as JSON knows them."""
    return cast("dict[str, Any]", _unstructuring.unstructure(value))


class RequestTemplate:
    """Fills in a row's requests for one set of accounts.

    Args:
        endpoint: the row.
        accounts: who asks.
        base_url: where the paths begin.

    Attributes:
        endpoint: the row.
        is_get: whether its fields travel in the address.
        url: its address.
        several: the field that holds as many models as one likes, where there is one.
    """

    def __init__(self, endpoint: Endpoint, accounts: Credentials, base_url: str) -> None:
        self.endpoint = endpoint
        self.is_get = endpoint.method == "GET"
        self.several = next((one.name for one in fields_of(endpoint.request) if one.item is not None), None)
        self._has_extra = any(one.name == "extra" for one in fields_of(endpoint.request))
        self.url = base_url + endpoint.path.format(gateway=accounts.path_prefix)
        # cattrs looks its hook up for each value anew, at twice what the hook takes.
        self._plain = _unstructuring.get_unstructure_hook(endpoint.request)
        who = accounts.credentials(endpoint.realm, endpoint.method)
        self._who = {name: one.reveal() if isinstance(one, Secret) else one for name, one in who.items()}
        sign_key = accounts.sign_key(endpoint.realm) if endpoint.signed_fields and endpoint.method == "POST" else None
        self._sign = None if sign_key is None else signer(sign_key)
        # One tuple: loops in other threads read it too.
        self._latest: tuple[Secret | None, Headers] = None, self._headers_with(None)

    def fields(self, value: Call[Any], key: Secret | None) -> dict[str, Any]:
        """What is sent: who asks, what is asked, and the signature over it."""
        fields: dict[str, Any] = self._who | self._plain(value)
        if self._has_extra:
            fields = cast("Any", value).extra.to_dict() | fields
        if self.endpoint.refresh_token_field and key is not None:
            fields[self.endpoint.refresh_token_field] = key.reveal()
        if self._sign is not None:
            unsent = {one.name: getattr(value, one.name) for one in fields_of(type(value)) if not one.sent}
            # A signature over a field that was left out would be refused; an inquiry by ref_num alone is unsigned.
            if all(name in fields or name in unsent for name in self.endpoint.signed_fields):
                fields["sign"] = self._sign((fields | unsent)[name] for name in self.endpoint.signed_fields)
        return fields

    def headers(self, key: Secret | None) -> Headers:
        """The headers with a key: the very same ones as long as the key is the same."""
        if self.endpoint.refresh_token_field:
            key = None
        latest = self._latest
        if key is not latest[0]:
            latest = self._latest = key, self._headers_with(key)
        return latest[1]

    def _headers_with(self, key: Secret | None) -> Headers:
        headers = [("Accept", "application/json"), ("User-Agent", USER_AGENT)]
        if key is not None:
            headers.append(("Authorization", f"Bearer {key.reveal()}"))
        if self.endpoint.method == "POST":
            headers.append(("Content-Type", "application/json"))
        return tuple(headers)
