"""Writes how a search grows with a knowledge base, what was wanted of it, and how good it is, into its page.

    python benchmarks/retrieval/plot.py [FIGURES [PAGE]]

FIGURES are what `scale.py --json` wrote, by default `benchmarks/results/scale.json`; PAGE is by default
`docs/explanation/retrieval.md`, and its pictures are in `docs/images`. What is beside loom-agent is from
`benchmarks/results/retrieval.json`, and quality from `benchmarks/results/quality.json`. Each table stands between two
marks of the page. `scale.py --publish` does all of it.
"""

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent))
from curves import bars, curves  # beside this file
from page import put

TIMES = {
    "hybrid p50 ms": "hybrid search, p50 ms",
    "keyword p50 ms": "words alone, p50 ms",
    "vector p50 ms": "vectors alone, p50 ms",
    "update p50 ms": "one passage changed, ms",
    "open ms": "opened, ms",
}
SIZES = {"memory MiB": "memory, open", "peak MiB": "memory, while it is built", "disk MiB": "on disk"}

PROJECT = Path(__file__).resolve().parents[2]
RESULTS = PROJECT / "benchmarks" / "results"
FIGURES = RESULTS / "scale.json"
PAGE = PROJECT / "docs" / "explanation" / "retrieval.md"
WHERE = ("when", "python", "machine", "cpus", "load")
"""What is kept of where and when figures were measured; of those of an earlier run in `earlier`, by their names."""
EMBEDDERS = ("wordllama", "minilm")
MODES = ("keyword", "vector", "hybrid")
Figures = dict[int, dict[str, float]]


class Target(NamedTuple):
    """What is wanted of a figure.

    Attributes:
        text: what it is.
        size: number of passages; 0 for one beside loom-agent.
        key: its name.
        bound: what it is held against.
        unit: how it is told; `x` for how many times less than loom-agent's.
        least: whether the bound is the least of it, and not the most.
    """

    text: str
    size: int
    key: str
    bound: float
    unit: str = "ms"
    least: bool = False


TARGETS = (
    Target("hybrid search among 100,000 passages, p50, without embedding", 100_000, "hybrid p50 ms", 2),
    Target("hybrid search among 1,000,000 passages, p50, without embedding", 1_000_000, "hybrid p50 ms", 8),
    Target("nearest ten found among 100,000", 100_000, "recall@10", 0.95, "", least=True),
    Target("nearest ten found among 1,000,000", 1_000_000, "recall@10", 0.95, "", least=True),
    Target("memory with 1,000,000", 1_000_000, "memory MiB", 0.7 * 1024, "MiB"),
    Target("opened with 1,000,000", 1_000_000, "open ms", 2000),
    Target("one passage changed and found, with 100,000", 100_000, "update p50 ms", 50),
    Target("the same with 1,000,000", 1_000_000, "update p50 ms", 50),
    Target("hybrid search among 10,000, CPU less than loom-agent's", 0, "query, cpu x seed", 100, "x", least=True),
    Target(
        "10,000 taken in, embedded by a service: time less than loom-agent's",
        *(0, "ingest with a service, time x seed", 10, "x"),
        least=True,
    ),
    Target(
        "10,000 taken in, vectors at hand: CPU less than loom-agent's", 0, "ingest, cpu x seed", 10, "x", least=True
    ),
)


def publish(source: Path = FIGURES, page: Path = PAGE) -> None:
    """Write the pictures and the tables of a page."""
    stored = json.loads(source.read_text("utf-8"))
    found = {int(name.split()[0]): values for name, values in stored["figures"].items() if name.endswith(" auto")}
    if len(found) < 2:
        sys.exit(f"{source}: expected figures of type auto for two sizes at least, got {sorted(stored['figures'])}")
    beside = json.loads((RESULTS / "retrieval.json").read_text("utf-8"))["figures"]
    judged = json.loads((RESULTS / "quality.json").read_text("utf-8"))["collections"]
    for name, drawn in pictures(found, judged).items():
        (page.parent.parent / "images" / f"{page.stem}{name}.svg").write_text(drawn, "utf-8")
    text = page.read_text("utf-8")
    for mark, part in (
        ("scale", table(found, stored)),
        ("targets", targets(found, beside)),
        ("quality", quality(judged)),
    ):
        text = put(text, mark, part, page)
    page.write_text(text, "utf-8")


