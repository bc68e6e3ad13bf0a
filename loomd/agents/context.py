"""What enters the prompt: the agent's own words, skills that fit, what is remembered, what was found, the goal.

Everything fits into the model's window: what is fixed (prompt, tools, goal, the longest answer) is taken off it, and
the rest is shared between the sources. What a source does not need the others get; what does not fit is cut and said
so. The agent's words and tools come first and are alike in every turn and every task, so that services find them in
their caches; what changes stands last. Pure but for the look-ups, which are recorded steps, and what is known of
window, prices, tokens and relevance, which is recorded with what entered. Untrusted text (passages, findings, memories)
stands in the user turn under a heading that says what it is; it never becomes part of the system prompt.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple
from weakref import WeakValueDictionary

import msgspec

from loomd.agents.agent import Agent
from loomd.agents.base import Skills, Steps
from loomd.agents.budget import Budget
from loomd.agents.learning import subject_of
from loomd.agents.measure import (
    CHARACTERS,
    Measure,
    added_to,
    bounded,
    characters_of,
    counter_of,
    length,
    price_of,
    subject_of_model,
    window_of,
)
from loomd.agents.remembering import Beside, recall
from loomd.agents.room import Part, level, share
from loomd.agents.searching import search_all
from loomd.agents.skills import SkillUse
from loomd.agents.sources import SOURCES, Source
from loomd.agents.work import Citation, Finding, Work, cite
from loomd.events.bus import Scope
from loomd.events.room import ContextAssembled, Entered, LeftOut
from loomd.manifest.template import render
from loomd.memory.window import fit_window
from loomd.messages import Message, Passage, Request

HISTORY = "history"
_TURNS = 2
"""Turns that any prompt has: the system's and the user's."""
_NO_PASSAGES: Mapping[int, Citation] = MappingProxyType({})
_NO_TEXTS: Mapping[Source, tuple[str, ...]] = MappingProxyType({})
_SYSTEMS: WeakValueDictionary[str, Message] = WeakValueDictionary()
"""The system turns of the tasks under way, by their text."""
_TITLE = 40
"""Characters of an item by which it is named where it was left out."""


class Context(msgspec.Struct, frozen=True):
    """The first messages of a conversation, and what an answer may rest on.

    Attributes:
        messages: system turn, earlier turns, and user turn.
        citable: the passages that an answer may cite, by number.
        offered: how many passages entered.
        texts: what entered of each other source, to see later what was used.
        measure: how tokens are counted in this piece of work.
        window: tokens that a request may have.
        price: USD of an input token and of an output token.
        characters: those of the messages.
        added: those that the model adds of its own to every request.
    """

    messages: tuple[Message, ...] = ()
    citable: Mapping[int, Citation] = {}
    offered: int = 0
    texts: Mapping[Source, tuple[str, ...]] = {}
    measure: Measure = Measure()
    window: int = 0
    price: tuple[float, float] = (0.0, 0.0)
    characters: int = 0
    added: int = 0

    def cost(self, sent: int, made: int) -> float:
        """Return the USD of input and output tokens."""
        return sent * self.price[0] + made * self.price[1]


@dataclass(frozen=True)
class _Shortened:
    """A finding of which a part entered."""

    goal: str
    output: str
    citations: tuple[Citation, ...]
    file: bool = False


class _Chosen(NamedTuple):
    """What enters of the sources: instructions of skills, passages, results, and what was remembered."""

    told: Sequence[str] = ()
    offered: tuple[Passage, ...] = ()
    results: Sequence[Finding] = ()
    memories: tuple[str, ...] = ()


_NOTHING = _Chosen()


async def assemble(
    agent: Agent, work: Work, steps: Steps, scope: Scope, skills: SkillUse, account: Budget | None = None
) -> Context:
    """Return the system turn, the earlier turns of the conversation, and the user turn for a piece of work.

    Args:
        agent: whose work it is.
        work: what is wanted.
        steps: where look-ups are recorded.
        scope: the envelope of its events.
        skills: what it takes up.
        account: that of the work, which pays for what a search asks of models.
    """
    passages = await search_all(agent, work, steps, scope, account) if agent.knowledge else []
    built_on = [f"{one.goal}\n{one.output}" for one in work.findings] if work.findings else []
    shown = [_shown(one) for one in passages] if passages else []
    system = render(agent.prompt, agent=agent.principal, goal=work.goal, namespace=agent.namespace)
    if agent.instructions:
        system = f"{system}\n\n{agent.instructions}" if system else agent.instructions
    window = request_window(agent)
    remembered: list[str] = []
    if agent.memory is not None or work.seeds:
        beside = Beside(system, sum(map(len, (*built_on, *shown))), window)
        remembered = await recall(agent, work, steps, scope, beside)
    several = bool(agent.skills or remembered or built_on or shown)
    counted = None
    if (count := counter_of(agent.model)) is not None:
        counted = await _counted(count, work, steps, [system, *remembered, *built_on, *shown, work.goal], window)
    key = f"context/{work.key}"
    tools = tuple([tool.schema for tool in agent.offered()])
    plain = Request((Message("user", work.goal, passages=tuple(passages)),), tools, agent.output)
    known = steps.told(key, ContextAssembled) or _known(agent, counted, plain, window, several=several)
    measure = Measure(known.characters)
    offers: dict[Source, Sequence[str]] = {"memory": remembered, "findings": built_on, "knowledge": shown}
    goal = measure.tokens(len(work.goal) + len(work.within) + characters_of(work.images), 0)
    form = measure.tokens(known.added + (_form(offers, passages, agent.skills) if several else 0), _TURNS)
    fixed = [("prompt", measure.text(system)), ("tools", measure.tools(tools)), ("goal", goal), ("form", form)]
    weights = agent.context.weights(known.relevance) if several else {}
    plan, spared, chosen = _Plan(measure, weights, known.window - sum([tokens for _, tokens in fixed])), 0, _NOTHING
    if several:
        taken = await skills.take_up(work.goal, plan.skills(offers)) if agent.skills else []
        chosen = _chosen(plan, taken, work, offers, passages)
        if known.citing and passages and not any(one.text for one in chosen.offered):
            spared = form - measure.tokens(known.added - known.citing + _form(offers, (), agent.skills), _TURNS)
            plan = plan.without_passages(spared)
            chosen = _chosen(plan, taken, work, {**offers, "knowledge": ()}, ())
    fixed[-1] = ("form", form - spared)
    entered = [Entered(name, tokens, tokens, tokens) for name, tokens in fixed]
    told, offered, results, memories = chosen
    history = plan.turns(work.history)
    asked = Message("user", brief(work.goal, results, memories, work.within), passages=offered, images=work.images)
    messages = (_system("\n\n".join([system, *told])), *history, asked)
    entered += plan.entered
    characters = sum(map(length, messages))
    total = sum([one.tokens for one in entered])
    fact = msgspec.structs.replace(known, tokens=total, sources=tuple(entered), cut=tuple(plan.cut))
    scope.emit(fact, agent.name, key=key)
    citable, texts = _traced(work, chosen) if several else (_NO_PASSAGES, _NO_TEXTS)
    own = known.window, known.price, characters, known.added - (known.citing if spared else 0)
    return Context(messages, citable, len(offered), texts, measure, *own)


def _traced(work: Work, chosen: _Chosen) -> tuple[Mapping[int, Citation], Mapping[Source, tuple[str, ...]]]:
    """Return what each number stands for that an answer may cite, and what entered of each source."""
    cited = {c.number: c for finding in work.findings for c in finding.citations}
    results, passages = tuple([one.output for one in chosen.results]), tuple([one.text for one in chosen.offered])
    texts: dict[Source, tuple[str, ...]] = {"memory": chosen.memories, "findings": results, "knowledge": passages}
    return cited | {p.number: cite(p) for p in chosen.offered}, texts


def _system(text: str) -> Message:
    """Return a system turn; tasks that are under way at once share that of the same text, which is encoded once."""
    turn = _SYSTEMS.get(text)
    if turn is None:
        turn = _SYSTEMS[text] = Message("system", text)
    return turn


def _chosen(
    plan: "_Plan",
    told: Sequence[str],
    work: Work,
    offers: Mapping[Source, Sequence[str]],
    passages: Sequence[Passage],
) -> _Chosen:
    """Return what enters of what is offered, beside the skills that are taken up."""
    found = plan.fill({"skills": told, **offers})
    findings = [_shorten(one, text) for one, text in zip(work.findings, found["findings"], strict=True)]
    offered = tuple(
        msgspec.structs.replace(one, text=_rest(text, one)) if text != whole else one
        for one, text, whole in zip(passages, found["knowledge"], offers["knowledge"], strict=True)
        if text
    )
    return _Chosen(told, offered, [one for one in findings if one is not None], tuple(filter(None, found["memory"])))


def request_window(agent: Agent) -> int:
    """Return the tokens that a request of an agent may have, its longest answer left free."""
    window, own = window_of(agent.model), agent.context.tokens
    most = own if window is None else window
    if most is None:
        most = agent.context.unknown
    elif own is not None:
        most = min(most, own)
    return max(1, most - agent.max_tokens)


def fit(
    context: Context, agent: Agent, messages: Sequence[Message], goal: int, beside: int, turns: int
) -> tuple[Message, ...]:
    """Return the turns that fit: into the window of the agent's memory, and into that of its model.

    The system turn, the goal and the latest turn with its results are always there.

    Args:
        context: with which the conversation began.
        agent: whose it is.
        messages: the conversation, oldest first.
        goal: place of the turn that says what is wanted.
        beside: characters of the request beside the turns.
        turns: characters of the turns.
    """
    whole = tuple(messages)
    kept = whole if agent.memory is None else agent.memory.fit(whole, goal)
    if len(kept) == len(whole) and context.measure.tokens(beside + turns, len(kept)) <= context.window:
        return kept
    room = max(1, context.window - context.measure.tokens(beside, 0))
    place = next((at for at, one in enumerate(kept) if one is whole[goal]), goal)
    return fit_window(kept, room, place, context.measure.message)


def brief(goal: str, findings: Sequence[Finding] = (), remembered: Sequence[str] = (), within: str = "") -> str:
    """Return a goal with what is known about it already, and where it stands in a larger piece of work."""
    if not findings and not remembered and not within:
        return goal
    parts: list[str] = []
    if remembered:
        parts.append("From memory:\n" + "\n".join(f"- {text}" for text in remembered))
    files = [f'"{f.goal}":\n{f.output}' for f in findings if f.file]
    if files:
        parts.append("Files:\n" + "\n\n".join(files))
    found = [f'Result of "{f.goal}":\n{f.output}' for f in findings if not f.file]
    if found:
        parts.append("Results so far:\n" + "\n\n".join(found))
    return "\n\n".join([*parts, within, goal] if within else [*parts, goal])


class _Plan:
    """Shares the room of a prompt between sources.

    Attributes:
        entered: what came of each source.
        cut: what was left out.
    """

    def __init__(self, measure: Measure, weights: Mapping[str, float], room: int) -> None:
        self.entered: list[Entered] = []
        self.cut: list[LeftOut] = []
        self._measure = measure
        self._left = room
        self._room = max(0, room)
        self._weights = weights

    def skills(self, offers: Mapping[Source, Sequence[str]]) -> int:
        """Return the tokens that skills may take beside what the other sources offer, as skills count them."""
        parts = {name: Part(self._size(texts), self._weights[name]) for name, texts in offers.items() if texts}
        room = share(self._shared, {"skills": Part(self._room, self._weights["skills"]), **parts})["skills"]
        return int(room * self._measure.characters / CHARACTERS)

    def fill(self, offers: Mapping[Source, Sequence[str]]) -> dict[Source, tuple[str, ...]]:
        """Return what enters of each source: the text of each item, cut or empty where it did not fit."""
        sizes = {name: [self._measure.text(text) for text in texts] for name, texts in offers.items()}
        whole = sum(sizes["skills"])  # they were chosen for the room that there is
        if whole:
            self.entered.append(Entered("skills", whole, whole, whole))
        parts: dict[Source, Part] = {
            name: Part(sum(sizes[name]), self._weights[name]) for name in offers if name != "skills"
        }
        rooms = share(self._shared - whole, parts)
        found: dict[Source, tuple[str, ...]] = {"skills": tuple(offers["skills"])}
        for name, room in rooms.items():
            found[name] = self._fill(name, offers[name], sizes[name], room)
        return found

    def without_passages(self, spared: int) -> "_Plan":
        """Return a plan for a prompt into which no passage fits, so that what it takes to cite is not sent, either.

        Args:
            spared: tokens that there are for others now.
        """
        plan = _Plan(self._measure, self._weights, self._left + spared)
        known = [one for one in self.entered if one.source == "knowledge"]
        plan.entered = [msgspec.structs.replace(one, tokens=0) for one in known]
        plan.cut = [
            msgspec.structs.replace(one, kept=0, why=f"{one.why}, beside {spared} that it takes to cite")
            for one in self.cut
            if one.source == "knowledge"
        ]
        return plan

    def turns(self, history: Sequence[Message]) -> list[Message]:
        """Return which earlier turns of the conversation enter: the latest ones, for which there is room."""
        room = max(0, self._room - sum(one.tokens for one in self.entered)) if self.entered else self._room
        if not history:
            self.entered.append(Entered(HISTORY, room, 0, 0))
            return []
        sizes = [self._measure.message(one) for one in history]
        offered, kept, first = sum(sizes), sum(sizes), 0
        while kept > room and first < len(history):
            kept -= sizes[first]
            first += 1
            if first < len(history) and history[first].role == "assistant":  # an answer leaves with its question
                kept -= sizes[first]
                first += 1
        self.entered.append(Entered(HISTORY, room, offered, kept))
        why = f"{HISTORY} has room for {room} of its {offered} tokens"
        self.cut += [
            LeftOut(HISTORY, _title(one.text), size, 0, why)
            for one, size in zip(history[:first], sizes[:first], strict=True)
        ]
        return list(history[first:])

    @property
    def _shared(self) -> int:
        """Return the room without the share of the turns, earlier ones and those to come."""
        return self._room - int(self._room * self._weights[HISTORY] / sum(self._weights.values()))

    def _size(self, texts: Sequence[str]) -> int:
        return sum(map(self._measure.text, texts))

    def _fill(self, source: Source, texts: Sequence[str], sizes: list[int], room: int) -> tuple[str, ...]:
        kept = level(sizes, room) if source == "findings" else _in_order(sizes, room)
        entered = tuple(
            text if tokens == size else self._shortened(text, tokens)
            for text, size, tokens in zip(texts, sizes, kept, strict=True)
        )
        for text, size, tokens in zip(texts, sizes, kept, strict=True):
            if tokens < size:
                why = f"{source} has room for {room} of its {sum(sizes)} tokens"
                self.cut.append(LeftOut(source, _title(text), size, tokens, why))
        if texts:
            self.entered.append(Entered(source, room, sum(sizes), sum(kept)))
        return entered

    def _shortened(self, text: str, tokens: int) -> str:
        return text[: int(tokens * self._measure.characters)]


def _in_order(sizes: list[int], room: int) -> list[int]:
    """Return the tokens of each item that enter: as many as fit, the best first; the first that does not is cut."""
    kept: list[int] = []
    for size in sizes:
        tokens = min(size, room)
        kept.append(tokens)
        room -= tokens
    return kept


async def _counted(
    count: Callable[[str], Awaitable[int]], work: Work, steps: Steps, texts: Sequence[str], window: int
) -> float | None:
    """Return how many characters a token of texts has, by a model that can count them; only where it is close."""
    if sum(map(len, texts)) <= window:  # no token has less than a character
        return None
    text = "\n".join(texts)
    tokens = await steps.step(f"{work.key}/count", "count", partial(count, text), int)
    return bounded(len(text) / max(1, tokens))


def _known(agent: Agent, counted: float | None, plain: Request, window: int, *, several: bool) -> ContextAssembled:
    """Return what is known when the work begins, and holds until its end."""
    averages, price = agent.averages, price_of(agent.model)
    characters = counted or averages.value(subject_of_model(agent.model), "characters", CHARACTERS)
    relevance: dict[str, float] = {}
    if several:
        subject = subject_of(agent)
        relevance = {name: averages.value(subject, name, agent.context.expected) for name in SOURCES}
    prices = price(1, 0), price(0, 1)
    added = citing = added_to(agent.model, plain)
    if added:
        asked = tuple([msgspec.structs.replace(one, passages=()) for one in plain.messages])
        citing = added - added_to(agent.model, msgspec.structs.replace(plain, messages=asked))
    return ContextAssembled(window, 0, characters, relevance=relevance, price=prices, added=added, citing=citing)


def _shown(passage: Passage) -> str:
    """Return a passage as it counts: with its head."""
    return f"{passage.title or passage.source} ({passage.source})\n{passage.text}"


def _rest(text: str, passage: Passage) -> str:
    """Return what is left of a passage's own text."""
    return text[len(_shown(passage)) - len(passage.text) :]


def _form(offers: Mapping[Source, Sequence[str]], passages: Sequence[Passage], skills: Sequence[Skills]) -> int:
    """Return the characters that the form of what is offered takes at most: headings, marks, names of sources."""
    found = len(brief("", [_Shortened("", " [cut]", ())] * len(offers["findings"]), [""] * len(offers["memory"])))
    named = sum(max(0, length(Message("user", "", passages=(one,))) - len(_shown(one))) for one in passages)
    return found + named + sum(2 * len(one.skills) for one in skills)


def _shorten(finding: Finding, text: str) -> Finding | None:
    """Return a finding with what entered of it; None when nothing did."""
    if text == f"{finding.goal}\n{finding.output}":
        return finding
    output = text[len(finding.goal) + 1 :]
    return _Shortened(finding.goal, f"{output} [cut]", finding.citations, finding.file) if output else None


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TITLE else f"{line[:_TITLE]}..."
