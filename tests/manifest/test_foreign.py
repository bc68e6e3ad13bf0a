"""Types of installed packages: used like those of loomd, told of when they cannot be, and in no published schema."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def block(language: str, page: str = "write-a-policy") -> str:
    """Return the one block of a page in a language."""
    text = (ROOT / "docs" / "howto" / f"{page}.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language}[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def install(folder: Path, name: str, points: dict[str, dict[str, str]], modules: dict[str, str]) -> Path:
    """Install a package into a folder of its own as pip does, and return the folder."""
    target = folder / "site"
    with zipfile.ZipFile(built(folder, name, points, modules)) as wheel:
        wheel.extractall(target)
    return target


def built(folder: Path, name: str, points: dict[str, dict[str, str]], modules: dict[str, str]) -> Path:
    """Return the wheel of a package, made in a folder."""
    info = f"{name.replace('-', '_')}-1.0.dist-info"
    wheel = folder / f"{name.replace('-', '_')}-1.0-py3-none-any.whl"
    texts = {
        **{f"{module}.py": text for module, text in modules.items()},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in found.items())
            for group, found in points.items()
        ),
    }
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)
        archive.writestr(f"{info}/RECORD", "".join(f"{path},,\n" for path in [*texts, f"{info}/RECORD"]))
    return wheel


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder in which pip has installed the page's package."""
    project: dict[str, Any] = tomllib.loads(block("toml"))["project"]
    folder = tmp_path_factory.mktemp("tone")
    wheel = built(folder, project["name"], project["entry-points"], {"acme_tone": block("python")})
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-index",
        "--no-deps",
        "--target",
        str(folder / "site"),
    ]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)  # noqa: S603  # our own words
    return folder / "site"


def loomd(site: Path, folder: Path, *words: str, code: int = 0, page: str = "write-a-policy", **more: str) -> str:
    """Return what a command says on a machine with a package, run in a folder with the page's manifests."""
    (folder / "manifests.yaml").write_text(block("yaml", page), encoding="utf-8")
    environment = {**os.environ, "LOOMD_TYPES": "", "NO_COLOR": "1", **more}
    environment["PYTHONPATH"] = os.pathsep.join([str(site), str(ROOT), str(folder)])
    done = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stderr + done.stdout
    return done.stdout + done.stderr


def test_a_type_of_a_package_decides(tone: Path, tmp_path: Path) -> None:
    """It is validated, explained, and used by a task that is run; what it asked counts."""
    loomd(tone, tmp_path, "loomd", "validate", "-f", "manifests.yaml")
    assert "Provider of the model that judges." in loomd(
        tone, tmp_path, "loomd", "explain", "cluster.spec.evaluate.tone"
    )
    told = loomd(tone, tmp_path, "loomd", "run", "--state", "state", "manifests.yaml", "thank you")
    lines = (ROOT / "docs" / "howto" / "write-a-policy.md").read_text(encoding="utf-8").splitlines()
    shown = lines[lines.index('$ loomd run team.yaml "Thank you!"') + 1 :]
    assert set(shown[:2]) <= set(told.splitlines())


def test_a_provider_of_a_package_answers(tmp_path: Path) -> None:
    """It is validated, and asked by a task that is run, as its page says."""
    page = "write-a-provider"
    project: dict[str, Any] = tomllib.loads(block("toml", page))["project"]
    site = install(tmp_path, project["name"], project["entry-points"], {"acme_crier": block("python", page)})
    assert "are valid" in loomd(site, tmp_path, "loomd", "validate", "-f", "manifests.yaml", page=page)
    told = loomd(site, tmp_path, "loomd", "run", "--state", "state", "manifests.yaml", "hear ye", page=page)
    assert "HEAR YE!!" in told


