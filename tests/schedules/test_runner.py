"""Each due time gets its task once, or is missed for a reason that is told; time is turned by hand."""

import json
from typing import Any

import pytest

from loomd.errors import Conflict, NotFound, Temporary
from loomd.events.event import ScheduleFired, ScheduleResumed, ScheduleSuspended
from loomd.manifest.object import Ref
from loomd.schedules.agenda import MOST
from tests.schedules.conftest import REF, TEAM, Open, at, schedule

FIRST = "2026-03-02 05:00"
"""A Monday morning."""


async def test_a_run_is_a_task(begin: Open) -> None:
    """At its time a schedule submits its task, with goal, cluster, budget and what is expected."""
    wanted: dict[str, Any] = {
        "cluster": "team",
        "budget": {"tokens": 9000, "cost": 0.5, "time": "5m"},
        "expect": {"contains": ["ok"], "cites": True, "outputSchema": {"type": "object"}},
    }
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule(**wanted))
        await bench.go("2026-03-02 05:59")
        assert await bench.tasks() == []
        assert bench.condition("TaskSubmitted") == ("Unknown", "NotDue")
        assert bench.standing.next == at("2026-03-02 06:00")
        await bench.go("2026-03-02 06:00")
        await bench.go("2026-03-02 06:30")
        (record,) = await bench.tasks()
        task = json.loads(record.body)
        assert (task["goal"], task["cluster"], task["deadline"]) == ("hello", "team", at("2026-03-02 06:05"))
        assert task["budget"] == {"tokens": 9000, "cost": 0.5, "seconds": 300.0, "calls": 500, "tool_calls": 1000}
        assert task["expect"] == {"contains": ["ok"], "cites": True, "output_schema": {"type": "object"}}
        (event,) = [event for event in bench.events if isinstance(event.data, ScheduleFired)]
        assert event.data == ScheduleFired("it", record.id, at("2026-03-02 06:00"))
        assert bench.standing.last is not None
        assert bench.standing.last.task == record.id
        assert bench.condition("TaskSubmitted") == ("True", "Submitted")
        assert (await bench.system.engine.result(record.id)).phase == "Succeeded"


async def test_a_week_of_working_days(begin: Open) -> None:
    """Looked at every few minutes for a week, each due time is started once and nothing is missed."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule("0 6,18 * * 1-5"))
        await bench.walk("2026-03-09 05:00", step=1800)
        days = [f"03-{day:02}" for day in range(2, 7)]
        assert bench.fired() == [f"{day} {hour}" for day in days for hour in ("06:00", "18:00")]
        assert bench.missed() == []


@pytest.mark.parametrize(
    ("policy", "fired", "missed"),
    [
        pytest.param({"missedRunPolicy": "skip"}, [], (1, 7, 7), id="skip"),
        pytest.param({"missedRunPolicy": "one"}, ["03-08 06:00"], (1, 6, 6), id="one"),
        pytest.param({}, ["03-08 06:00"], (1, 6, 6), id="one-by-default"),
        pytest.param({"missedRunPolicy": "all"}, [f"03-{d:02} 06:00" for d in range(2, 9)], (0, 0, 0), id="all"),
        pytest.param({"startingDeadline": "5h"}, [], (1, 7, 7), id="one-too-late"),
        pytest.param({"startingDeadline": "7h"}, ["03-08 06:00"], (1, 6, 6), id="one-in-time"),
        pytest.param(
            {"missedRunPolicy": "all", "startingDeadline": "2d"},
            ["03-07 06:00", "03-08 06:00"],
            (1, 5, 5),
            id="all-in-time",
        ),
        pytest.param(
            {"missedRunPolicy": "all", "concurrencyPolicy": "Replace"}, ["03-08 06:00"], (1, 6, 6), id="all-replace"
        ),
    ],
)
async def test_a_week_without_a_daemon(
    begin: Open, policy: dict[str, Any], fired: list[str], missed: tuple[int, int, int]
) -> None:
    """What was due meanwhile is made up as the policy says, once, and the rest is told to be missed."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule(**policy))
    for again in range(2):
        async with begin("2026-03-08 12:00") as bench:
            await bench.system.schedules.tick()
            assert bench.fired() == ([] if again else fired)
            told = bench.missed()
            assert (len(told), sum(one.count for one in told)) == ((0, 0) if again else missed[:2])
            assert len(await bench.tasks()) == len(fired)


