"""Renewing the three keys that live for 24 hours. The refresh token is added where the request is written."""

from collections.abc import Mapping

from attrs import field

from paystar_async.models.base import Call, names_only, no_extra, request_model, response_model
from paystar_async.values.secret import Secret


@response_model
class NewApiKey:
    """A fresh api_key; a new refresh token where the answer carried one."""

    api_key: Secret
    api_key_expire_date: str | None = None
    refresh_token: Secret | None = None
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class NewInquiryKey:
    """A fresh inquiry_key; a new refresh token where the answer carried one."""

    inquiry_key: Secret
    inquiry_key_expire_date: str | None = None
    refresh_inquiry_key: Secret | None = None
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class RefreshData:
    """The data of a refresh response as it came: no field of it can make a response with a new key unreadable."""

    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@request_model
class RefreshApplicationKey(Call[NewApiKey]):
    """Renew the application's api_key now; otherwise done by itself before it expires."""


@request_model
class RefreshWalletKey(Call[NewApiKey]):
    """Renew the wallet's api_key now; otherwise done by itself before it expires."""


@request_model
class RefreshInquiryKey(Call[NewInquiryKey]):
    """Renew the wallet's inquiry_key now; otherwise done by itself before it expires."""


@request_model
class RefreshKey(Call[RefreshData]):
    """Any of the three calls above as the auth middleware makes it: sent alike, its response read field by field."""
