"""The version of the package, and its User-Agent."""

VERSION = "0.1.0"
USER_AGENT = f"paystar-async/{VERSION}"
