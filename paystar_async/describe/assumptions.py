"""The list of assumptions among the guides, from the register."""

from paystar_async.conform.assumptions import ASSUMPTIONS

_HEADER = """\
# Assumptions

What this package assumes about the live service: the register that `paystar conform` asks about.

Evidence: `R` is Paystar's reference alone, `R+n` the reference and n public integrations, `n` integrations alone,
`assumed` no public source. [conform](conform.md) says how to settle one.

| name | evidence | what is assumed | if it is wrong |
|---|---|---|---|
"""


def render_assumptions() -> str:
    """Return the guide with a row for each assumption."""
    rows = (
        f"| `{assumption.id}` | {assumption.evidence} | {assumption.sentence} | {assumption.if_wrong} |"
        for assumption in ASSUMPTIONS
    )
    return _HEADER + "\n".join(rows) + "\n"