def test_what_it_refers_to_is_checked(tone: Path, tmp_path: Path) -> None:
    """Its fields are fields like others: a name that leads nowhere is an error, and so is a value of a wrong type."""
    script = """
import sys
from pathlib import Path
from loomd.manifest.load import load
from loomd.manifest.problem import Problems
from loomd.manifest.source import SourceFile
for before, after in (("provider: judge", "provider: nobody"), ("provider: judge", "provider: judge, unjudged: 7")):
    text = Path("manifests.yaml").read_text().replace(before, after)
    try:
        load([SourceFile(Path(), "manifests.yaml", text.encode())])
    except Problems as error:
        print(*(one.code for one in error.problems))
"""
    (tmp_path / "look.py").write_text(script)
    assert loomd(tone, tmp_path, "look").split() == ["unresolved-reference", "out-of-range"]


BROKEN = {
    "import": ("import nothing_of_the_kind\n", "cannot be imported: ModuleNotFoundError"),
    "exit": ("raise SystemExit(3)\n", "cannot be imported: SystemExit"),
    "taken": (
        block("python").replace('Literal["tone"] = "tone"', 'Literal["rules"] = "rules"'),
        "type 'rules' is already defined by loomd.amoeba.policies.rules",
    ),
    "methodless": (
        block("python").replace("async def evaluate(", "async def judge("),
        "acme_methodless.Tone: needs the method `evaluate`",
    ),
    "nameless": (block("python").replace('type: Literal["tone"] = "tone"', 'kind: str = "x"'), "needs a field `type"),
}


def test_packages_that_cannot_be_used_are_told_of_once(tmp_path: Path) -> None:
    """One warning each; the types of loomd work on, and the others of the same package too."""
    points = {"loomd.amoeba.policies": {**{how: f"acme_{how}" for how in BROKEN}, "tone": "acme_tone"}}
    modules = {f"acme_{how}": text for how, (text, _) in BROKEN.items()}
    site = install(tmp_path, "acme-bad", points, {**modules, "acme_tone": block("python")})
    told = json.loads(loomd(site, tmp_path, "loomd", "validate", "-f", "manifests.yaml", "-o", "json"))
    problems = told["problems"] if isinstance(told, dict) else told
    assert [(one["code"], one["severity"]) for one in problems] == [("unusable-package", "warning")] * len(BROKEN)
    for how, (_, why) in BROKEN.items():
        (said,) = [one["message"] for one in problems if f"{how} = acme_{how}" in one["message"]]
        assert f"package acme-bad 1.0, loomd.amoeba.policies: {how} = acme_{how}" in said
        assert why in said
    assert "reward 0.90" in loomd(site, tmp_path, "loomd", "run", "--state", "state", "manifests.yaml", "thank you")


def test_no_package_is_looked_at_when_that_is_wished(tone: Path, tmp_path: Path) -> None:
    """Its types are not there then."""
    told = loomd(tone, tmp_path, "loomd", "validate", "-f", "manifests.yaml", code=1, LOOMD_TYPES="core")
    assert "tone" in told
    assert "unknown-type" in told


