"""loomd's agent loop alone: one agent from the manifest, no task, no phases, no journal. What the peers' runs are."""

import itertools

from . import loomd as _whole

PEER, DISTS = "loomd, agent loop alone", _whole.DISTS
setup, setup_fake, make_agent, close = _whole.setup, _whole.setup_fake, _whole.make_agent, _whole.close

_numbers = itertools.count()


async def _outcome(app, prompt, deltas=None):
    from loomd.agents.loop import Loop
    from loomd.agents.work import Work
    from loomd.events.bus import Bus, Scope
    from loomd.manifest.object import Ref
    from loomd.testing import Unrecorded
    system = await app.ready()
    agent = system.reconciler.topology.live[Ref("Agent", "assistant")]
    bus = Bus(system.clock)
    if deltas is not None:
        bus.subscribe(deltas)
    return await Loop(agent, Work(prompt), Unrecorded(), Scope(bus, f"run-{next(_numbers)}")).run()


async def run(app, prompt):
    return (await _outcome(app, prompt)).output
