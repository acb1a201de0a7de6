"""Models of key refreshes. The request encoder adds the refresh token."""

from collections.abc import Mapping

from attrs import field

from paystar_async.models.base import Call, names_only, no_extra, request_model, response_model
from paystar_async.values.secret import Secret


@response_model
class NewApiKey:
    """A new api_key, and a new refresh token if the response has one."""

    api_key: Secret
    api_key_expire_date: str | None = None
    refresh_token: Secret | None = None
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class NewInquiryKey:
    """A new inquiry_key, and a new refresh token if the response has one."""

    inquiry_key: Secret
    inquiry_key_expire_date: str | None = None
    refresh_inquiry_key: Secret | None = None
    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@response_model
class RefreshData:
    """The unparsed data of a refresh response, so that no field can make a response with a new key unreadable."""

    extra: Mapping[str, object] = field(factory=no_extra, repr=names_only, hash=False)


@request_model
class RefreshApplicationKey(Call[NewApiKey]):
    """Refresh the application's api_key now; the client refreshes an expiring key by itself."""


@request_model
class RefreshWalletKey(Call[NewApiKey]):
    """Refresh the wallet's api_key now; the client refreshes an expiring key by itself."""


@request_model
class RefreshInquiryKey(Call[NewInquiryKey]):
    """Refresh the wallet's inquiry_key now; the client refreshes an expiring key by itself."""


@request_model
class RefreshKey(Call[RefreshData]):
    """Refresh any key for the auth middleware, which parses the response field by field."""
