"""Embedders, opened from a spec as a manifest writes it."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from loomd.clock import SystemClock
from loomd.embedders.base import Embedder
from loomd.embedders.kind import KIND
from loomd.events.bus import Bus
from loomd.manifest.object import Metadata, Object, Ref
from loomd.manifest.problem import Position
from loomd.models.place import models_dir
from loomd.store.sqlite import open_store
from loomd.topology import Parts, Services

Open = Callable[..., AbstractAsyncContextManager[Embedder]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """Return a function that opens an embedder from its spec as a manifest writes it."""

    @asynccontextmanager
    async def open_embedder(raw: dict[str, Any], models: Path | None = None) -> AsyncGenerator[Embedder, None]:
        spec = KIND.adapter.validate_python(raw)
        async with open_store(tmp_path / "state") as store:
            clock = SystemClock()
            services = Services(store, Bus(clock), clock, models or models_dir())
            declared = Object(Ref("Embedder", "e"), Metadata(name="e"), spec, raw, tmp_path, Position("e.yaml"))
            async with spec.open(Parts(declared, services, {})) as live:
                yield live

    return open_embedder
