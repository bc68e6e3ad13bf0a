"""Runs the daemon in this process until it is told to stop. Called by `serve`."""

import asyncio
import os
from pathlib import Path
from typing import Any

from loomd.api.client import default_socket
from loomd.api.server import open_server
from loomd.garbage import collect_seldom
from loomd.lifecycle import serve
from loomd.models.place import models_dir
from loomd.notify import Notifier
from loomd.settings import Settings, allowed_packages, read_settings
from loomd.store.directory import default_directory


def run(config: Path | None, flags: dict[str, Any]) -> None:
    """Run the daemon.

    Args:
        config: file of its settings, absolute; it is read again at every reload.
        flags: settings of the command line, which win over it.
    """
    collect_seldom()
    defaults = {
        "stateDir": str(default_directory()),
        "modelsDir": str(models_dir()),
        "socket": str(default_socket()),
        "allowPackages": list(allowed_packages()),
    }

    def reread() -> Settings:
        return read_settings(config, flags, defaults)

    asyncio.run(serve(reread(), open_server, reread, Notifier.of(os.environ, os.getpid())))
