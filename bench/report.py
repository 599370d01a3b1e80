"""From samples to a table: medians over the rounds, ratios to nginx and Caddy, the budget met or missed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Samples = Mapping[str, Mapping[str, Sequence[float]]]  # front -> measure -> one value per round

PEERS = ("nginx", "caddy")
HEADING = "# Results\n\nNewest first; `python -m bench --save` adds one. README.md here says how to read them.\n\n"


@dataclass(frozen=True, slots=True)
class Measure:
    """One row: its key in the samples, its title, and the most that ours may be as a multiple of a peer's.

    The samples of a rate come with `KEY_busy`, the share of its core that the front used meanwhile.
    """

    key: str
    title: str
    budget: Mapping[str, float] | None = None


MEASURES = (
    Measure("rate", "keep-alive requests/s"),
    Measure("request", "CPU µs per keep-alive request", {"nginx": 1.5, "caddy": 0.5}),
    Measure("p50", "p50 ms, saturated"),
    Measure("p99", "p99 ms, saturated"),
    Measure("download", "CPU ms per 10 MB down", {"nginx": 0.8}),
    Measure("upload", "CPU ms per 10 MB up"),
    Measure("h2_rate", "HTTP/2 requests/s"),
    Measure("h2_request", "CPU µs per HTTP/2 request", {"caddy": 1.0}),
    Measure("h2_download", "CPU ms per 10 MB down, HTTP/2"),
    Measure("full_rate", "full handshakes/s, ECDSA P-256"),
    Measure("full", "CPU µs per full handshake, ECDSA P-256", {"nginx": 1.4}),
    Measure("full_rsa", "CPU µs per full handshake, RSA-2048", {"nginx": 1.4}),
    Measure("resumed_rate", "resumed handshakes/s"),
    Measure("resumed", "CPU µs per resumed handshake"),
    Measure("idle", "kB per idle TLS connection", {"nginx": 2.0}),
)


def number(value: float) -> str:
    """Write three significant digits, or all there are before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(values: Sequence[float], busy: Sequence[float]) -> str:
    """Write the median, half the range in percent, and `≥` when the load was the limit and not the front."""
    if not values:
        return "-"
    middle = median(values)
    spread = f" ±{(max(values) - min(values)) / 2 / middle:.0%}" if len(values) > 1 and middle else ""
    return ("≥ " if busy and median(busy) < 0.9 else "") + number(middle) + spread


def ratio(samples: Samples, key: str, peer: str) -> float | None:
    """Give ours divided by a peer's, or None when either was not measured."""
    mine, theirs = (samples.get(name, {}).get(key) for name in ("ours", peer))
    return median(mine) / median(theirs) if mine and theirs and median(theirs) else None


def verdict(samples: Samples, measure: Measure) -> str:
    """Write the budget of a row and whether it was met, judged by the peers that were measured."""
    if not measure.budget:
        return ""
    limits = ", ".join(f"≤ {limit:g} {peer}" for peer, limit in measure.budget.items())
    found = [(ratio(samples, measure.key, peer), limit) for peer, limit in measure.budget.items()]
    kept = [value <= limit for value, limit in found if value is not None]
    return f"{limits}: " + (("met" if all(kept) else "**missed**") if kept else "not measured")


def table(samples: Samples) -> str:
    """Write the whole table in Markdown, its columns aligned."""
    rows = [["measure", *samples, *(f"ours/{peer}" for peer in PEERS), "budget"]]
    for measure in MEASURES:
        key = measure.key
        ratios = (ratio(samples, key, peer) for peer in PEERS)
        rows.append(
            [
                measure.title,
                *(cell(taken.get(key, ()), taken.get(f"{key}_busy", ())) for taken in samples.values()),
                *("-" if value is None else f"{value:.2f}" for value in ratios),
                verdict(samples, measure),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def with_entry(existing: str, entry: str) -> str:
    """Give RESULTS.md with a new entry, which opens with a `##` heading, above the earlier ones."""
    _, heading, history = existing.partition("\n## ")
    return HEADING + entry.strip() + "\n" + heading + history
