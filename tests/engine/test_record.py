"""What is recorded answers for exactly what was asked; a task that now asks something else fails and says what."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from loomd.agents.approval import Ask, Decision
from loomd.agents.base import Steps
from loomd.agents.budget import Budget, Spent
from loomd.amoeba.task import ENGINE, Durability, Result, Task
from loomd.clock import SystemClock
from loomd.engine.lent import Lent
from loomd.engine.mailbox import Mailbox, question
from loomd.engine.record import TaskRecorder
from loomd.errors import Diverged, Permanent, Uncertain
from loomd.events.bus import Bus, Scope
from loomd.events.event import ApprovalRequested, ApprovalResolved, StepCompleted, StepFailed
from loomd.events.journal import Journal
from loomd.messages import Message, Request, ToolSchema, gist
from loomd.store.base import Store
from loomd.store.sqlite import open_store
from loomd.topology import Services
from tests.clocks import skip

KEY = "execute/tool/0/0"
SMALL = Ask("pay", {"amount": 1}, 60.0)
LARGE = Ask("pay", {"amount": 1_000_000}, 60.0)
OTHER = "arguments=1111111111111111"
ONE = "arguments=0000000000000000"


class Bench:
    """Recorders of one task, each as after a restart."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.clock = SystemClock()
        self.journal = Journal(store)
        self.bus = Bus(self.clock, record=self.journal.record)
        self.mailbox = Mailbox(store, self.clock)
        self.services = Services(store, self.bus, self.clock, folder)
        self.done = 0

    async def recorder(self, durability: Durability = "steps", engine: int = ENGINE) -> TaskRecorder:
        """Return a recorder that knows what is recorded by now."""

        async def child(task: Task, account: Budget) -> Result:
            raise NotImplementedError(task.id, account)

        async def parts() -> Spent:
            raise NotImplementedError

        async def mark(phase: str) -> None:
            del phase

        async def settle() -> None:
            return

        task = Task("t1", "go", durability=durability, engine=engine)
        lent = Lent(self.services, self.mailbox, child, parts, mark, settle, lambda: None, lambda: False)
        recorded = await self.journal.checkpoints("t1")
        return TaskRecorder(task, lent, Scope(self.bus, "t1"), recorded, resumed=bool(recorded))

    async def loose(self, whose: str) -> Steps:
        """Return steps that are not recorded, of a task or of one agent in it."""
        return await self.recorder("task") if whose == "task" else (await self.recorder()).loose()

    async def do(self) -> str:
        """Do a step."""
        self.done += 1
        return "done"

    async def fail(self) -> str:
        """Fail."""
        raise Permanent("no more")

    async def asked(self) -> str:
        """Return the id of the first open question, once there is one."""
        while not (found := await self.store.list_approvals(pending=True)):  # noqa: ASYNC110  # nobody tells
            await asyncio.sleep(0.005)
        return found[0].id

    async def agree(self, steps: Steps, ask: Ask) -> Decision:
        """Ask, and let a person agree."""
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(steps.approve(KEY, ask))
            await self.mailbox.decide(await self.asked(), Decision("approved", "ann"))
        return waiting.result()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncGenerator[Bench, None]:
    """Yield a bench on a store of its own."""
    async with open_store(tmp_path / "state") as store:
        yield Bench(store, tmp_path)


# People


async def test_an_agreement_holds_for_what_was_asked(bench: Bench) -> None:
    """Agreed to a call; after a restart the same key stands for other arguments: that is not what was agreed to."""
    assert (await bench.agree(await bench.recorder(), SMALL)).verdict == "approved"
    again = await bench.recorder()
    assert (await again.approve(KEY, SMALL)).by == "ann"
    with pytest.raises(Diverged, match=r"recorded under execute/tool/0/0 is the question a-.* another call of pay"):
        await again.approve(KEY, LARGE)
    await again.step(KEY, "tool:pay", bench.do, str)
    assert (await (await bench.recorder()).approve(KEY, SMALL)).verdict == "approved"
    with pytest.raises(Diverged):
        await (await bench.recorder()).approve(KEY, LARGE)


async def test_a_question_that_is_open_holds_for_what_was_asked(bench: Bench) -> None:
    """The same before anybody answered; asked again it is the same question."""
    waiting = asyncio.create_task((await bench.recorder()).approve(KEY, SMALL))  # noqa: TID251  # ended below
    asked = await bench.asked()
    waiting.cancel()
    with pytest.raises(Diverged, match="recorded under"):
        await (await bench.recorder()).approve(KEY, LARGE)
    await bench.agree(await bench.recorder(), SMALL)
    assert [one.id for one in await bench.store.list_approvals()] == [asked]


