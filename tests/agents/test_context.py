"""What enters a prompt, what is cut and why, and what is learned from it."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from loomd.accounts.averages import Averages
from loomd.agents.agent import Agent
from loomd.agents.budget import Limits
from loomd.agents.context import Context, assemble
from loomd.agents.learning import relevance
from loomd.agents.loop import Loop
from loomd.agents.measure import Measure, bounded, sent
from loomd.agents.skills import SkillUse
from loomd.agents.sources import ContextSpec, Shares
from loomd.agents.work import Citation, Outcome, Work
from loomd.clock import SystemClock
from loomd.events.bus import Bus, Scope
from loomd.events.event import AnyFact
from loomd.events.room import ContextAssembled, MemoryCompacted
from loomd.events.skill import SkillActivated
from loomd.knowledge import standing
from loomd.knowledge.asking import Asker
from loomd.memory.item import Item, ScopeOf, Turn, Whose
from loomd.messages import Image, JsonObject, Message, Passage, Request, ToolSchema
from loomd.providers.scripted import ScriptedModel, ScriptedReply
from loomd.testing import Unrecorded
from loomd.tools.context import ToolContext
from tests.agents.test_skills import Skill, Skills


class Shelf:
    """A knowledge base with some passages of 100 characters each."""

    name = "shelf"
    refines = False

    def __init__(self, count: int) -> None:
        self.passages = [Passage(n + 1, f"{n} ".ljust(100, "k"), f"{n}.md", "T", "shelf") for n in range(count)]

    async def search(self, query: str, top_k: int | None = None) -> list[Passage]:
        """Return all of them."""
        del query, top_k
        return self.passages

    async def look(self, query: str, *, asker: Asker | None = None) -> standing.Found:
        """Return the same."""
        del asker
        return standing.Found(tuple(await self.search(query)))


class Remembering:
    """A memory that remembers what it is told to, and has no window."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def fit(self, messages: tuple[Message, ...], goal: int = 1) -> tuple[Message, ...]:
        """Return all turns."""
        del goal
        return messages

    name = "notes"
    scope: ScopeOf = "agent"
    recalls = True
    lacks = ""
    summarizer = None
    patience = 0.0
    seeds = False
    reminder = 0
    boost = 1.0

    async def seed(self, whose: Whose, goal: str) -> list[str]:
        """Return nothing."""
        del whose, goal
        return []

    async def crowded(self, whose: Whose) -> list[Item]:
        """Return nothing."""
        del whose
        return []

    async def condense(self, whose: Whose, turn: Turn, facts: Sequence[Item]) -> list[Item]:
        """Keep nothing."""
        del whose, turn, facts
        return []

    async def recall(self, whose: Whose, query: str, seen: Sequence[str] = ()) -> list[str]:
        """Return all texts."""
        del whose, query, seen
        return self.texts

    async def remember(self, whose: Whose, turn: Turn) -> list[str]:
        """Keep nothing."""
        del whose, turn
        return []


@dataclass(frozen=True)
class Found:
    """A result that work builds on."""

    goal: str
    output: str
    citations: tuple[Citation, ...] = ()
    file: bool = False


class Echo:
    """A tool whose results are long."""

    effects = "read"
    idempotent = True
    withdrawn = ""
    on_uncertain = "fail"
    approval = None
    max_output = 64 << 10
    schema = ToolSchema("echo", "Says something.", {"type": "object"})

    async def call(self, arguments: JsonObject, context: ToolContext | None = None) -> str:
        """Return a long text that begins with what it was told."""
        del context
        return f"{arguments['say']} ".ljust(400, "t")


def agent(window: int = 1000, **changes: Any) -> Agent:
    """Return an agent whose requests may have so many tokens."""
    model = ScriptedModel("script/test", [ScriptedReply.model_validate({"text": "Done.", "times": None})])
    spec = ContextSpec(tokens=window + 10, mode="fixed")
    plain = Agent("ada", "default", "d1", "", {}, model, "You are {{ agent }}.", Limits(), SystemClock())
    return replace(plain, **{"context": spec, "max_tokens": 10, **changes})


BRIEF = Skill("brief", "o", "Be brief.", offered=False)
"""A skill that fits whatever has an o."""


