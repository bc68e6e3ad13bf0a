"""The tutorial is walked through: what it says that verbs print is what they print.

A scripted model stands for the embedded one, and wherever a number stands any number may. A line `...` stands for lines
that the tutorial leaves out.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

pytest.importorskip("wordllama", reason="the tutorial compares texts with the embedder of loomd[local]")

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(?P<form>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"\b[0-9a-f]{12}\b|\d+(\.\d+)?")
NOTHING = "..."
FEE = {"name": "late-fee", "arguments": {"days": 12}}
PARTS = ["When is the reading room open?", "What is the fee for a book that is 12 days late?"]
REPLIES = [
    {"when": "open, and what", "json": {"parts": [{"goal": part, "needs": []} for part in PARTS]}, "times": None},
    {"when": "12 days late", "toolCalls": [FEE]},
    {"when": "12 days late", "text": "The result is 2.4.", "times": None},
    {"when": "poetry", "text": "The poetry group meets every Thursday evening in the garden room. [1]", "times": None},
    {"text": "The reading room is open from Tuesday to Saturday, 9 to 18 o'clock. [1]", "times": None},
]
MODEL = {
    "apiVersion": "loomd.dev/v1",
    "kind": "Provider",
    "metadata": {"name": "embedded"},
    "spec": {"type": "scripted", "replies": REPLIES},
}


class Walk:
    """The folder that somebody stands in who follows the tutorial."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.library = folder / "library"

    def run(self, command: str) -> list[str]:
        """Run a command as it is written there, and return what it prints, on standard error first."""
        environment = os.environ | {"LOOMD_STATE": str(self.folder / "state"), "NO_COLOR": "1"}
        script = command.replace("loomd ", f"{sys.executable} -m loomd ")
        ran = subprocess.run(  # noqa: S603  # what the tutorial says
            ["/bin/bash", "-c", script],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return (ran.stdout + ran.stderr if "validate" in command else ran.stderr + ran.stdout).splitlines()

    def let_the_model_be_scripted(self) -> None:
        """Replace the embedded model, whose answers take seconds and differ."""
        (self.library / "provider.yaml").write_text(yaml.safe_dump(MODEL))


def commands() -> Iterator[tuple[str, list[str]]]:
    """Yield each command of the tutorial with what it is said to print."""
    for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
        if block["form"] == "console":
            for part in re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]:
                command, _, said = part.partition("\n")
                if "<<'END'" in command:
                    body, _, said = said.partition("END\n")
                    command = f"{command}\n{body}END"
                yield command, said.splitlines()


TOLD = dict(commands())
"""What each command of the tutorial prints; of one that is there twice, the last time."""


MANIFESTS = [found["text"] for found in BLOCK.finditer(PAGE.read_text(encoding="utf-8")) if found["form"] == "yaml"]


def plain(lines: list[str]) -> list[str]:
    """Return lines in which no number is another."""
    return [NUMBER.sub("N", line) for line in lines]


def missing(told: list[str], said: list[str]) -> list[str]:
    """Return what the tutorial tells and a command does not say, or the other way round unless lines are left out.

    The answer goes to another stream than the phases, so that the order is left aside.
    """
    given, wanted = plain(said), plain(told)
    left_out = any(line.strip() == NOTHING for line in told)
    lacks = [line for line in wanted if line.strip() != NOTHING and line not in given]
    return lacks + ([] if left_out else [line for line in given if line not in wanted])


@pytest.fixture
def walk(tmp_path: Path) -> Walk:
    """Return a walk whose first step is done."""
    made = Walk(tmp_path)
    assert made.run("loomd init library") == TOLD["loomd init library"]
    return made


def test_the_first_system_is_valid(walk: Walk) -> None:
    """Step 1: as many objects in as many files as it says."""
    assert "5 objects in 3 files are valid" in walk.run("loomd validate library")[0]


def test_what_is_broken_on_purpose(walk: Walk) -> None:
    """Step 3: letter by letter, and `run` tells the same problems with whole paths and without the count."""
    agent = walk.library / "agent.yaml"
    text = agent.read_text().replace("provider: embedded", "provider: embeded")
    agent.write_text(text.replace("knowledge: [docs]", "knowlege: [docs]"))
    told = TOLD["loomd validate library"]
    assert walk.run("loomd validate library") == told
    whole = [line.replace("library/agent.yaml", str(agent)) for line in told[:-2]]
    assert walk.run("loomd run library 'hello'") == whole


def test_what_runs_print(walk: Walk) -> None:
    """Steps 1, 2, 4 and 5: the same lines but for numbers, with the files that the tutorial says to write."""
    walk.let_the_model_be_scripted()
    cashier, librarian, cluster = MANIFESTS
    documents, folder, fees = (command for command in TOLD if command.startswith(("cat", "mkdir")))
    steps = [
        ("reading room open?", [], {}),
        ("poetry group", [documents], {}),
        ("Compute", [folder, fees], {"cashier.yaml": cashier, "agent.yaml": librarian}),
        ("and what", [], {"cluster.yaml": cluster}),
    ]
    for words, acts, manifests in steps:
        for act in acts:
            walk.run(act)
        for name, text in manifests.items():
            (walk.library / name).write_text(text)
        command = next(one for one in TOLD if one.startswith("loomd run") and words in one)
        assert missing(TOLD[command], walk.run(f"{command} --seed 7")) == [], command