async def test_runs_that_are_late_by_seconds_are_on_time(begin: Open) -> None:
    """Whatever the policy, a daemon that comes up within a minute has missed nothing."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule(missedRunPolicy="skip"))
    async with begin("2026-03-02 06:00:59") as bench:
        assert bench.fired() == ["03-02 06:00"]


@pytest.mark.parametrize("policy", ["skip", "one", "all"])
async def test_a_clock_that_jumps_a_year_ahead_and_back_starts_no_storm(begin: Open, policy: str) -> None:
    """Every minute is due: a jump ahead starts at most what the policy bounds, the way back nothing twice."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule("* * * * *", missedRunPolicy=policy))
        await bench.go("2026-03-02 05:01")
        await bench.go("2027-03-02 05:01")
        ahead = len(bench.fired())
        assert ahead == 1 + (MOST if policy == "all" else 1)
        assert [one.more for one in bench.missed()] == ([True] if bench.missed() else [])
        await bench.go("2026-03-02 05:01:30")
        assert len(bench.fired()) == ahead
        await bench.walk("2026-03-02 05:11:30")
        assert len(bench.fired()) == ahead + 10
        tasks = await bench.tasks()
        assert len({task.id for task in tasks}) == len(bench.fired())
        await bench.go("2027-03-02 05:01:30")
        due = [event.data.due for event in bench.events if isinstance(event.data, ScheduleFired)]
        assert len(set(due)) == len(due)


async def test_a_clock_that_is_set_back_repeats_nothing(begin: Open) -> None:
    """What was started before the clock went back is not started again when its time comes again, restarts or not."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule("*/5 * * * *"))
        await bench.walk("2026-03-02 05:20")
        assert len(bench.fired()) == 4
        await bench.go("2026-03-02 05:08")
        assert bench.standing.next == at("2026-03-02 05:10")
        await bench.walk("2026-03-02 05:15")
        assert len(bench.fired()) == 4
    async with begin("2026-03-02 05:12") as bench:
        await bench.walk("2026-03-02 05:25")
        assert bench.fired() == ["03-02 05:25"]
        assert bench.missed() == []


async def test_days_on_which_clocks_change(begin: Open) -> None:
    """A daily run in the hour that is left out or comes twice is started once on each of those days."""
    async with begin("2026-03-28 00:00") as bench:
        await bench.serve(TEAM, schedule("30 2 * * *", timeZone="Europe/Berlin"))
        await bench.walk("2026-03-31 00:00", step=600)
        assert bench.fired("Europe/Berlin") == ["03-28 02:30", "03-29 03:00", "03-30 02:30"]
        await bench.go("2026-10-24 12:00")
        bench.events.clear()
        await bench.walk("2026-10-26 12:00", step=600)
        assert bench.fired("Europe/Berlin") == ["10-25 02:30", "10-26 02:30"]
        assert bench.missed() == []


async def test_forbid_waits_and_replace_ends(begin: Open) -> None:
    """While a run goes on, `Allow` starts the next beside it, `Forbid` does not, `Replace` ends it first."""
    texts = [
        schedule("*/10 * * * *", name, goal="slow", concurrencyPolicy=policy, missedRunPolicy="skip")
        for name, policy in (("a", "Allow"), ("f", "Forbid"), ("r", "Replace"))
    ]
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, *texts)
        await bench.walk("2026-03-02 05:22")
        active = {name: bench.system.schedules.standing(Ref("Schedule", name)) for name in "afr"}
        assert {name: one and len(one.active) for name, one in active.items()} == {"a": 2, "f": 1, "r": 1}
        phases = sorted(task.phase for task in await bench.tasks())
        assert phases.count("Cancelled") == 1
        (missed,) = bench.missed()
        going = active["f"].active[0] if active["f"] else ""
        assert (missed.schedule, missed.count) == ("f", 1)
        assert missed.reason == f"the run before goes on: Task/{going}"


async def test_forbid_starts_the_next_when_the_run_before_has_ended(begin: Open) -> None:
    """What `Forbid` held back is made up as soon as it may start, the newest of it."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule("*/10 * * * *", goal="slow", concurrencyPolicy="Forbid"))
        await bench.walk("2026-03-02 05:35")
        assert bench.fired() == ["03-02 05:10"]
        assert bench.standing.waiting.startswith("the run before goes on")
        await bench.system.engine.cancel(bench.standing.active[0])
        await bench.system.schedules.tick()
        assert bench.fired() == ["03-02 05:10", "03-02 05:30"]
        assert bench.standing.waiting == ""
        assert sum(one.count for one in bench.missed()) == 1