class Desk:
    """Assembles prompts and keeps what is told."""

    def __init__(self) -> None:
        self.facts: list[AnyFact] = []
        self.bus = Bus(SystemClock())
        self.bus.subscribe(lambda event: self.facts.append(event.data))
        self.scope = Scope(self.bus, "t")

    async def prompt(self, asked: Agent, work: Work | None = None) -> tuple[Message, Message]:
        """Return system turn and user turn."""
        messages = (await self.context(asked, work or Work("Go."))).messages
        return messages[0], messages[-1]

    async def context(self, asked: Agent, work: Work, steps: Unrecorded | None = None) -> Context:
        """Return all that enters."""
        recorded = steps or Unrecorded()
        skills = SkillUse(asked, work.key, recorded, self.scope)
        return await assemble(asked, work, recorded, self.scope, skills)

    def told(self) -> tuple[dict[str, int], dict[str, tuple[int, int, str]]]:
        """Return the tokens of each source that entered, and what was cut: size, what was kept, and why."""
        (fact,) = (fact for fact in self.facts if isinstance(fact, ContextAssembled))
        entered = {one.source: one.tokens for one in fact.sources if one.tokens}
        return entered, {f"{one.source} {one.item[:6]}": (one.tokens, one.kept, one.why) for one in fact.cut}


@pytest.fixture
def desk() -> Desk:
    """Return a desk."""
    return Desk()


async def test_everything_enters_when_there_is_room(desk: Desk) -> None:
    """System turn: prompt, then skills; user turn: memory, results, goal, and the passages; nothing is cut."""
    rich = agent(knowledge=[Shelf(2)], memory=Remembering("once"), skills=[Skills(BRIEF)])
    system, user = await desk.prompt(rich, Work("Go.", findings=[Found("a?", "b")]))
    assert system.text == "You are ada.\n\n## Skill: brief\nBe brief."
    assert user.text == 'From memory:\n- once\n\nResults so far:\nResult of "a?":\nb\n\nGo.'
    assert [one.number for one in user.passages] == [1, 2]
    entered, cut = desk.told()
    assert set(entered) == {"prompt", "goal", "skills", "memory", "findings", "knowledge", "form"}
    assert cut == {}


async def test_tasks_share_a_system_turn_while_they_run(desk: Desk) -> None:
    """It is there once for all that are under way, and gone with the last of them, with what the task was told."""
    asked = agent(prompt="You keep {{ goal }}.")
    one, two = [(await desk.context(asked, Work("a secret"))).messages[0] for _ in range(2)]
    assert one is two
    kept = weakref.ref(one)
    del one, two
    assert kept() is None


async def test_the_prefix_is_alike_in_every_task(desk: Desk) -> None:
    """Byte for byte, whatever is asked, remembered and found: what changes stands behind it."""
    first, _ = await desk.prompt(agent(knowledge=[Shelf(2)]), Work("One."))
    second, _ = await desk.prompt(agent(memory=Remembering("x")), Work("Two.", findings=[Found("a", "b")]))
    third, _ = await desk.prompt(agent(skills=[Skills(BRIEF)]), Work("Go."))
    assert first.text == second.text
    assert third.text.startswith(first.text)


async def test_what_does_not_fit_is_cut_from_the_end(desk: Desk) -> None:
    """Of passages the best stay, the first that does not fit is shortened, and each cut says why."""
    spec = ContextSpec(tokens=70, mode="fixed", shares=Shares(history=1))
    _, user = await desk.prompt(agent(knowledge=[Shelf(5)], context=spec))
    assert [one.number for one in user.passages] == [1, 2]
    assert len(user.passages[0].text) == 100
    assert 0 < len(user.passages[1].text) < 100
    entered, cut = desk.told()
    assert list(cut) == [f"knowledge T ({n}.m" for n in range(1, 5)]
    assert [kept > 0 for _, kept, _ in cut.values()] == [True, False, False, False]
    assert {why for _, _, why in cut.values()} == {f"knowledge has room for {entered['knowledge']} of its 140 tokens"}


