"""What a semantic cache would answer from memory, rightly and wrongly, by threshold: for a choice of it.

    python benchmarks/cache/run.py [--embedder wordllama|hash] [--json FILE]

Pairs of short questions (`pairs.py`): of those that mean the same each hit saves a call, of those that do not each is
a wrong answer.
"""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

import numpy as np
from pairs import OTHER, SAME

from loomd.testing import open_spec

THRESHOLDS = (0.80, 0.85, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 0.999)


async def measure(embedder: str) -> dict[str, list[float]]:
    """Return how alike the questions of each pair are."""
    with tempfile.TemporaryDirectory() as folder:
        async with open_spec("Embedder", {"type": embedder}, Path(folder)) as live:
            found: dict[str, list[float]] = {}
            for name, pairs in (("same", SAME), ("other", OTHER)):
                one, two = [await live.embed([pair[at] for pair in pairs]) for at in (0, 1)]
                found[name] = [float(value) for value in np.einsum("ij,ij->i", one, two)]
            return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="wordllama")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    alike = asyncio.run(measure(given.embedder))
    print(f"{given.embedder}: {len(SAME)} pairs that mean the same, {len(OTHER)} that do not")
    print(f"{'threshold':>10}{'saved':>8}{'wrong':>8}")
    figures: dict[str, float] = {}
    for threshold in THRESHOLDS:
        saved, wrong = (np.mean([one >= threshold for one in alike[name]]) for name in ("same", "other"))
        figures |= {f"saved at {threshold}": float(saved), f"wrong at {threshold}": float(wrong)}
        print(f"{threshold:>10}{saved:>8.0%}{wrong:>8.0%}")
    for name, pairs in (("same", SAME), ("other", OTHER)):
        print(f"likest of those that mean {'the same' if name == 'same' else 'something else'}:")
        for value, (one, other) in sorted(zip(alike[name], pairs, strict=True), reverse=True)[:6]:
            print(f"  {value:.3f}  {one} / {other}")
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
