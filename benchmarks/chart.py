"""The chart the README shows: CPU of a call by client and load, as bars. Written by hand, so that it needs nothing."""

from html import escape
from statistics import median

from benchmarks.figures import Seen

LOADS = ("1", "16", "100")
SHADES = {"1": "#9ecae1", "16": "#4292c6", "100": "#084594"}
OURS = "#d9480f"
WIDTH, LEFT, BAR, GAP, TOP = 860, 190, 11, 14, 56


def svg(seen: Seen) -> str:
    """Bars of µs of CPU a call, the cheapest client first; ours in another colour."""
    names = sorted(
        (name for name in seen.get("16", {}) if name != "json"),
        key=lambda name: median(one.cpu for one in seen["16"][name]),
    )
    loads = [load for load in LOADS if load in seen]
    most = max((median(one.cpu for one in seen[load][name]) for load in loads for name in names), default=1.0)
    height = TOP + len(names) * (len(loads) * BAR + GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        '<text x="10" y="22" font-size="15" fill="#222">CPU of one small JSON call, µs – less is better</text>',
    ]
    for place, load in enumerate(loads):
        x = LEFT + place * 130
        parts.append(f'<rect x="{x}" y="32" width="12" height="12" fill="{SHADES[load]}"/>')
        parts.append(f'<text x="{x + 17}" y="42" fill="#222">{load} in flight</text>')
    y = TOP
    for name in names:
        ours = name.startswith("ours")
        middle = y + len(loads) * BAR / 2 + 4
        weight = ' font-weight="bold"' if ours else ""
        parts.append(
            f'<text x="{LEFT - 8}" y="{middle:.0f}" text-anchor="end" fill="{OURS if ours else "#222"}"{weight}>'
            f"{escape(name)}</text>"
        )
        for load in loads:
            used = median(one.cpu for one in seen[load][name])
            length = max(1.0, used / most * (WIDTH - LEFT - 70))
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{length:.1f}" height="{BAR - 2}" fill="{SHADES[load]}"/>')
            parts.append(f'<text x="{LEFT + length + 5:.1f}" y="{y + 9}" font-size="10" fill="#444">{used:,.0f}</text>')
            y += BAR
        y += GAP
    return "\n".join([*parts, "</svg>"]) + "\n"