async def test_an_agreement_of_an_earlier_version_holds(bench: Bench) -> None:
    """Its keys do not name the question."""
    emit = (await bench.recorder()).scope.emit
    asked = question(SMALL, "t1", "default", KEY, 1.0)
    emit(ApprovalRequested(asked.id, "pay", SMALL.arguments, "call", 9.0), key=f"asked/{KEY}")
    emit(ApprovalResolved(asked.id, "approved", "bob", "", 2.0, 1.0), key=f"approval/{KEY}")
    again = await bench.recorder()
    assert await again.approve(KEY, SMALL) == Decision("approved", "bob", at=2.0)
    assert again.waited() == 1.0
    with pytest.raises(Diverged):
        await again.approve(KEY, LARGE)


async def test_a_call_that_was_denied_is_not_made_when_nobody_is_to_be_asked_any_more(bench: Bench) -> None:
    """Terms of approval may be taken away while a task runs; what was decided stays decided."""
    emit = (await bench.recorder()).scope.emit
    emit(ApprovalResolved("a-1", "denied", "bob", "no", 2.0, 1.0), key=f"approval/{KEY}/a-1")
    again = await bench.recorder()
    with pytest.raises(Diverged, match=r"a question \(denied by bob: no\), the task now does tool:pay without asking"):
        await again.step(KEY, "tool:pay", bench.do, str, once=True)
    assert bench.done == 0


async def test_a_call_that_was_denied_while_nobody_waited_is_not_made_either(bench: Bench) -> None:
    """What was decided while the task did not run is on disk alone; it counts, and is recorded then."""
    waiting = asyncio.create_task((await bench.recorder()).approve(KEY, SMALL))  # noqa: TID251  # ended below
    asked = await bench.asked()
    while not await bench.journal.checkpoints("t1"):  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(0.005)
    waiting.cancel()
    open_still = await bench.recorder()
    assert await open_still.denied(KEY, SMALL) is None
    await bench.mailbox.decide(asked, Decision("denied", "ann"))
    with pytest.raises(Diverged, match=r"a question \(denied by ann\), the task now does tool:pay without asking"):
        await (await bench.recorder()).step(KEY, "tool:pay", bench.do, str, once=True)
    modes: tuple[Durability, ...] = ("steps", "task")
    for durability in modes:
        again = await bench.recorder(durability)
        denied = await again.denied(KEY, SMALL)
        assert denied is not None
        assert (denied.verdict, denied.by) == ("denied", "ann")
        assert await again.denied(KEY, LARGE) is None
    assert f"approval/{KEY}/{asked}" in await bench.journal.checkpoints("t1")
    assert bench.done == 0


async def test_what_stands_for_a_denied_call_answers_whatever_is_asked_later(bench: Bench) -> None:
    """It is the result of the step, with and without a question; with other arguments it is another call."""
    emit = (await bench.recorder()).scope.emit
    emit(ApprovalResolved("a-1", "denied", "bob", "no", 2.0, 1.0), key=f"approval/{KEY}/a-1")
    assert await (await bench.recorder()).skip(KEY, "tool:pay", "not made", asked=ONE) == "not made"
    again = await bench.recorder()
    assert await again.skip(KEY, "tool:pay", "not made for another reason", asked=ONE) == "not made"
    assert await again.step(KEY, "tool:pay", bench.do, str, asked=ONE, once=True) == "not made"
    with pytest.raises(Diverged, match="with other arguments than it has now"):
        await again.step(KEY, "tool:pay", bench.do, str, asked=OTHER, once=True)
    assert bench.done == 0


async def test_a_repeat_is_made_once(bench: Bench) -> None:
    """Interrupted again it is uncertain again, and the next repeat is another one."""
    for repeat in range(3):
        steps = await bench.recorder()
        for before in range(repeat):
            with pytest.raises(Uncertain) as caught:
                await steps.step(KEY, "tool:pay", bench.do, str, asked=ONE, once=True, again=before)
            assert caught.value.step == KEY
        with pytest.raises(Permanent, match="no more"):
            await steps.step(KEY, "tool:pay", bench.fail, str, asked=ONE, once=True, again=repeat)
    intents = [key for key in await bench.journal.checkpoints("t1") if key.startswith("intent/")]
    assert intents == [f"intent/{KEY}", f"intent/{KEY}/repeat/1", f"intent/{KEY}/repeat/2"]


