"""Opens Skill specs."""

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from loomd.agents.base import Skill
from loomd.clock import Clock, SystemClock
from loomd.events.bus import Bus
from loomd.manifest.kind import find_kinds
from loomd.manifest.object import Metadata, Object, Ref
from loomd.manifest.problem import Position
from loomd.store.sqlite import open_store
from loomd.topology import Openable, Parts, Services

Open = Callable[..., AbstractAsyncContextManager[Skill]]


def open_spec(
    ref: Ref, spec: Mapping[str, object], folder: Path, clock: Clock, live: Mapping[Ref, object]
) -> AbstractAsyncContextManager[Any]:
    """Open one spec, as written in a manifest, on a real store below a folder."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator[Any, None]:
        typed = find_kinds()[ref.kind].adapter.validate_python(spec)
        declared = Object(ref, Metadata(name=ref.name), typed, spec, folder, Position("test.yaml"))
        async with open_store(folder / "state") as store:
            services = Services(store, Bus(clock), clock, folder / "models")
            async with cast("Openable", typed).open(Parts(declared, services, live)) as thing:
                yield thing

    return opened()


@pytest.fixture
def skill(tmp_path: Path) -> Open:
    """Return an opener of Skill specs; `clock` and `live` (open things by ref) may be given."""

    def open_it(
        spec: Mapping[str, object], *, clock: Clock | None = None, live: Mapping[Ref, object] | None = None
    ) -> AbstractAsyncContextManager[Skill]:
        return open_spec(Ref("Skill", "it"), spec, tmp_path, clock or SystemClock(), live or {})

    return open_it