def targets(found: Figures, beside: dict[str, float]) -> str:
    """Return what was wanted, what was measured, and whether that is met."""
    lines = ["| what | target | measured | |", "|---|---:|---:|---|"]
    for target in TARGETS:
        one = found.get(target.size, {}) if target.size else {}
        value = one.get(target.key) if target.size else _times(beside.get(f"beside.{target.key}"))
        told, verdict = "not measured", ""
        if value is not None:
            met = value >= target.bound if target.least else value <= target.bound
            told, verdict = show(value, target.unit), "met" if met else "missed"
        bound = f"{'at least' if target.least else 'at most'} {f'{target.bound:,.4g} {target.unit}'.strip()}"
        lines.append(f"| {target.text} | {bound} | {told} | {verdict} |")
    return "\n".join(lines)


def _times(share: float | None) -> float | None:
    """Return how many times less a share of something is."""
    return 1 / share if share else None


def show(value: float, unit: str) -> str:
    """Return a figure with the digits that matter."""
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".strip()


def table(found: Figures, stored: dict[str, Any]) -> str:
    """Return the figures as a table, and where they are from."""
    titles = ("passages", "hybrid search, p50", "its CPU", "of 20 together, each", "opened in", "memory")
    titles = (*titles, "one passage changed and found", "index built in", "memory while it is built", "on disk")
    titles = (*titles, "nearest ten found")
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    for size, one in sorted(found.items()):
        cells = (
            f"{size:,}",
            f"{one['hybrid p50 ms']:.1f} ms",
            f"{one['hybrid cpu ms']:.1f} ms",
            f"{one['hybrid, 20 together ms each']:.1f} ms",
            f"{one['open ms'] / 1000:.2f} s",
            f"{one['memory MiB']:.0f} MiB",
            f"{one['update p50 ms']:.0f} ms",
            f"{one['build s']:.1f} s",
            f"{one['peak MiB']:,.0f} MiB",
            f"{one['disk MiB']:,.0f} MiB",
            f"{one['recall@10']:.2f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *measured(found, stored)])


def quality(judged: dict[str, Any]) -> str:
    """Return how good each way of searching is, by collection and embedder, and where both halves are not beaten."""
    titles = (
        "collection",
        "embedder",
        *(f"{mode}: nDCG@10; recall@10" for mode in MODES),
        "hybrid over the better half",
    )
    lines = [f"| {' | '.join(titles)} |", f"|{'---|' * len(titles)}"]
    behind: list[str] = []
    for name, collection in judged.items():
        for embedder in EMBEDDERS:
            one = collection[embedder]
            ahead = one["hybrid"]["nDCG@10"] - max(one["keyword"]["nDCG@10"], one["vector"]["nDCG@10"])
            error = one["hybrid"]["margin"]["standard error"]
            cells = [_digits(one[mode]["nDCG@10"]) + "; " + _digits(one[mode]["recall@10"]) for mode in MODES]
            lines.append(f"| {name} | {embedder} | {' | '.join(cells)} | {ahead:+.3f} ± {error:.3f} |")
            behind += [f"{name} with {embedder}"] if ahead <= 0 else []
    told = f"Hybrid is not ahead of its better half on {', '.join(behind)}." if behind else "Hybrid is always ahead."
    return "\n".join([*lines, "", told])


def _digits(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def pictures(found: Figures, judged: dict[str, Any]) -> dict[str, str]:
    """Return the pictures by what their names end with."""
    below, sizes = "passages", sorted(found)

    def lines(titles: dict[str, str]) -> dict[str, list[tuple[float, float]]]:
        return {title: [(size, found[size][key]) for size in sizes] for key, title in titles.items()}

    drawn = {
        "": curves(lines(TIMES), "ms", below),
        "-size": curves(lines(SIZES), "MiB", below),
        "-recall": curves(lines({"recall@10": "nearest ten found"}), "", below, (0.9, 1.0)),
    }
    for embedder in EMBEDDERS:
        groups = {name: {mode: one[embedder][mode]["nDCG@10"] for mode in MODES} for name, one in judged.items()}
        drawn[f"-{embedder}"] = bars(groups, f"nDCG@10, {embedder}")
    return drawn


def measured(found: dict[int, dict[str, float]], stored: dict[str, Any]) -> list[str]:
    """Return where and when figures were measured, one line for each run."""
    runs: dict[str, list[str]] = {}
    for size in sorted(found):
        one = stored.get("earlier", {}).get(f"{size} auto", stored)
        where = f"{one['cpus']} {one['machine']} cores, Python {one['python']}, {one['when']}"
        load = "beside other work" if one["load"] is None else f"with a load of {one['load']} before"
        runs.setdefault(f"{where}, {load}.", []).append(f"{size:,}")
    if len(runs) == 1:
        return [f"Measured on {where}" for where in runs]
    return [f"{' and '.join(sizes)} passages were measured on {where}" for where, sizes in runs.items()]


if __name__ == "__main__":
    publish(*map(Path, sys.argv[1:3]))
