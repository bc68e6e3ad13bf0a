"""A knowledge base beside that of the seed, loom-agent: the same passages and the same vectors, in one run.

Called by `run.py`. Vectors of passages and questions are made beforehand with `wordllama`, so that no side pays for the
embedder, and each document is one passage. Ingestion is told twice: without an embedder's time, where the seed appends
to a list in memory and loomd reads files, writes them down and builds its indexes; and with a service that takes
`PER_CALL` seconds for a request and `PER_TEXT` for each text, which the seed asks once for every document.
"""

import asyncio
import json
import os
import random
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import numpy as np

from loomd.clock import SystemClock
from loomd.events.bus import Bus
from loomd.knowledge.spec import KnowledgeBaseSpec
from loomd.manifest.object import Metadata, Object, Ref
from loomd.manifest.problem import Position
from loomd.store.sqlite import open_store
from loomd.topology import Parts, Services

HERE = Path(__file__).resolve().parent
PYTHON = Path(os.environ.get("RETRIEVAL_PEERS", HERE / ".venv" / "bin" / "python"))
PER_CALL, PER_TEXT = 0.005, 0.0001
"""A small service near by: 5 ms for a request, and 10,000 texts in a second beyond that."""
TOP = 10
Embed = Callable[[Sequence[str]], Awaitable[np.ndarray]]


class Made:
    """Vectors by text, made before; fits an Embedder."""

    fingerprint = "made"

    def __init__(self, vectors: dict[str, np.ndarray], *, service: bool = False) -> None:
        self._vectors = vectors
        self._service = service
        self.dimension = len(next(iter(vectors.values())))

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return vectors, after the service's time; what stands above a text, its file's name, is not looked at."""
        if self._service:
            await asyncio.sleep(PER_CALL + PER_TEXT * len(texts))
        return np.stack([self._vectors[text.rsplit("\n", 1)[-1]] for text in texts])


def passages(source: Path, count: int, asked: int) -> tuple[list[str], list[str], list[int]]:
    """Return texts of about 75 words, questions of six words of one each, and which one that is."""
    words = " ".join(path.read_text("utf-8") for path in sorted(source.glob("*.md"))).split()
    draw = random.Random(7)
    texts: dict[str, None] = {}
    while len(texts) < count:
        at = draw.randrange(len(words) - 200)
        part = words[at : at + 90]
        draw.shuffle(part)
        texts.setdefault(" ".join(word for word in part if word.isalnum())[:900].strip(), None)
    made = list(texts)
    answers = [draw.randrange(count) for _ in range(asked)]
    questions = [" ".join(draw.sample(sorted(set(made[one].split())), 6)) for one in answers]
    return made, questions, answers


async def compare(source: Path, embed: Embed, folder: Path, count: int, asked: int, theirs: int) -> dict[str, float]:
    """Return the figures of both sides.

    Args:
        source: folder of Markdown that the passages' words are from.
        embed: makes unit vectors of texts.
        folder: an empty one for both sides.
        count: how many passages.
        asked: how many questions; the seed, which takes longer, is asked the first `theirs` of them.
        theirs: see there.
    """
    texts, questions, answers = passages(source, count, asked)
    rows = np.asarray(await embed([*texts, *questions]), np.float32)
    (folder / "vectors.bin").write_bytes(rows.tobytes())
    told = {"dimension": rows.shape[1], "texts": texts, "questions": questions, "answers": answers}
    (folder / "passages.json").write_text(json.dumps(told), "utf-8")
    (folder / "docs").mkdir()
    for number, text in enumerate(texts):
        (folder / "docs" / f"{number}.txt").write_text(text, "utf-8")
    vectors = dict(zip([*texts, *questions], rows, strict=True))
    figures: dict[str, float] = {"passages": count}
    sides = {
        "loomd": await _ours(folder, vectors, list(zip(questions, answers, strict=True)), texts),
        "seed": _theirs(folder, theirs),
    }
    served = {
        "loomd": await _ours(folder, vectors, [], texts, service=True),
        "seed": _theirs(folder, 0, f"{PER_CALL},{PER_TEXT}"),
    }
    for side, of_it in sides.items():
        figures |= {f"{side}.{name}": value for name, value in of_it.items()}
        figures[f"{side}.ingest with a service s"] = served[side]["ingest s"]
    figures["query, cpu x seed"] = sides["loomd"]["query cpu ms"] / sides["seed"]["query cpu ms"]
    figures["ingest, cpu x seed"] = sides["loomd"]["ingest cpu s"] / sides["seed"]["ingest cpu s"]
    figures["ingest with a service, time x seed"] = served["loomd"]["ingest s"] / served["seed"]["ingest s"]
    return figures


def _theirs(folder: Path, asked: int, *service: str) -> dict[str, float]:
    command = [str(PYTHON), str(HERE / "peer.py"), str(folder), str(asked), *service]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]})
    return json.loads(done.stdout.splitlines()[-1])


async def _ours(
    folder: Path,
    vectors: dict[str, np.ndarray],
    asked: list[tuple[str, int]],
    texts: list[str],
    *,
    service: bool = False,
) -> dict[str, float]:
    state = folder / f"state-{service}"
    async with open_store(state) as store:
        clock = SystemClock()
        spec = KnowledgeBaseSpec.model_validate({"sources": [{"path": "docs"}], "embedder": "x"})
        declared = Object(Ref("KnowledgeBase", "x"), Metadata(name="x"), spec, {}, folder, Position("x"))
        live = {Ref("Embedder", "x"): Made(vectors, service=service)}
        began, cpu = time.perf_counter(), time.process_time()
        async with spec.open(Parts(declared, Services(store, Bus(clock), clock, state), live)) as base:
            found = {"ingest s": time.perf_counter() - began, "ingest cpu s": time.process_time() - cpu}
            assert len(base) == len(texts), len(base)
            if not asked:
                return found
            for question, _ in asked[:20]:
                await base.search(question, TOP)
            hits, took = 0, list[float]()
            cpu = time.process_time()
            for question, answer in asked:
                began = time.perf_counter()
                best = await base.search(question, TOP)
                took.append((time.perf_counter() - began) * 1e3)
                hits += any(one.text == texts[answer] for one in best)
            found["query cpu ms"] = (time.process_time() - cpu) * 1e3 / len(asked)
            found["query p50 ms"] = sorted(took)[len(took) // 2]
            found["hit@10"] = hits / len(asked)
            return found
