"""A service that fails is asked again, left alone, not overrun, or replaced by another: over real connections."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from loomd.errors import BadReply, Overloaded, Permanent, RateLimited, Temporary, Unauthorized, Unreachable
from loomd.events.event import ModelCalled, ModelDelta, ModelRetried
from loomd.messages import Chunk, Message, Reply, Request, Retried, TextDelta
from loomd.providers.breaker import Breaker, BreakerFields
from loomd.providers.rate import Rate, RateFields
from loomd.providers.retry import Retry
from loomd.testing import VirtualClock, run_manifests
from tests.clocks import skip
from tests.providers.rough import Rough, Visit, answer, chunk, chunked_head, rough, until
from tests.providers.speech import GOOD, HELLO

QUICK = {"attempts": 3, "backoff": "10ms"}
Script = Callable[[Visit], Awaitable[None]]


def spec(server: Rough, kind: str = "openai", **fields: object) -> dict[str, object]:
    """Return a provider that asks the server."""
    return {"type": kind, "model": "m", "baseUrl": server.url, "retry": QUICK, **fields}


async def said(model: Any, request: Request = HELLO) -> list[Chunk]:
    """Return all that a model says."""
    return [found async for found in model.stream(request)]


def then(*scripts: Script) -> Script:
    """Play scripts in turns, the last one from then on."""
    left = list(scripts)

    async def serve(visit: Visit) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(visit)

    return serve


def good(kind: str = "openai") -> Script:
    """Answer as it should be."""

    async def serve(visit: Visit) -> None:
        await visit.say(answer(GOOD[kind]))

    return serve


def refuses(status: str, *extra: str, body: bytes = b"{}") -> Script:
    """Refuse a call."""

    async def serve(visit: Visit) -> None:
        await visit.say(answer(body, status=status, kind="application/json", extra=extra))

    return serve


def breaks(kind: str) -> Script:
    """Break off in the middle of an answer, after its first piece of text."""

    async def serve(visit: Visit) -> None:
        await visit.say(chunked_head(), chunk(GOOD[kind][: GOOD[kind].index(b"Hel") + 80]))
        await asyncio.sleep(0.05)
        visit.reset()

    return serve


@pytest.mark.parametrize("client", ["http", "sdk"])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_broken_stream_begins_anew(provider: Any, kind: str, client: str) -> None:
    """What came before the break is void, and said to be; the second answer is whole."""
    async with (
        rough(then(breaks(kind), good(kind))) as server,
        provider(spec(server, kind, client=client)) as model,
    ):
        found = await said(model)
    broke = [number for number, one in enumerate(found) if isinstance(one, Retried)]
    assert len(broke) == 1
    assert any(isinstance(one, TextDelta) for one in found[: broke[0]])
    assert "".join(one.text for one in found[broke[0] :] if isinstance(one, TextDelta)) == "Hello"
    assert isinstance(found[-1], Reply)
    assert found[-1].text == "Hello"
    assert len(server.visits) == 2


@pytest.mark.parametrize("status", ["429 Too Many", "500 Oops", "503 Busy", "529 Overloaded", "408 Late"])
async def test_what_may_work_later_is_tried_again(provider: Any, status: str) -> None:
    """Two refusals and an answer are an answer; each attempt says why and how long it waits."""
    async with rough(then(*[refuses(status)] * 2, good())) as server, provider(spec(server)) as model:
        found = await said(model)
    again = [one for one in found if isinstance(one, Retried)]
    assert [one.model for one in again] == ["it/m", "it/m"]
    assert all(f"HTTP {status[:3]}" in one.reason for one in again)
    assert 0.005 <= again[0].wait <= 0.01
    assert 0.01 <= again[1].wait <= 0.02
    assert len(server.visits) == 3


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (refuses("401 No"), Unauthorized),
        (refuses("403 No"), Unauthorized),
        (refuses("400 Bad"), Permanent),
        (refuses("429 No", body=b'{"error":{"code":"insufficient_quota"}}'), Permanent),
        (refuses("402 Pay"), Permanent),
    ],
)
async def test_what_would_fail_again_is_not_tried_again(provider: Any, script: Script, error: type[Exception]) -> None:
    """A key, an account and a request do not get better by asking."""
    async with rough(script) as server, provider(spec(server)) as model:
        with pytest.raises(error):
            await said(model)
    assert len(server.visits) == 1


async def test_the_last_attempt_is_what_is_told(provider: Any) -> None:
    """After so many attempts the last failure is the caller's."""
    async with rough(then(refuses("500 A"), refuses("503 B"), refuses("529 C"))) as server:
        async with provider(spec(server)) as model:
            with pytest.raises(Overloaded, match="HTTP 529"):
                await said(model)
        assert len(server.visits) == 3