async def test_a_skill_stays_whole_or_is_left_out(desk: Desk) -> None:
    """Half an instruction may say the opposite: what does not fit into the room is not taken up, so binds nobody."""
    long = replace(BRIEF, name="long", instructions="Never ".ljust(400, "n"), tools=(), priority=1)
    asked = agent(90, skills=[Skills(long, BRIEF)], context=ContextSpec(tokens=100))
    skills = SkillUse(asked, "execute", Unrecorded(), desk.scope)
    context = await assemble(asked, Work("Go."), Unrecorded(), desk.scope, skills)
    assert "Be brief." in context.messages[0].text
    assert "Never" not in context.messages[0].text
    assert "- long: About it." in context.messages[0].text
    assert skills.refusal("anything").startswith("there is no tool")
    assert [fact.skill for fact in desk.facts if isinstance(fact, SkillActivated)] == ["brief"]
    assert desk.told()[0]["skills"] <= (90 - 13) * 10 / 15 + 1


async def test_earlier_turns_enter_as_far_as_there_is_room(desk: Desk) -> None:
    """Of a conversation the latest turns stay, an answer with its question; a picture counts, too."""
    turns = [Message("user" if n % 2 == 0 else "assistant", f"{n} ".ljust(100, "t")) for n in range(6)]
    context = await desk.context(agent(100), Work("Go.", history=turns))
    assert [message.text[0] for message in context.messages] == ["Y", "4", "5", "G"]
    entered, cut = desk.told()
    assert entered["history"] == 2 * 29
    assert [why for _, _, why in cut.values()] == ["history has room for 88 of its 174 tokens"] * 4
    desk.facts.clear()
    await desk.context(agent(3000), Work("Go.", images=(Image("image/png", "AAAA"),)))
    assert desk.told()[0]["goal"] == 1501


@pytest.mark.parametrize("window", [60, 90, 130, 220, 370, 900, 5000])
async def test_the_parts_add_up(desk: Desk, window: int) -> None:
    """What enters of each source makes the whole, its form included: no more than the window, no less than is sent."""
    skills = [Skills(BRIEF, replace(BRIEF, name="second", instructions="Be kind. " * 9))]
    rich = agent(window, knowledge=[Shelf(4)], memory=Remembering("once upon", "a time " * 9), skills=skills)
    findings = [Found("What is it?", "It is so. " * 20), Found("Why?", "Because. " * 3)]
    turns = [Message("user" if n % 2 == 0 else "assistant", "t" * 33) for n in range(4)]
    messages = (await desk.context(rich, Work("Go on.", findings=findings, history=turns))).messages
    (fact,) = (fact for fact in desk.facts if isinstance(fact, ContextAssembled))
    assert fact.tokens == sum(one.tokens for one in fact.sources)
    assert Measure().tokens(sent(Request(messages)), len(messages)) <= fact.tokens
    assert fact.tokens <= max(window, sum(one.tokens for one in fact.sources[:4]))


async def test_what_citing_takes_is_free_when_no_passage_enters(desk: Desk) -> None:
    """A model's rules for citing count as long as passages enter; without one, others get that room, and it is told."""

    def roomy(window: int) -> Agent:
        made = agent(window, knowledge=[Shelf(2)], memory=Remembering("m" * 400))
        made.model.added = lambda request: 600 if any(turn.passages for turn in request.messages) else 40  # type: ignore[attr-defined]  # as the embedded model has
        return made

    context = await desk.context(roomy(900), Work("Go."))
    assert (len(context.citable), context.added, desk.told()[1]) == (2, 600, {})
    for window, room, memory in ((100, 0, 49), (170, 1, 96)):  # the heading of a passage alone is none
        desk.facts.clear()
        context = await desk.context(roomy(window), Work("Go."))
        entered, cut = desk.told()
        assert (context.citable, context.added) == ({}, 40)
        assert entered == {"prompt": 3, "goal": 1, "form": 23, "memory": memory}
        why = f"knowledge has room for {room} of its 56 tokens, beside 140 that it takes to cite"
        assert [one for name, one in cut.items() if name.startswith("knowledge")] == [(28, 0, why)] * 2
        (fact,) = (one for one in desk.facts if isinstance(one, ContextAssembled))
        assert (fact.added, fact.citing) == (600, 560)
        assert fact.tokens == sum(one.tokens for one in fact.sources) <= window
        assert Measure().tokens(sent(Request(context.messages)) + 40, len(context.messages)) <= fact.tokens


async def test_long_results_are_shortened_alike(desk: Desk) -> None:
    """A short result stays whole, two long ones are cut to the same length, and are marked."""
    findings = [Found("a?", "short"), Found("b?", "b" * 900), Found("c?", "c" * 900)]
    _, user = await desk.prompt(agent(300), Work("Go.", findings=findings))
    assert 'Result of "a?":\nshort' in user.text
    assert user.text.count("b" * 50) > 0
    assert user.text.count(" [cut]") == 2
    assert abs(user.text.count("b") - user.text.count("c")) < 5


