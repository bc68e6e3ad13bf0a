"""What a cluster believed at a moment that is over."""

from pathlib import Path

import pytest

from loomd.amoeba.blueprint import Blueprint, encode
from loomd.amoeba.world import Score
from loomd.cluster.past import Belief, Records, beliefs
from loomd.manifest.load import load
from loomd.manifest.object import Ref, Snapshot
from loomd.manifest.source import SourceFile
from loomd.store.records import BlueprintRecord, Descent, Movement

TEAM = b"""
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: script}
spec: {type: scripted, replies: []}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {provider: script, domains: {law: 0.5}}
---
apiVersion: loomd.dev/v1
kind: Cluster
metadata: {name: team}
spec: {agents: [ada], learning: {halfLife: 100s, keep: 0.5}}
"""
LAW = Blueprint("team", "ada", "You know the law.", "Knows the law.", {"law": 0.7})
LEARNED = Blueprint("team", "ada", "Be brief.")


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Return what was declared."""
    return load([SourceFile(tmp_path, "a.yaml", TEAM)])


def moved(spec: str, at: float, after: float, count: int, agent: str = "ada") -> Movement:
    """Return a movement of a score in law."""
    return Movement(
        agent=agent,
        spec=spec,
        domain="law",
        before=after - 0.1,
        after=after,
        variance=0.01,
        count=count,
        reward=1.0,
        task="t",
        at=at,
    )


def made(name: str, version: int, at: float, what: Blueprint, how: str) -> BlueprintRecord:
    """Return a version of a blueprint."""
    return BlueprintRecord("default", name, version, encode(what), version - 1, at, how)


def believed(snapshot: Snapshot, records: Records, at: float) -> dict[tuple[str, str], Belief]:
    """Return what was believed, by agent and domain."""
    item = snapshot.objects[Ref("Cluster", "team")]
    return {(one.agent, one.domain): one for one in beliefs(item, snapshot, records, at)}


def test_scores_are_those_of_then(snapshot: Snapshot) -> None:
    """The last movement until then counts, with what time had taken of it; before the first what was declared."""
    ada = snapshot.behaviour(Ref("Agent", "ada"))
    records = Records([moved(ada, 100, 0.9, 10), moved(ada, 300, 0.7, 11), moved(ada, 900, 0.6, 12)], (), ())
    assert believed(snapshot, records, 99)["ada", "law"].score.mean == pytest.approx(0.8)  # as the first one found it
    assert believed(snapshot, Records([moved(ada, 100, 0.9, 1)], (), ()), 99)["ada", "law"].learned is None
    now = believed(snapshot, records, 200)["ada", "law"]
    assert now.score.mean == pytest.approx(0.7)
    assert now.score.count == 5
    assert now.learned is not None
    assert now.learned.mean == 0.9
    assert believed(snapshot, records, 300)["ada", "law"].score.mean == pytest.approx(0.7)


def test_what_was_locked_then_is_what_was_declared(tmp_path: Path) -> None:
    """Whatever had been learned."""
    text = TEAM.replace(b"{law: 0.5}}", b"{law: 0.5}, locked: [domains.law]}")
    snapshot = load([SourceFile(tmp_path, "a.yaml", text)])
    records = Records([moved(snapshot.behaviour(Ref("Agent", "ada")), 100, 0.9, 10)], (), ())
    assert believed(snapshot, records, 200)["ada", "law"].score == Score(0.5)


def test_members_are_those_of_then(snapshot: Snapshot) -> None:
    """Specialists from when they were made until they were pruned; instructions make an agent another one."""
    ada = snapshot.behaviour(Ref("Agent", "ada"))
    law, learned = LAW.digest("ada-law", ada, ""), LEARNED.digest("ada", ada, "You are {{ agent }}.")
    blueprints = [
        made("ada", 1, 400, LEARNED, "promoted"),
        made("ada-law", 1, 100, LAW, "forged"),
        made("ada-law", 2, 300, LAW, "pruned"),
    ]
    lineage = [Descent("default", "ada", ada, "retired from team", "t", 150)]
    movements = [moved(ada, 120, 0.9, 10), moved(law, 130, 0.8, 3, "ada-law")]
    records = Records(movements, blueprints, lineage)
    assert set(believed(snapshot, records, 99)) == {("ada", "law")}
    then = believed(snapshot, records, 200)
    assert then["ada-law", "law"].spec == law
    assert then["ada-law", "law"].learned is not None
    assert (then["ada", "law"].retired, then["ada-law", "law"].retired) == (True, False)
    assert set(believed(snapshot, records, 300)) == {("ada", "law")}
    now = believed(snapshot, records, 420)["ada", "law"]
    assert (now.spec, now.retired) == (learned, False)
    assert now.learned is not None
    assert (now.learned.mean, now.learned.count) == (0.9, 5)


def test_it_takes_over_what_people_took_over() -> None:
    """Instructions that stand in the prompt make nobody another one."""
    assert LEARNED.digest("ada", "x", "You are ada.\n\nBe brief.") == "x"
    assert LEARNED.digest("ada", "x", "You are ada.") != "x"


def test_blueprints_that_joined_and_skills_are_members(tmp_path: Path) -> None:
    """A declared blueprint from when it joined; a skill from when something was learned of it."""
    more = b"forge: {blueprints: [notary]}, skillNodes: {host: ada, skills: [shared], scores: {tides: 0.4}}, learning"
    text = (
        TEAM.replace(b"learning", more)
        + b"""---
apiVersion: loomd.dev/v1
kind: Blueprint
metadata: {name: notary}
spec: {provider: script, domains: {seals: 0.6}}
---
apiVersion: loomd.dev/v1
kind: Skill
metadata: {name: shared}
spec: {directory: skills}
"""
    )
    place = tmp_path / "skills" / "tides"
    place.mkdir(parents=True)
    (place / "SKILL.md").write_text("---\nname: tides\ndescription: Tells the tides.\n---\nHigh water.\n")
    snapshot = load([SourceFile(tmp_path, "a.yaml", text)])
    notary = snapshot.behaviour(Ref("Blueprint", "notary"))
    movements = [moved("s1", 50, 0.8, 4, "ada+tides"), moved(notary, 120, 0.9, 10, "notary")]
    records = Records(movements, [made("notary", 1, 100, Blueprint("team", "notary"), "forged")], ())
    assert set(believed(snapshot, records, 40)) == {("ada", "law")}
    assert set(believed(snapshot, records, 60)) == {("ada", "law"), ("ada+tides", "law"), ("ada+tides", "tides")}
    assert believed(snapshot, records, 60)["ada+tides", "tides"].score.mean == 0.4
    then = believed(snapshot, records, 120)
    assert then["notary", "seals"].score.mean == 0.6
    assert then["notary", "law"].learned is not None
