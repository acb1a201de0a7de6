"""Names for transfers."""

import secrets
import time


def new_track_id() -> str:
    """A new track_id: 26 letters and digits that sort by the time they were made.

    Store it before you send: it is how a transfer is asked about when no answer came, and what keeps it from
    being paid twice.
    """
    return f"{int(time.time() * 1000):011x}{secrets.token_hex(8)}"[:26]