async def test_a_part_of_a_call_is_no_agreement_to_repeat_it(bench: Bench) -> None:
    """A part may have any name, also that of the question."""
    recorder = await bench.recorder()
    await recorder.step(f"{KEY}/repeat", "repeat", bench.do, str)
    again, ask = await bench.recorder(), msgspec.structs.replace(SMALL, question="repeat")
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(again.approve(f"{KEY}/repeat", ask))
        await bench.mailbox.decide(await bench.asked(), Decision("denied", "ann"))
    assert waiting.result().verdict == "denied"


async def test_time_in_which_several_are_waited_for_counts_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and after a restart; what is waited for apart from that is added."""
    emit, now = (await bench.recorder()).scope.emit, bench.clock.now()
    for number in range(4):
        asked = ApprovalRequested(f"a-{number}", "pay", {}, "call", now + 60)
        emit(asked, key=f"asked/execute/tool/0/{number}/a-{number}")
    skip(200, monkeypatch)
    for number in range(3):
        said = ApprovalResolved(f"a-{number}", "approved", "ann", "", now, 200.0)
        emit(said, key=f"approval/execute/tool/0/{number}/a-{number}")
    again = await bench.recorder()
    assert 200 <= again.waited() < 250
    assert 200 <= again.waited("execute/tool/0/3") < 250
    assert again.waited("plan") == 0
    over = again.waited()
    await again.step("execute/tool/0/3", "tool:pay", bench.do, str)
    skip(100, monkeypatch)
    assert again.waited() == over  # nobody is asked any more
    assert (await bench.recorder()).waited() == pytest.approx(over, abs=50)
    emit(ApprovalResolved("a-9", "approved", "ann", "", now, 10.0), key="approval/execute/tool/1/0/a-9")
    earlier = ApprovalResolved("a-8", "approved", "ann", "", now, 1000.0)
    emit(earlier, key="approval/execute/tool/2/0/a-8")
    assert (await bench.recorder()).waited() == pytest.approx(1000.0, abs=0.5)


@pytest.mark.parametrize("whose", ["task", "agent"])
async def test_work_that_begins_anew_may_ask_something_else(bench: Bench, whose: str) -> None:
    """Both questions and both answers are kept, each under a key of its own."""
    for ask in (SMALL, LARGE):
        assert (await bench.agree(await bench.loose(whose), ask)).verdict == "approved"
    kept = await bench.journal.checkpoints("t1")
    asked = [event.data for event in kept.values() if isinstance(event.data, ApprovalRequested)]
    assert [one.arguments for one in asked] == [SMALL.arguments, LARGE.arguments]
    assert {f"{sort}/{KEY}/{one.approval}" for sort in ("asked", "approval") for one in asked} == kept.keys()


@pytest.mark.parametrize("whose", ["task", "agent"])
async def test_an_agreement_is_for_one_call(bench: Bench, whose: str) -> None:
    """Work that keeps no steps begins anew: what was agreed to and begun is not done again on the same agreement."""
    steps = await bench.loose(whose)
    await bench.agree(steps, SMALL)
    await steps.step(KEY, "tool:pay", bench.do, str, once=True)
    again = await bench.loose(whose)
    assert (await again.approve(KEY, SMALL)).by == "ann"
    with pytest.raises(Uncertain, match="tool:pay was begun before an interruption"):
        await again.step(KEY, "tool:pay", bench.do, str, once=True)
    assert bench.done == 1
    await again.step(KEY, "tool:pay", bench.do, str, once=True, again=1)
    await bench.agree(again, LARGE)
    await again.step(KEY, "tool:pay", bench.do, str, once=True)
    assert bench.done == 3


@pytest.mark.parametrize("whose", ["task", "agent"])
async def test_work_that_begins_anew_does_again_what_nobody_had_to_agree_to(bench: Bench, whose: str) -> None:
    """So does a call that may be made twice."""
    for _ in range(2):
        steps = await bench.loose(whose)
        await steps.step("execute/tool/1/0", "tool:free", bench.do, str, once=True)
        if not bench.done - 1:
            await bench.agree(steps, SMALL)
        await steps.approve(KEY, SMALL)
        await steps.step(KEY, "tool:steady", bench.do, str)
    assert bench.done == 4


# Steps


REQUEST = Request((Message("system", "Be exact."), Message("user", "Pay.")), (), {"type": "object"}, 0.5, 100)


@pytest.mark.parametrize(
    ("now", "differs"),
    [
        ({"messages": (Message("system", "Be kind."), Message("user", "Pay."))}, "prompt"),
        ({"messages": (Message("system", "Be exact."), Message("user", "Pay all."))}, "messages"),
        ({"messages": (Message("user", "Pay."),)}, "prompt"),
        ({"output_schema": None}, "form"),
        ({"temperature": 0.6}, "form"),
        (
            {"messages": (Message("user", "Pay all."),), "examples": (Message("user", "a"),)},
            "prompt and messages and form",
        ),
    ],
)
async def test_a_reply_answers_for_what_was_asked(bench: Bench, now: dict[str, object], differs: str) -> None:
    """Another prompt, conversation or form of the answer is another question."""
    key = "execute/model/0"
    await (await bench.recorder()).step(key, "model", bench.do, str, asked=gist(REQUEST))
    again = await bench.recorder()
    other = msgspec.structs.replace(REQUEST, **now)
    with pytest.raises(Diverged, match=f"recorded under step/{key} is model with other {differs} than it has now"):
        await again.step(key, "model", bench.do, str, asked=gist(other))


async def test_what_is_lowered_or_taken_away_meanwhile_is_no_other_question(bench: Bench) -> None:
    """A lower limit leaves fewer tokens for the answer, and a tool that is withdrawn is not offered."""
    key, tool = "execute/model/0", ToolSchema("pay", "Pays.", {})
    offered = msgspec.structs.replace(REQUEST, tools=(tool,))
    await (await bench.recorder()).step(key, "model", bench.do, str, asked=gist(offered))
    again = await bench.recorder()
    for lowered in (REQUEST, msgspec.structs.replace(offered, max_tokens=1)):
        assert await again.step(key, "model", bench.do, str, asked=gist(lowered)) == "done"
    assert bench.done == 1


async def test_a_result_answers_for_its_arguments(bench: Bench) -> None:
    """The same tool with other arguments is another call, whether it was made or only begun."""
    recorder = await bench.recorder()
    await recorder.step(KEY, "tool:pay", bench.do, str, asked=ONE)
    with pytest.raises(Permanent):
        await recorder.step("execute/tool/1/0", "tool:pay", bench.fail, str, asked=ONE, once=True)
    again = await bench.recorder()
    assert await again.step(KEY, "tool:pay", bench.do, str, asked=ONE) == "done"
    with pytest.raises(Diverged, match=f"recorded under step/{KEY} is tool:pay with other arguments than it has now"):
        await again.step(KEY, "tool:pay", bench.do, str, asked=OTHER)
    with pytest.raises(Uncertain):
        await again.step("execute/tool/1/0", "tool:pay", bench.do, str, asked=ONE, once=True)
    for repeats in (0, 1):
        with pytest.raises(Diverged, match="recorded under intent/execute/tool/1/0 is tool:pay with other arguments"):
            await again.step("execute/tool/1/0", "tool:pay", bench.do, str, asked=OTHER, once=True, again=repeats)
    assert bench.done == 1


@pytest.mark.parametrize(("asked", "engine"), [("", ENGINE), (OTHER, ENGINE - 1)], ids=["record", "engine"])
async def test_what_an_earlier_version_recorded_still_answers(bench: Bench, asked: str, engine: int) -> None:
    """It did not record what was asked, or said other words of its own to models."""
    recorder = await bench.recorder()
    recorder.scope.emit(StepCompleted("tool:pay", msgspec.Raw(b'"paid"'), asked), key=f"step/{KEY}")
    again = await bench.recorder(engine=engine)
    assert await again.step(KEY, "tool:pay", bench.do, str, asked=ONE) == "paid"


async def test_what_failed_was_asked_too(bench: Bench) -> None:
    """A step without a result leaves what it was asked, and is done again when the task goes on."""
    recorder = await bench.recorder()
    do: Callable[[], Awaitable[str]] = bench.fail
    with pytest.raises(Permanent):
        await recorder.step(KEY, "tool:pay", do, str, asked=ONE)
    kept = await bench.journal.checkpoints("t1")
    assert {key: event.data for key, event in kept.items()} == {f"failed/{KEY}": StepFailed("tool:pay", ONE)}
    assert await (await bench.recorder()).step(KEY, "tool:pay", bench.do, str, asked=OTHER) == "done"