async def test_forbid_knows_a_run_from_before_a_restart(begin: Open) -> None:
    """A run that was interrupted goes on after a restart, and still forbids the next."""
    text = schedule("*/10 * * * *", goal="slow", concurrencyPolicy="Forbid")
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, text)
        await bench.go("2026-03-02 05:10")
    async with begin("2026-03-02 05:20") as bench:
        assert bench.fired() == []
        assert len(bench.standing.active) == 1
        assert len(await bench.tasks()) == 1


async def test_a_run_that_no_cluster_takes_is_told_and_made_up(begin: Open) -> None:
    """Without a cluster the condition says why; when one serves, the newest run starts, once."""
    async with begin(FIRST) as bench:
        await bench.serve(schedule("*/10 * * * *"))
        await bench.walk("2026-03-02 05:25")
        assert bench.fired() == []
        assert bench.condition("TaskSubmitted") == ("False", "ClusterNotServing")
        assert bench.condition("Ready") == ("False", "ClusterNotServing")
        assert 'namespace "default" has no agents' in bench.standing.waiting
        await bench.serve(schedule("*/10 * * * *"), TEAM)
        assert bench.fired() == ["03-02 05:20"]
        assert bench.condition("Ready") == ("True", "Serving")
        assert "has no agents" in bench.missed()[0].reason


async def test_a_reference_that_leads_nowhere_holds_it_back(begin: Open) -> None:
    """A schedule whose cluster is declared nowhere starts nothing until that is."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM.partition("kind: Cluster")[0].rpartition("---")[0], source="other")
        await bench.serve(schedule(cluster="team"))
        await bench.go("2026-03-02 06:00")
        assert bench.fired() == []
        assert bench.condition("Ready") == ("False", "RefsUnresolved")
        assert bench.standing.waiting == "something that the schedule refers to is not declared"
        await bench.serve(TEAM, source="other")
        assert bench.fired() == ["03-02 06:00"]


async def test_another_expression_counts_from_now_on(begin: Open) -> None:
    """After a change nothing is due that would have been before it, and nothing of the old expression."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule("0 6 * * *"))
        await bench.go("2026-03-02 05:30")
        await bench.serve(TEAM, schedule("0 5,7 * * *"))
        await bench.walk("2026-03-02 08:00")
        assert bench.fired() == ["03-02 07:00"]
        await bench.serve(TEAM, schedule("0 5,7 * * *", timeZone="Asia/Tokyo"))
        await bench.walk("2026-03-02 23:00")
        assert bench.fired() == ["03-02 07:00", "03-02 20:00", "03-02 22:00"]
        assert bench.missed() == []


async def test_another_goal_is_that_of_the_next_run(begin: Open) -> None:
    """A change of what is wanted moves no due time."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule())
        await bench.serve(TEAM, schedule(goal="good morning"))
        await bench.go("2026-03-02 06:00")
        (task,) = await bench.tasks()
        assert json.loads(task.body)["goal"] == "good morning"


async def test_what_is_suspended_is_not_missed(begin: Open) -> None:
    """By hand or by its manifest, over a restart too: nothing starts, and what was due meanwhile is no matter."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule("0 * * * *", missedRunPolicy="all"))
        await bench.system.schedules.suspend(REF, "holidays")
        assert bench.condition("Suspended") == ("True", "Suspended")
        assert bench.events[-1].data == ScheduleSuspended("it", "holidays")
        await bench.go("2026-03-02 08:30")
    async with begin("2026-03-02 09:30") as bench:
        assert (bench.standing.suspended, bench.standing.reason, bench.standing.next) == (True, "holidays", None)
        await bench.system.schedules.resume(REF)
        await bench.go("2026-03-02 10:00")
        assert bench.fired() == ["03-02 10:00"]
        await bench.serve(TEAM, schedule("0 * * * *", missedRunPolicy="all", suspend=True))
        await bench.go("2026-03-02 12:30")
        with pytest.raises(Conflict, match=r"spec\.suspend"):
            await bench.system.schedules.resume(REF)
        assert bench.condition("Ready") == ("True", "Serving")
        await bench.serve(TEAM, schedule("0 * * * *", missedRunPolicy="all"))
        await bench.go("2026-03-02 13:00")
        assert bench.fired() == ["03-02 10:00", "03-02 13:00"]
        assert bench.missed() == []
        told = [type(event.data) for event in bench.events]
        assert told.count(ScheduleResumed) == 1


