"""How the daemon is, for those who watch it: `/livez`, `/readyz` and `/metrics`.

A refused configuration is told everywhere and never makes the daemon unready: the last good one serves. Called by
`server`.
"""

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from aiohttp import web

from loomd import __version__
from loomd.daemon import System
from loomd.errors import LoomdError

PATIENCE = 1.0
"""Seconds in which the store must answer to be called ok."""
_TEXT = "text/plain; version=0.0.4"
_SERVED = frozenset(("applied", "unchanged"))


class Metric(NamedTuple):
    """One number with its labels."""

    name: str
    help: str
    value: float
    labels: dict[str, str]


class Health:
    """Handlers of one system."""

    def __init__(self, system: System) -> None:
        self._system = system

    def add_to(self, app: web.Application) -> None:
        """Register the routes."""
        app.add_routes(
            [
                web.get("/livez", self.alive),
                web.get("/readyz", self.ready),
                web.get("/metrics", self.metrics),
            ]
        )

    async def alive(self, request: web.Request) -> web.Response:
        """Say that the event loop turns: whoever reads this, it does."""
        del request
        return web.Response(text="ok\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Say whether work is taken; with `verbose` also of each part how it is."""
        fault = await self._store_fault()
        ready = self._system.ready and not fault
        lines = ["ok" if ready else "not ready"]
        if "verbose" in request.query:
            lines = [*self._parts(fault), *lines]
        return web.Response(text="\n".join(lines) + "\n", status=200 if ready else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        """Return what is measured, in the text format of Prometheus."""
        del request
        text = "\n".join(_exposed(list(self._measured())))
        return web.Response(body=text.encode(), headers={"Content-Type": _TEXT})

    async def _store_fault(self) -> str:
        """Return why the store does not answer, or an empty string."""
        if fault := self._system.fault or self._system.store.broken:
            return fault
        try:
            async with asyncio.timeout(PATIENCE):
                await self._system.store.prove()
        except TimeoutError:
            return f"no answer within {PATIENCE:g} s"
        except LoomdError as error:
            return str(error)
        return ""

    def _parts(self, fault: str) -> Iterator[str]:
        """Yield a line for each part, `[+]` when it is well and `[-]` when it is not."""
        system, reconciler = self._system, self._system.reconciler
        yield f"[-]store {fault}" if fault else "[+]store ok"
        serves = f"revision {reconciler.number} ({reconciler.revision}), {len(reconciler.topology.live)} objects"
        yield f"[+]set {serves}" if system.serves else "[-]set nothing serves yet"
        for state in reconciler.sources():
            if not state.followed:
                continue
            lines = reconciler.rejected.get(state.name)
            if lines and state.attempts and state.attempts[0].outcome == "failed":
                yield f"[-]source {state.name} cannot be {'reached' if state.type == 'git' else 'read'}: {lines[0]}"
            elif lines:
                first, *others = lines
                count = f"{1 + len(others)} problems" if others else "1 problem"
                yield f"[-]source {state.name} refused, {count}: {first}"
            elif state.suspended:
                yield f"[+]source {state.name} suspended: {state.reason or 'by hand'}"
            else:
                yield f"[+]source {state.name} ok"
        refused = system.settings_error.splitlines()
        yield f"[-]settings refused: {refused[0]}" if refused else "[+]settings ok"
        if reconciler.stale:
            yield "[-]config stale: the last good revision serves, what the sources hold now is refused"
            yield from (f"   {line}" for line in reconciler.last_error.splitlines())
        else:
            yield "[+]config ok"
        why = "the store is not what it was" if fault else "it starts or drains"
        yield "[+]work is taken" if system.ready and not fault else f"[-]work is not taken: {why}"

    def _measured(self) -> Iterator[Metric]:
        system, reconciler = self._system, self._system.reconciler
        sources = reconciler.sources()
        good = not reconciler.stale and not system.settings_error
        served = [_seconds(one.at) for state in sources for one in state.attempts if one.outcome in _SERVED]
        revision = {"number": str(reconciler.number), "revision": reconciler.revision}
        yield Metric("loomd_build_info", "Version that runs.", 1, {"version": __version__})
        yield Metric("loomd_ready", "Whether work is taken.", system.ready, {})
        yield Metric("loomd_revision_info", "Revision that serves.", 1, revision)
        yield Metric("loomd_objects", "Objects that serve.", len(reconciler.topology.live), {})
        yield Metric("loomd_snapshots_live", "Revisions that are open.", reconciler.live, {})
        yield Metric(
            "loomd_config_last_reload_successful", "Whether all that was read last, settings included, holds.", good, {}
        )
        yield Metric(
            "loomd_config_last_reload_success_timestamp_seconds",
            "When settings or manifests were last read and taken.",
            max([system.settings_read, *served]),
            {},
        )
        yield Metric("loomd_sources", "Sources that are known.", len(sources), {})
        suspended = sum(state.suspended for state in sources)
        yield Metric("loomd_sources_suspended", "Sources whose deliveries are ignored.", suspended, {})
        yield Metric("loomd_tasks_running", "Tasks that run, without their subtasks.", system.engine.running, {})


def _exposed(metrics: list[Metric]) -> Iterator[str]:
    """Yield the lines of the text format."""
    for one in metrics:
        yield f"# HELP {one.name} {one.help}"
        yield f"# TYPE {one.name} gauge"
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in one.labels.items())
        yield f"{one.name}{{{labels}}} {_number(one.value)}" if labels else f"{one.name} {_number(one.value)}"
    yield ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return f"{float(value):.3f}".rstrip("0").rstrip(".")


def _seconds(moment: str) -> float:
    """Return the seconds since 1970 of an RFC 3339 time."""
    return datetime.fromisoformat(moment).timestamp()