def test_published_schemas_hold_no_type_of_a_package(tone: Path, tmp_path: Path) -> None:
    """What is generated for the repository is the same whatever is installed; what is asked for here is not."""
    environment = {**os.environ, "LOOMD_TYPES": "", "PYTHONPATH": os.pathsep.join([str(tone), str(ROOT)])}
    command = [sys.executable, "-m", "tests.house.generate", "--check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    assert done.returncode == 0, done.stderr
    assert '"tone"' in loomd(tone, tmp_path, "loomd", "schema", "cluster")


WILD = '''"""Wild: policies that fail."""

import asyncio
import math
from typing import Any, Literal

from loomd.amoeba.decision import ScoreMove
from loomd.amoeba.policies.base import AdaptPolicy, EvaluatePolicy, MatchPolicy, ScalePolicy, SensePolicy
from loomd.amoeba.task import Matched, Opinion, Sensed


async def fail(how: str, odd: Any) -> Any:
    """Fail in some way."""
    if how == "hang":
        await asyncio.sleep(3600)
    return fall(how, odd)


def fall(how: str, odd: Any) -> Any:
    """Fail at once in some way."""
    if how == "exit":
        raise SystemExit(3)
    if how == "raise":
        raise ValueError("nothing to be done")
    return odd


class WildSense(SensePolicy):
    """Fails."""

    type: Literal["wild-sense"] = "wild-sense"
    how: str = "odd"
    """How."""

    async def sense(self, signals: Any, asking: Any) -> Any:
        """Fail."""
        return await fail(self.how, Sensed(math.nan, {"general": math.nan}))


class WildMatch(MatchPolicy):
    """Fails."""

    type: Literal["wild-match"] = "wild-match"
    how: str = "odd"
    """How."""

    async def choose(self, sensed: Any, agents: Any, draw: Any, asking: Any) -> Any:
        """Fail."""
        return await fail(self.how, Matched("nobody"))


class WildScale(ScalePolicy):
    """Fails."""

    type: Literal["wild-scale"] = "wild-scale"
    how: str = "odd"
    """How."""

    def parts(self, sensed: Any, task: Any) -> Any:
        """Fail."""
        return fall(self.how, None)


class WildEvaluate(EvaluatePolicy):
    """Fails."""

    type: Literal["wild-evaluate"] = "wild-evaluate"
    how: str = "odd"
    """How."""

    async def evaluate(self, case: Any, asking: Any) -> Any:
        """Fail."""
        return await fail(self.how, Opinion("wild", 17.0, 17.0, 17.0, 17.0))


class WildAdapt(AdaptPolicy):
    """Fails."""

    type: Literal["wild-adapt"] = "wild-adapt"
    how: str = "odd"
    """How."""

    def decide(self, sensed: Any, executed: Any, evaluated: Any, winner: Any) -> Any:
        """Fail."""
        return fall(self.how, [ScoreMove(winner.agent, winner.spec, "general", 0.3, math.nan, 0.0, 1, "wild")])

    def moved(self, score: Any, seen: Any) -> Any:
        """Fail."""
        return fall(self.how, None)
'''
FAILING = '''
import asyncio, tempfile
from pathlib import Path
from loomd.amoeba.task import Budget
from loomd.events.event import Fallback
from loomd.testing import run_manifests

TEAM = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: [{text: You are welcome., times: null}]}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Answers kindly., provider: script}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada], PHASE: {type: wild-PHASE, how: HOW}}
"""

async def main():
    for phase in ("sense", "match", "scale", "evaluate", "adapt"):
        for how in ("odd", "raise", "exit", "hang"):
            if how == "hang" and phase in ("scale", "adapt"):
                continue
            text = TEAM.replace("PHASE", phase).replace("HOW", how)
            with tempfile.TemporaryDirectory() as folder:
                ran = await run_manifests(text, "thank you", Path(folder), budget=Budget(seconds=2.0))
            told = [f"{one.reason}; {one.fallback}" for one in ran.facts(Fallback)] or [ran.result.error]
            print(phase, how, ran.result.phase, *told, sep="|")

asyncio.run(main())
'''
LATE = "did not answer within the task's time"
HOWS = {"raise": "raised ValueError: nothing to be done", "exit": "raised SystemExit: 3", "hang": LATE}
ENDS = {
    "sense": ("complexity is nan", "judged by the heuristic"),
    "match": ('"nobody" is none of those who may take the task', ""),
    "scale": ("got `null`", "done alone"),
    "evaluate": ("reward is 17", "judged by rules"),
    "adapt": ("score is nan", "no score moves"),
}


def test_policies_that_fail_stop_no_task_but_where_nobody_is_chosen(tmp_path: Path) -> None:
    """Whatever they raise, return, or never return, is told with their name, and the phase does what it says then."""
    site = install(tmp_path, "acme-wild", {"loomd.amoeba.policies": {"wild": "acme_wild"}}, {"acme_wild": WILD})
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    lines = [one for one in loomd(site, tmp_path, "failing").splitlines() if one.partition("|")[0] in ENDS]
    assert len(lines) == 18, lines
    for line in lines:
        phase, how, ended, told = line.split("|", 3)
        odd, instead = ENDS[phase]
        assert f"the {phase} policy wild-{phase}, of the module acme_wild," in told, line
        assert HOWS.get(how, odd) in told, line
        assert told.endswith(instead), line
        if (phase, how) != ("sense", "hang"):  # which leaves no time, or next to none
            assert ended == ("Failed" if phase == "match" else "Succeeded"), line