async def test_what_is_deleted_and_comes_back_begins_anew(begin: Open) -> None:
    """A deleted schedule leaves nothing; one that a rollback brings back has missed nothing."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule())
        await bench.system.schedules.suspend(REF)
        await bench.serve(TEAM)
        assert await bench.system.store.schedules() == []
        assert bench.system.schedules.standing(REF) is None
        await bench.go("2026-03-03 12:00")
        await bench.system.reconciler.undo()
        await bench.system.schedules.tick()
        assert not bench.standing.suspended
        assert bench.fired() == []
        await bench.go("2026-03-04 06:00")
        assert bench.fired() == ["03-04 06:00"]


async def test_namespaces_are_apart(begin: Open) -> None:
    """Two schedules of one name in two namespaces each get their task at the same time."""
    other = (TEAM + schedule()).replace("metadata: {", "metadata: {namespace: other, ")
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule(), other)
        await bench.go("2026-03-02 06:00")
        assert sorted(task.namespace for task in await bench.tasks()) == ["default", "other"]
        assert sorted(event.namespace for event in bench.events if isinstance(event.data, ScheduleFired)) == [
            "default",
            "other",
        ]


async def test_jitter_moves_each_run_by_a_time_of_its_own(begin: Open) -> None:
    """Runs of one minute are spread, each always in the same way, and no run is lost or repeated."""
    names = [f"s{number}" for number in range(20)]
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, *(schedule(name=name, jitter="10m") for name in names))
        await bench.walk("2026-03-02 06:11", step=15)
        starts = [event.ts for event in bench.events if isinstance(event.data, ScheduleFired)]
        assert len(starts) == 20
        assert len(set(starts)) > 5
        assert min(starts) >= at("2026-03-02 06:00")
        assert max(starts) <= at("2026-03-02 06:10:15")
        assert bench.missed() == []


async def test_by_hand(begin: Open) -> None:
    """A run by hand is one more, also of a schedule that is suspended, and moves no due time."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule(suspend=True))
        name = await bench.system.schedules.start(REF)
        assert (await bench.system.engine.result(name)).phase == "Succeeded"
        await bench.serve(TEAM, schedule())
        await bench.go("2026-03-02 06:00")
        assert [run.task == name for run in bench.standing.runs] == [False, True]
        with pytest.raises(NotFound):
            await bench.system.schedules.start(Ref("Schedule", "other"))


@pytest.mark.parametrize("policy", ["skip", "one", "all"])
async def test_a_crash_between_task_and_note_repeats_nothing(
    begin: Open, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The task is on disk and nothing else is: after the restart it is known, told, and not submitted again."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule(missedRunPolicy=policy))
        rows = await bench.system.store.read(limit=10_000)

        async def full(*_: object) -> None:
            raise Temporary("disk full")

        def lost(_: object) -> int:
            return len(rows)

        monkeypatch.setattr(bench.system.store, "keep_schedules", full)
        monkeypatch.setattr(bench.system.store, "note", lost)
        bench.clock.advance(at("2026-03-02 06:00") - bench.clock.now())
        with pytest.raises(Temporary):
            await bench.system.schedules.tick()
        assert len(await bench.tasks()) == 1
    monkeypatch.undo()
    async with begin("2026-03-02 12:00") as bench:
        assert len(await bench.tasks()) == 1
        assert bench.fired() == ["03-02 06:00"]
        assert bench.missed() == []
        await bench.go("2026-03-03 06:00")
        assert len(await bench.tasks()) == 2


async def test_a_full_disk_delays(begin: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that cannot be stored starts as soon as it can; the condition says so meanwhile."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule())

        async def full(*_: object) -> None:
            raise Temporary("database or disk is full")

        with monkeypatch.context() as patch:
            patch.setattr(bench.system.store, "create_task", full)
            await bench.go("2026-03-02 06:00")
            assert bench.condition("Ready") == ("False", "NotSubmitted")
        await bench.go("2026-03-02 06:00:10")
        assert bench.fired() == ["03-02 06:00"]
        assert bench.condition("Ready") == ("True", "Serving")


async def test_a_record_that_is_damaged_begins_anew(begin: Open) -> None:
    """What cannot be read is forgotten, and the schedule goes on."""
    async with begin(FIRST) as bench:
        await bench.serve(TEAM, schedule())
        (record,) = await bench.system.store.schedules()
        await bench.system.store.keep_schedules([type(record)(record.uid, b"{")])
    async with begin("2026-03-02 06:00") as bench:
        assert bench.fired() == ["03-02 06:00"]
