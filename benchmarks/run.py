"""Runs the benchmarks, keeps their figures, compares them with their gates.

    python benchmarks/run.py [--only NAME,...] [--quick] [--check]
    python benchmarks/run.py --readme

A benchmark is a folder with a `run.py` that takes `--quick` and `--json FILE` and writes its figures there. A full run
keeps them in `benchmarks/results/<name>.json`, a quick one in `benchmarks/results/local-<name>.json`, which is not
committed. `--check` ends with 1 when a figure is beyond its gate times `SLACK`. `--readme` puts the stored figures into
the README.md of this folder, and the first of them into that of the project, between two marks. `peers` has a runner of
its own, because it needs an environment per peer.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
README = HERE.parent / "README.md"
MARKS = ("<!-- figures -->", "<!-- /figures -->")
NAMES = (
    *("startup", "loop", "wire", "manifests", "reload", "sources", "journal", "events", "retrieval", "context"),
    *("memory", "adaptivity", "split"),
)
SLACK = 2.5
"""How far beyond its gate a figure may be before `--check` fails: cores differ by that much. Gates are CPU time."""


@dataclass(frozen=True)
class Figure:
    """A figure worth telling: where it is, what it says, in which unit, and what it must not exceed.

    `of_disk` says that it depends on how fast the disk flushes as well, so that no check fails for it; `of_peer` that
    it is there only where the peer is installed; `first` that it is among the few that the project's README shows.
    """

    bench: str
    key: str
    text: str
    unit: str
    gate: float | None = None
    of_disk: bool = False
    of_peer: bool = False
    first: bool = False


FIGURES = (
    Figure("startup", "loomd version ms", "`loomd version`", "ms CPU", 250),
    Figure("startup", "loomd --help ms", "`loomd --help`", "ms CPU", 250),
    Figure("startup", "loomd validate ms", "`loomd validate examples/01-quickstart`", "ms CPU", 250, first=True),
    Figure("startup", "import loomd ms", "`import loomd`", "ms CPU"),
    Figure("startup", "import all kinds ms", "import of all kinds and phases: no SDK, no command line", "ms CPU", 150),
    Figure("startup", "import for validate ms", "the same with all types and the command line", "ms CPU"),
    Figure(
        "loop",
        "plain, 100 at once, cpu us",
        "a task through six phases, journaled, 100 at once",
        "us CPU",
        1000,
        first=True,
    ),
    Figure("loop", "10 agents, 100 at once, cpu us", "the same in a cluster of 10 agents", "us CPU", 1000, first=True),
    Figure("loop", "100 agents, 100 at once, cpu us", "the same in a cluster of 100 agents", "us CPU"),
    Figure("loop", "tool, 100 at once, cpu us", "the same with a tool call", "us CPU"),
    Figure("loop", "plain, one by one, cpu us", "a task alone: every step waits for its own commit", "us CPU"),
    Figure("loop", "unkept, 100 at once, cpu us", "a task of which nothing is kept (`durability: none`)", "us CPU"),
    Figure("loop", "unkept step, cpu us", "one step of it, beside the call itself", "us CPU", 10),
    Figure(
        "loop",
        "late over first",
        "CPU of a task after thousands of tasks, over that in a new system",
        "x",
        1.2,
        first=True,
    ),
    Figure("loop", "past, wall us", "what SENSE looks at with 10,000 past tasks", "us", 1000),
    Figure(
        "wire",
        "turn agent whole, cpu x raw",
        "an agent's turn over HTTP, CPU over the plain openai client",
        "x",
        0.15,
        first=True,
    ),
    Figure("wire", "turn agent, cpu x raw streamed", "the same, both streamed", "x", 0.15),
    Figure("wire", "turn agent, cpu x raw", "the same, only loomd's streamed", "x"),
    Figure("wire", "tools agent whole, cpu x raw", "an agent's work with ten tool calls", "x", 0.10),
    Figure("wire", "history wire, cpu x raw", "one more question after 100 KiB of conversation", "x", 0.10),
    Figure(
        "wire",
        "lanes agent whole, time x raw",
        "an agent's turn among 100 at once, time over the plain client",
        "x",
        0.125,
        first=True,
    ),
    Figure("wire", "lanes agent, time x raw streamed", "the same, both streamed", "x", 0.125),
    Figure("wire", "stream agent, time x raw", "a piece of a streamed answer, time over the plain client", "x", 0.167),
    Figure("wire", "first agent, time x raw", "time to the first piece, over the plain client", "x", 0.3),
    Figure("wire", "burst agent whole, cpu x raw", "1,000 agents at once, CPU over the plain client", "x", 0.12),
    Figure("wire", "burst agent, wall s", "1,000 agents at once, streamed, against a model that takes 1 s", "s", 1.6),
    Figure("wire", "burst agent whole, KiB per run", "memory of each of 1,000 agents at once", "KiB", 12, first=True),
    Figure(
        "manifests", "1,000 files, cold, cpu ms", "1,000 manifests: read, checked, resolved", "ms CPU", 1000, first=True
    ),
    Figure("manifests", "no change, cpu ms", "looking at them again", "ms CPU", 40),
    Figure("manifests", "one changed, planned, cpu ms", "the same and a plan after one file changed", "ms CPU", 50),
    Figure(
        "reload", "tasks that failed", "tasks that failed in 1,000 reloads, 20 running at a time", "", 0, first=True
    ),
    Figure("reload", "reload, p95 ms", "a reload meanwhile, 95th percentile", "ms"),
    Figure("reload", "most revisions open", "most revisions open at a time", "", 9),
    Figure("reload", "growth, MiB", "growth of memory from the 100th reload to the last", "MiB", 8),
    Figure(
        "sources",
        "1,000 files, saved to serves, p95 ms",
        "from a saved file to serving, 95th percentile",
        "ms",
        150,
        first=True,
    ),
    Figure(
        "journal", "journal, concurrency 100, cpu us", "a durable step, 100 tasks at once", "us CPU", 100, first=True
    ),
    Figure("journal", "journal, concurrency 100, wall us", "the same, time", "us", 50, of_disk=True),
    Figure("journal", "journal, concurrency 100, steps/s", "that is, durable steps", "steps/s"),
    Figure(
        "journal",
        "journal, concurrency 1, time x bare",
        "a durable step alone, time over a bare INSERT+COMMIT",
        "x",
        1.3,
        of_disk=True,
    ),
    Figure("events", "0 subscribers, cpu ns", "an event that nobody hears", "ns CPU", 1000, first=True),
    Figure("events", "10 subscribers, cpu ns", "an event that ten subscribers hear", "ns CPU", 2000),
    Figure("events", "10 subscribers, cpu x seed", "the same over the bus of loom-agent", "x", 2, of_peer=True),
    Figure("events", "typed, cpu ns", "ten subscribers by type, of which one hears it", "ns CPU", 1000),
    Figure("retrieval", "large.query cpu ms", "a hybrid search in 10,000 passages", "ms CPU"),
    Figure("retrieval", "large.one changed document ms", "indexing one changed document among 2,500", "ms"),
    Figure("retrieval", "large.chunks/s", "indexing", "passages/s"),
    Figure("retrieval", "made.hybrid p50 ms", "a hybrid search in 10,000 made passages, without embedding", "ms", 2),
    Figure("retrieval", "made.missed", "share of the nearest ten vectors that it misses", "", 0.05),
    Figure("retrieval", "made.memory MiB", "memory of their index", "MiB", 64),
    Figure("retrieval", "made.open ms", "opening it", "ms", 200, of_disk=True),
    Figure("retrieval", "made.update p50 ms", "one passage changed and found", "ms", 50, of_disk=True),
    Figure(
        "retrieval",
        "beside.query, cpu x seed",
        "a hybrid search in 10,000 passages, CPU over loom-agent's",
        "x",
        0.01,
        of_peer=True,
        first=True,
    ),
    Figure(
        "retrieval",
        "beside.ingest with a service, time x seed",
        "taking in 10,000 passages that a service embeds (5 ms a request), time over loom-agent's",
        "x",
        0.1,
        of_peer=True,
    ),
    Figure("context", "assemble, cpu ms", "putting together a prompt of 41,000 tokens", "ms CPU", 5),
    Figure("context", "facts in answers, adaptive shares", "facts in answers with shares that follow what is used", ""),
    Figure("context", "facts in answers, fixed shares", "the same with equal shares", ""),
    Figure("memory", "loomd, missed", "share of facts of 500 turns that a question does not recall", "", 0.1),
    Figure("adaptivity", "match, 10 agents, cpu ms", "MATCH among 10 agents, after a score moved", "ms CPU"),
    Figure("adaptivity", "match, 100 agents, cpu ms", "the same among 100", "ms CPU"),
    Figure(
        "adaptivity",
        "match, 1000 agents, cpu ms",
        "MATCH among 1,000 agents, after a score moved",
        "ms CPU",
        1,
        first=True,
    ),
    Figure(
        "adaptivity",
        "match, 1000 agents, equipped, cpu ms",
        "the same with tools, budgets and prices",
        "ms CPU",
        1,
    ),
    Figure(
        "adaptivity",
        "regret, loomd over loom-agent",
        "lost by asking the wrong of 10 agents in 2,000 tasks, over loom-agent 0.6.5",
        "x",
        0.5,
        of_peer=True,
        first=True,
    ),
    Figure(
        "adaptivity",
        "regret, loomd over greedy EMA",
        "the same over a greedy auction",
        "x",
        0.5,
    ),
    Figure("adaptivity", "regret, loomd over Thompson", "the same over textbook Thompson sampling", "x", 1.2),
    Figure(
        "adaptivity",
        "forge, tasks until a specialist wins",
        "tasks of a domain that nobody serves until a specialist wins their auction",
        "",
        10,
    ),
    Figure("adaptivity", "forge, tasks until a bad one is gone", "tasks until a badly designed one is gone", "", 20),
    Figure(
        "split",
        "1 to 4, time x path",
        "a split into four parts of a 50 ms model, time over its critical path, median",
        "x",
        1.15,
        of_disk=True,
        first=True,
    ),
    Figure("split", "long.budgets exceeded", "40 tasks of five parts with failures: budgets exceeded", "", 0),
    Figure("split", "long.results lost", "results of parts that are not in the answer", "", 0),
    Figure("split", "long.missing that another could do", "parts missing although somebody could do them", "", 0),
    Figure("split", "long.parts that came", "share of the parts that came, each agent failing at a third of them", ""),
    Figure("split", "long, without retries.parts that came", "the same without another try", ""),
    Figure(
        "split",
        "estimate.last over first",
        "error of their expected complexity, the last ten over the first four",
        "x",
        0.5,
    ),
    Figure("split", "estimate, without past tasks.last over first", "the same without past tasks", "x"),
    Figure("peers", "loomd.single, cpu x raw", "a whole journaled task of one turn", "x"),
    Figure("peers", "loomd.tool10, cpu x raw", "a whole journaled task with ten tool calls", "x"),
    Figure(
        "peers",
        "loomd.tool1 at 100, runs/s x raw",
        "journaled tasks per second, one tool call, 100 at once, over the plain client",
        "x",
        first=True,
    ),
)


def flat(value: object, prefix: str = "") -> dict[str, float]:
    """Return nested figures as one level, their names joined by dots."""
    if isinstance(value, dict):
        found: dict[str, float] = {}
        for key, inner in value.items():
            found.update(flat(inner, f"{prefix}.{key}" if prefix else str(key)))
        return found
    return {prefix: float(value)} if isinstance(value, int | float) else {}


def measure(name: str, *, quick: bool) -> dict[str, float]:
    """Run one benchmark, keep its figures, and return them."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "figures.json")
        command = [sys.executable, str(HERE / name / "run.py"), "--json", str(target), *(["--quick"] if quick else [])]
        load = os.getloadavg()[0]
        print(f"\n== {name}", flush=True)
        subprocess.run(command, cwd=HERE.parent, env=env, check=True)
        found = flat(json.loads(target.read_text("utf-8")))
    kept = {
        "when": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load": round(load, 2),
        "figures": {key: round(value, 4) for key, value in found.items()},
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{'local-' if quick else ''}{name}.json"
    path.write_text(json.dumps(kept, indent=2) + "\n", "utf-8")
    return found


def show(value: float) -> str:
    """Return a figure with two or three digits that matter."""
    if 0 < value < 0.01:
        return f"{value:.2g}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def report(found: dict[str, dict[str, float]]) -> list[str]:
    """Print every figure that has a gate; return those beyond the gate times `SLACK`."""
    failed: list[str] = []
    print(f"\n{'figure':70}{'measured':>10}{'gate':>8}")
    for figure in FIGURES:
        if figure.gate is None or figure.bench not in found:
            continue
        value = found[figure.bench].get(figure.key)
        if value is None and figure.of_peer:
            continue
        if value is None:
            failed.append(f"{figure.bench}: no figure {figure.key!r}")
            continue
        bearable = figure.of_disk or value <= figure.gate * SLACK
        verdict = "met" if value <= figure.gate else "missed" if bearable else "FAILED"
        print(f"{figure.text + ', ' + figure.unit:70}{show(value):>10}{show(figure.gate):>8}  {verdict}")
        if verdict == "FAILED":
            failed.append(f"{figure.text}: {show(value)} {figure.unit}, gate {show(figure.gate)} x {SLACK:g}")
    return failed


def tables() -> None:
    """Write the stored figures into the pages: all into that of the benchmarks, the first ones into the project's."""
    seen: list[dict[str, object]] = []
    rows: list[tuple[Figure, str]] = []
    for figure in FIGURES:
        path = RESULTS / f"{figure.bench}.json"
        if not path.is_file():
            continue
        stored = json.loads(path.read_text("utf-8"))
        value = flat(stored["figures"]).get(figure.key)
        if value is not None:
            seen.append(stored)
            gate = f"{show(figure.gate)}" if figure.gate is not None else ""
            rows.append((figure, f"| {figure.text} | {f'{show(value)} {figure.unit}'.strip()} | {gate} |"))
    if not seen:
        sys.exit("no stored figures: run make bench first")
    last = max(seen, key=lambda stored: str(stored["when"]))
    where = f"{last['cpus']} shared {last['machine']} cores, Python {last['python']}"
    measured = f"Measured on {where}, the last of them {last['when']}: `make bench`."
    more = f"{measured} All {len(rows)}, and what each means: [benchmarks](benchmarks/README.md#figures)."
    put(README, [row for figure, row in rows if figure.first], more)
    put(HERE / "README.md", [row for _, row in rows], measured)


def put(page: Path, rows: list[str], below: str) -> None:
    """Write a table of figures between the two marks of a page."""
    text = page.read_text("utf-8")
    if any(mark not in text for mark in MARKS):
        sys.exit(f"{page.name}: put the lines {MARKS[0]} and {MARKS[1]} where the figures belong")
    head, rest = text.split(MARKS[0], 1)
    table = "\n".join([MARKS[0], "| what | measured | gate |", "|---|---:|---:|", *rows, "", below, MARKS[1]])
    page.write_text(head + table + rest.split(MARKS[1], 1)[1], "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(NAMES), help=f"some of {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="shorter, for a glance and for CI")
    parser.add_argument("--check", action="store_true", help="fail when a figure is far beyond its gate")
    parser.add_argument("--readme", action="store_true", help="only write the stored figures into the pages")
    given = parser.parse_args()
    if given.readme:
        tables()
        return
    names = given.only.split(",")
    if unknown := set(names) - set(NAMES):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are: {', '.join(NAMES)}")
    failed = report({name: measure(name, quick=given.quick) for name in names})
    if given.check and failed:
        sys.exit("\n" + "\n".join(failed))


if __name__ == "__main__":
    main()