async def test_what_one_source_does_not_need_the_others_get(desk: Desk) -> None:
    """Alone, a source gets all but the share of the turns to come."""
    spec = ContextSpec(tokens=160, mode="fixed", shares=Shares(knowledge=1, memory=1, history=2))
    await desk.prompt(agent(knowledge=[Shelf(9)], context=spec))
    alone = desk.told()[0]["knowledge"]
    desk.facts.clear()
    await desk.prompt(agent(knowledge=[Shelf(9)], memory=Remembering("m" * 900), context=spec))
    entered, _ = desk.told()
    assert abs(entered["knowledge"] - entered["memory"]) <= 1
    assert alone > entered["knowledge"]


@pytest.mark.parametrize(("used", "more"), [(1.0, True), (0.0, False)], ids=["used", "not used"])
async def test_what_is_used_gets_more(desk: Desk, used: float, more: bool) -> None:
    """A source that answers rested on gets a larger share, up to the declared factor; in mode `fixed` nothing moves."""
    averages = Averages()
    for _ in range(50):
        averages.move("agent default/ada", "memory", used, 0.5, 0.5)
    tokens: dict[str, int] = {}
    for mode in ("fixed", "adaptive"):
        spec = ContextSpec(tokens=260, mode=mode, shares=Shares(knowledge=1, memory=1, history=2))
        rich = agent(knowledge=[Shelf(9)], memory=Remembering("m" * 900), context=spec, averages=averages)
        desk.facts.clear()
        await desk.prompt(rich)
        tokens[mode] = desk.told()[0]["memory"]
    assert (tokens["adaptive"] > tokens["fixed"]) is more
    weights = ContextSpec().weights({"memory": used})
    assert weights["memory"] == (2.0 if more else 0.5)


def test_relevance_is_the_share_that_was_used() -> None:
    """Cited passages, and texts whose words came back in the answer; of what did not enter nothing is said."""
    outcome = Outcome("Lists keep order.", "completed", citations=(Citation(1, "a.md", text="aaaa"),))
    texts: dict[Any, tuple[str, ...]] = {
        "knowledge": ("aaaa", "bbbb", "cccc", "dddd"),
        "memory": ("lists keep", "other text"),
        "findings": (),
    }
    assert relevance(texts, outcome, 0.2) == {"knowledge": 0.25, "memory": 0.5}


async def test_old_turns_leave_the_window_and_that_is_told(desk: Desk) -> None:
    """The goal and the latest turns stay; every request fits by estimate; it is journaled how many were dropped."""
    model = ScriptedModel(
        "script/test",
        [
            *(
                ScriptedReply.model_validate({"toolCalls": [{"name": "echo", "arguments": {"say": str(n)}}]})
                for n in range(4)
            ),
            ScriptedReply.model_validate({"text": "Done.", "times": None}),
        ],
    )
    seen: list[Request] = []
    stream = model.stream

    def spy(request: Request) -> Any:
        seen.append(request)
        return stream(request)

    model.stream = spy  # type: ignore[method-assign]  # to see what is asked
    echoing = agent(300, model=model, tools={"echo": Echo()})
    outcome = await Loop(echoing, Work("Go."), Unrecorded(), desk.scope).run()
    assert outcome.stop_reason == "completed" or outcome.output
    assert max(Measure().tokens(sent(request), len(request.turns)) for request in seen) <= 300
    assert all(request.messages[1].text == "Go." for request in seen)
    assert [fact.dropped > 0 for fact in desk.facts if isinstance(fact, MemoryCompacted)][:1] == [True]


async def test_the_characters_of_a_token_are_learned(desk: Desk) -> None:
    """From what the service reports, slowly and within bounds; the next task counts with it."""
    reply = {"text": "Done.", "times": None, "usage": {"input": 2, "output": 1}}
    model = ScriptedModel("script/test", [ScriptedReply.model_validate(reply)])
    averages = Averages()
    learner = agent(model=model, averages=averages)
    await Loop(learner, Work("Go on and on."), Unrecorded(), desk.scope).run()
    assert averages.value("model script/test", "characters", 4.0) == pytest.approx(4.0 + 0.2 * (8.0 - 4.0))
    await Loop(learner, Work("Go on and on."), Unrecorded(), desk.scope).run()
    told = [fact.characters for fact in desk.facts if isinstance(fact, ContextAssembled)]
    assert told == [4.0, pytest.approx(4.8)]
    assert (bounded(0.1), bounded(50)) == (1.0, 8.0)


