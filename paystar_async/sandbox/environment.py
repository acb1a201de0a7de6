"""The environment variables of a sandbox's clients."""

from collections.abc import Iterator, Mapping

from paystar_async.sandbox.state import SandboxState
from paystar_async.values.secret import Secret

_REAL_ACCOUNT_VARIABLES = ("PAYSTAR_GATEWAY_DIRECT", "PAYSTAR_KEYS", "PAYSTAR_PROXY")
"""Settings that belong to the real accounts: their kind of gateway, the store of their keys, the way to Paystar."""


def client_environment(sandbox: SandboxState, base_url: str, database: str | None = None) -> Iterator[tuple[str, str]]:
    """Yield the environment variables of a client of this sandbox.

    Args:
        sandbox: the sandbox.
        base_url: the address that the client calls.
        database: the file of the client's payout ledger and orders; left out by default.
    """
    for name, value in _variables(sandbox, base_url, database).items():
        if value is not None:
            yield name, value.reveal() if isinstance(value, Secret) else value


def replaced_environment(sandbox: SandboxState, base_url: str, database: str) -> Mapping[str, str | None]:
    """Return the variables to set, and None for those to delete, so that a client uses this sandbox alone.

    Variables such as ``PAYSTAR_TIMEOUT`` are not among them: they configure the application.
    """
    variables = _variables(sandbox, base_url, database)
    deleted = dict.fromkeys((*variables, *_REAL_ACCOUNT_VARIABLES))
    files = {f"{name}_FILE": None for name in deleted}
    return {**deleted, **files, **dict(client_environment(sandbox, base_url, database))}


def _variables(sandbox: SandboxState, base_url: str, database: str | None) -> Mapping[str, str | Secret | None]:
    application, gateway, wallet = sandbox.application, sandbox.gateway, sandbox.wallet
    return {
        "PAYSTAR_BASE_URL": base_url,
        "PAYSTAR_APPLICATION_ID": application.id,
        "PAYSTAR_ACCESS_PASSWORD": application.access_password,
        "PAYSTAR_API_KEY": application.api_key,
        "PAYSTAR_REFRESH_TOKEN": application.refresh_token,
        "PAYSTAR_GATEWAY_ID": gateway.id,
        "PAYSTAR_SIGN_KEY": gateway.sign_key,
        "PAYSTAR_WALLET_HASHID": wallet.hashid,
        "PAYSTAR_WALLET_PASSWORD": wallet.password,
        "PAYSTAR_WALLET_SIGN_KEY": wallet.sign_key,
        "PAYSTAR_WALLET_API_KEY": wallet.api_key,
        "PAYSTAR_WALLET_REFRESH_TOKEN": wallet.refresh_token,
        "PAYSTAR_INQUIRY_KEY": wallet.inquiry_key,
        "PAYSTAR_REFRESH_INQUIRY_KEY": wallet.refresh_inquiry_key,
        "PAYSTAR_DATABASE": database,
    }
