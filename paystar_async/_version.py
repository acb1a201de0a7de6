"""Which version this is, and how it introduces itself."""

VERSION = "0.1.0"
USER_AGENT = f"paystar-async/{VERSION}"