async def test_what_a_model_adds_of_its_own_is_in_the_estimate(desk: Desk) -> None:
    """Its worked examples take room in the window and in the budget, and what tokens have is learned with them."""
    adding = agent(1000, tools={"echo": Echo()}, limits=Limits(tokens=400))
    adding.model.added = lambda request: 1200 if request.tools else 0  # type: ignore[attr-defined]  # as the embedded model has
    await desk.context(adding, Work("Go."), None)
    (fact,) = (fact for fact in desk.facts if isinstance(fact, ContextAssembled))
    assert (fact.added, {one.source: one.tokens for one in fact.sources}["form"]) == (1200, 308)
    tight = replace(adding, limits=Limits(tokens=300))
    outcome = await Loop(tight, Work("Go."), Unrecorded(), desk.scope).run()
    assert outcome.stop_reason == "budget_tokens"
    outcome = await Loop(adding, Work("Go."), Unrecorded(), desk.scope).run()
    assert outcome.stop_reason == "completed"


async def test_work_without_sources_records_nothing_of_them(desk: Desk) -> None:
    """What it teaches about tokens belongs to its calls; a step about sources is for work that had some."""
    drawn: list[str] = []

    class Drawn(Unrecorded):
        def draw(self, key: str, name: str, take: Any, result: Any) -> Any:
            drawn.append(key)
            return super().draw(key, name, take, result)

    await Loop(agent(), Work("Go."), Drawn(), desk.scope).run()
    assert drawn == []
    await Loop(agent(knowledge=[Shelf(1)], context=ContextSpec()), Work("Go."), Drawn(), desk.scope).run()
    assert drawn == ["execute/learned"]


async def test_a_model_that_can_count_is_asked_when_it_is_close(desk: Desk) -> None:
    """Its tokens are taken then; where everything fits anyhow nobody is asked."""
    asked: list[int] = []

    async def count(text: str) -> int:
        asked.append(len(text))
        return len(text) // 2

    counting = agent(200, knowledge=[Shelf(9)])
    counting.model.count = count  # type: ignore[attr-defined]  # what the embedded model has
    await desk.prompt(counting)
    (fact,) = (fact for fact in desk.facts if isinstance(fact, ContextAssembled))
    assert len(asked) == 1
    assert fact.characters == pytest.approx(2, rel=0.01)
    await desk.prompt(replace(counting, knowledge=()))
    assert len(asked) == 1


async def test_what_was_known_at_first_holds(desk: Desk) -> None:
    """Work that is run again takes window, prices, shares and tokens from its record, whatever is known by now."""

    class Recorded(Unrecorded):
        def told(self, key: str, fact: Any) -> Any:
            assert key == "context/execute"
            return fact(100, 0, 2.0, price=(0.25, 1.0)) if again else None

    priced = agent(knowledge=[Shelf(9)])
    priced.model.cost = lambda usage: usage.input * 0.5 + usage.output * 2.0  # type: ignore[attr-defined]  # as services have
    again = False
    context = await desk.context(priced, Work("Go."), Recorded())
    assert (context.window, context.price) == (1000, (0.5, 2.0))
    again = True
    context = await desk.context(priced, Work("Go."), Recorded())
    assert (context.window, context.cost(4, 1), context.measure.characters) == (100, 2.0, 2.0)
    assert (context.offered, len(context.citable[2].text) < 100) == (2, True)


def test_a_request_is_measured_whole() -> None:
    """Turns, passages, tool calls, tools and schema count; so does the form of each turn."""
    tool = ToolSchema("echo", "Says something.", {"type": "object"})
    request = Request((Message("system", "x" * 40), Message("user", "y" * 40)), (tool,), {"type": "object"})
    assert (
        sent(request) == 80 + len('{"name":"echo","description":"Says something.","parameters":{"type":"object"}}') + 17
    )
    assert Measure(4.0).tokens(sent(request), 2) == 2 * 4 + 44