async def test_it_waits_as_long_as_the_service_asks(provider: Any) -> None:
    """`Retry-After` counts, and what lies beyond the deadline is not waited for."""
    asks = refuses("429 Slow", "retry-after-ms: 200")
    async with rough(then(asks, good())) as server, provider(spec(server)) as model:
        started = time.monotonic()
        found = await said(model)
        assert time.monotonic() - started >= 0.2
    assert isinstance(found[0], Retried)
    assert 0.205 <= found[0].wait <= 0.21
    async with rough(refuses("429 Slow", "Retry-After: 3600")) as server, provider(spec(server)) as model:
        started = time.monotonic()
        with pytest.raises(RateLimited) as caught:
            await said(model)
        assert time.monotonic() - started < 20
        assert caught.value.retry_after == 3600
        assert len(server.visits) == 1


async def test_one_deadline_for_all_attempts(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that breaks off again and again, and then hangs, has one deadline for all of it."""

    async def hangs(visit: Visit) -> None:
        if len(server.visits) == 3:
            skip(3600, monkeypatch)
            await visit.hang()
        visit.reset()

    async with rough(hangs) as server:
        async with provider(spec(server, deadline="1h", retry={"attempts": 50, "backoff": "1ms"})) as model:
            with pytest.raises(Unreachable, match=r"spec\.deadline"):
                await said(model)
        assert len(server.visits) == 3


async def test_nothing_is_known_of_a_service_before_it_answers(provider: Any) -> None:
    """That a key could be read, and a call is under way, says nothing of the service, good or bad."""
    answers = asyncio.Event()

    async def serve(visit: Visit) -> None:
        await answers.wait()
        await visit.say(answer(GOOD["openai"]))

    async with rough(serve) as server, provider(spec(server)) as model:
        asking = asyncio.ensure_future(said(model))
        await until(lambda: server.visits)
        assert [(one.status, one.reason) for one in model.health()] == [("Unknown", "NotCalled")]
        answers.set()
        await asking
        assert [one.status for one in model.health()] == ["True"]


def test_waits_double_up_to_the_longest() -> None:
    """Each wait lies in the upper half of a bound that doubles."""
    retry = Retry.model_validate({"attempts": 9, "backoff": "1s", "maxBackoff": "5s"})
    for attempt, bound in enumerate([1.0, 2.0, 4.0, 5.0, 5.0], start=1):
        waits = [retry.wait(attempt, Unreachable("x")) for _ in range(200)]
        assert all(wait is not None and bound / 2 <= wait <= bound for wait in waits)
        assert len(set(waits)) > 100
    assert retry.wait(9, Unreachable("x")) is None
    assert retry.wait(1, BadReply("x")) is None
    assert 33 <= (retry.wait(1, Overloaded("x", 33.0)) or 0) <= 34


class TestBreaker:
    """The breaker by itself, and before a service."""

    def test_it_opens_lets_one_through_and_closes(self) -> None:
        """Closed, open, half-open with one probe, closed."""
        clock = VirtualClock()
        breaker = Breaker("Provider/it", BreakerFields.model_validate({"failures": 2, "cooldown": "30s"}), clock)
        for _ in range(2):
            with pytest.raises(Unreachable), breaker.call():
                raise Unreachable("Provider/it: gone")
        with pytest.raises(Overloaded, match=r"its last 2 calls failed \(gone\); the next call is in 30 s") as caught:
            breaker.refuse()
        assert caught.value.retry_after == 30
        clock.advance(30)
        with breaker.call(), pytest.raises(Overloaded, match="one call is asking"):  # the probe
            breaker.refuse()
        breaker.refuse()
        with breaker.call(), breaker.call():
            pass

    def test_a_failed_probe_opens_it_again(self) -> None:
        """The cool-down begins anew; a probe that was given up leaves the place to another."""
        clock = VirtualClock()
        breaker = Breaker("Provider/it", BreakerFields.model_validate({"failures": 1, "cooldown": "10s"}), clock)
        with pytest.raises(Unreachable), breaker.call():
            raise Unreachable("gone")
        clock.advance(10)
        with pytest.raises(asyncio.CancelledError), breaker.call():
            raise asyncio.CancelledError
        with pytest.raises(Overloaded), breaker.call():
            raise Overloaded("busy")
        assert breaker.open
        clock.advance(10)
        with pytest.raises(Unauthorized), breaker.call():  # it answers
            raise Unauthorized("no")
        assert not breaker.open

    def test_successes_and_rate_limits_are_no_failures(self) -> None:
        """Only failures in a row count, and 0 never opens."""
        breaker = Breaker("Provider/it", BreakerFields(failures=2), VirtualClock())
        for error in (Unreachable("x"), RateLimited("x"), RateLimited("x"), RateLimited("x")):
            with pytest.raises(Temporary), breaker.call():
                raise error
        with breaker.call():
            pass
        with pytest.raises(Unreachable), breaker.call():
            raise Unreachable("x")
        assert not breaker.open
        for _ in range(9):
            with pytest.raises(BadReply), breaker.call():  # it answers, if badly
                raise BadReply("empty")
        assert not breaker.open
        never = Breaker("Provider/it", BreakerFields(failures=0), VirtualClock())
        for _ in range(9):
            with pytest.raises(Unreachable), never.call():
                raise Unreachable("x")
        assert not never.open

    async def test_no_connection_while_it_is_open(self, provider: Any) -> None:
        """A service that is down is left alone, at once, and comes back by one call."""
        clock = VirtualClock()
        breaker = {"failures": 3, "cooldown": "30s"}
        async with (
            rough(then(*[refuses("503 Down")] * 3, good())) as server,
            provider(
                spec(server, breaker=breaker, retry={"attempts": 9, "backoff": "1ms"}, deadline="1h"), clock=clock
            ) as model,
        ):
            with pytest.raises(Overloaded, match="HTTP 503"):  # it opens in the middle of the attempts
                await said(model)
            assert len(server.visits) == 3
            with pytest.raises(Overloaded, match=r"is not called: its last 3 calls failed .*the next call is in 30 s$"):
                await said(model)
            assert len(server.visits) == 3
            clock.advance(30)
            assert isinstance((await said(model))[-1], Reply)
            assert len(server.visits) == 4


class TestRate:
    """What is more than a service takes waits."""

    async def test_calls_at_once(self, provider: Any) -> None:
        """As many calls at once as declared and no more; a call that is given up frees its place."""
        now = most = 0
        three = asyncio.Barrier(3)

        async def serve(visit: Visit) -> None:
            nonlocal now, most
            if given_up:
                await visit.hang()
            now += 1
            most = max(most, now)
            async with three:
                now -= 1
            await visit.say(answer(GOOD["openai"]))

        async with rough(serve) as server, provider(spec(server, rate={"concurrency": 3})) as model:
            given_up = [asyncio.ensure_future(said(model)) for _ in range(6)]
            await until(lambda: len(server.visits) == 3)
            for task in given_up:
                task.cancel()
            await asyncio.gather(*given_up, return_exceptions=True)
            given_up.clear()
            await asyncio.gather(*(said(model) for _ in range(12)))
        assert most == 3

    async def test_calls_a_minute(self, provider: Any) -> None:
        """A burst may use a minute's worth; then calls come at the rate, in order, or not within their deadline."""
        times: list[float] = []

        async def serve(visit: Visit) -> None:
            times.append(time.monotonic())
            await visit.say(answer(GOOD["openai"]))

        async with rough(serve) as server:
            started = time.monotonic()
            async with provider(spec(server, rate={"requests": 120})) as model:
                await asyncio.gather(*(said(model) for _ in range(122)))
            assert times[121] - started >= 1  # 120 at once, and then one in half a second
            still = VirtualClock()
            async with provider(spec(server, rate={"requests": 1}, deadline="30s"), clock=still) as model:
                await said(model)
                started = time.monotonic()
                with pytest.raises(RateLimited, match=r"deadline, the next one is in 60 s: see spec\.rate") as late:
                    await said(model)
                assert late.value.retry_after == 60
                assert time.monotonic() - started < 20  # it is known beforehand

    async def test_all_places_are_taken(self) -> None:
        """Who waits in vain for one of the calls at once is told, when its own time is over."""
        rate = Rate("Provider/it", RateFields(concurrency=1), VirtualClock())
        now = asyncio.get_running_loop().time
        async with rate.call(HELLO, now() + 60):
            with pytest.raises(RateLimited, match=r"deadline, all are taken: see spec\.rate"):
                async with rate.call(HELLO, now() + 0.05):
                    pass
        async with rate.call(HELLO, now() + 60):
            pass

    async def test_tokens_a_minute(self, provider: Any) -> None:
        """What was reserved and not used is given back."""
        ask = Request((Message("user", "hello"),), max_tokens=900)
        async with (
            rough(good()) as server,
            provider(spec(server, rate={"tokens": 1000}, deadline="3s"), clock=VirtualClock()) as model,
        ):
            for _ in range(5):  # 11 tokens each, of 901 reserved
                await said(model, ask)
            with pytest.raises(RateLimited):  # 55 are missing, which takes 3.3 s
                await said(model, Request((Message("user", "hello"),), max_tokens=1000))


FALLBACK = """
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: main}
spec: {type: scripted, replies: [{error: %s, text: main is away, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: spare}
spec: {type: scripted, replies: [{toolCalls: [{name: nothing, arguments: {seconds: 0.01}}]}, {%s, times: null}]}
---
apiVersion: loomd.dev/v1
kind: Provider
metadata: {name: both}
spec: {type: fallback, providers: [main, spare]}
---
apiVersion: loomd.dev/v1
kind: Tool
metadata: {name: nothing}
spec: {type: wait}
---
apiVersion: loomd.dev/v1
kind: Agent
metadata: {name: ada}
spec: {description: Answers., provider: both, tools: [nothing]}
"""


class TestFallback:
    """Another provider takes over."""

    async def test_the_next_one_answers(self, tmp_path: Path) -> None:
        """The task succeeds; who answered, and why not the first, is told once: the second call goes to it at once."""
        ran = await run_manifests(FALLBACK % ("temporary", "text: I am here"), "hello", tmp_path)
        outcome = ran.result.executed.outcome if ran.result.executed else None
        assert outcome is not None
        assert outcome.output == "I am here"
        assert [fact.model for fact in ran.facts(ModelCalled)] == ["spare/scripted", "spare/scripted"]
        (again,) = ran.facts(ModelRetried)
        assert (again.model, again.after) == ("main/scripted", "spare/scripted")
        assert "main is away" in again.reason
        assert "".join(fact.text for fact in ran.facts(ModelDelta)) == "I am here"

    async def test_nobody_answers(self, tmp_path: Path) -> None:
        """The error names them all, and may be tried later when one of them may."""
        ran = await run_manifests(FALLBACK % ("permanent", "error: temporary, text: busy"), "hello", tmp_path)
        outcome = ran.result.executed.outcome if ran.result.executed else None
        assert outcome is not None
        assert outcome.stop_reason == "error"
        assert "none of its 2 providers answered" in outcome.error
        assert "main is away" in outcome.error
        assert "busy" in outcome.error

    async def test_the_example(self, tmp_path: Path, unused_port: int) -> None:
        """The example's server is asked three times, and its spare one answers."""
        example = Path(__file__).parents[2] / "examples" / "05-resilience"
        text = "---\n".join(path.read_text("utf-8") for path in sorted(example.glob("*.yaml")))
        nowhere = f"baseUrl: http://127.0.0.1:{unused_port}/v1"
        assert "service: llamacpp" in text
        ran = await run_manifests(text.replace("service: llamacpp", nowhere), "When does it close?", tmp_path)
        assert ran.result.phase == "Succeeded"
        assert [fact.after for fact in ran.facts(ModelRetried)] == ["", "", "spare/scripted"]
        assert [fact.model for fact in ran.facts(ModelCalled)] == ["spare/scripted"]
