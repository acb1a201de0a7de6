"""A certificate for loopback; nobody trusts it but the clients that are measured here."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import certifi

_CERTIFICATE = """
MIIBmzCCAUGgAwIBAgIUfgeShzqF/xtNXE91qvt15/jXcCMwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE1MzkxOFoYDzIxMjYxMDI5
MTUzOTE4WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASUWsNpgb0hI2ZeCkv1JZHMfoh/8PVS+FGTNBuQn4Zbf4IjAzTMb6+v
xkrXIK02e1w3fg3PD6fUUFy5Tv1y0QcOo28wbTAdBgNVHQ4EFgQUVeHbO2sWROqE
F/yMnL3Z1AuM+GEwHwYDVR0jBBgwFoAUVeHbO2sWROqEF/yMnL3Z1AuM+GEwGgYD
VR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZI
zj0EAwIDSAAwRQIgfE4Od9bqCNlT3bm3YhNc2rBtPdekx5xcOJ3/6TJhJcsCIQDl
HJ2QHEcquUn5/aLvkfEaRn2R9mr5S9ugVY4x0USU9g==
"""
_KEY = """
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgr7/ap5BXM5hI50zL
41raxSzP2GcbyytCR45gwdmRX0mhRANCAASUWsNpgb0hI2ZeCkv1JZHMfoh/8PVS
+FGTNBuQn4Zbf4IjAzTMb6+vxkrXIK02e1w3fg3PD6fUUFy5Tv1y0QcO
"""


def certificate() -> str:
    """The certificate, as PEM."""
    return f"-----BEGIN CERTIFICATE-----{_CERTIFICATE}-----END CERTIFICATE-----\n"


def key() -> str:
    """Its key, as PEM."""
    return f"-----BEGIN PRIVATE KEY-----{_KEY}-----END PRIVATE KEY-----\n"


@contextmanager
def trusted(folder: str) -> Generator[None]:
    """Let this process trust it and nothing else: what asks certifi for its roots is shown a file in this folder."""
    path, before = Path(folder, "roots.pem"), certifi.where
    path.write_text(certificate())
    certifi.where = lambda: str(path)
    try:
        yield
    finally:
        certifi.where = before
