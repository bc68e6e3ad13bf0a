"""The process that runs a language model: llama.cpp's own server on a free loopback port.

Run as a script by `loomd.models.llama`, never imported. It reads one JSON line from standard input (the settings, with
the key: a key in the arguments could be read by others), prints the address once the model answers, and ends when
standard input closes, so it never outlives its parent. On Linux the kernel ends it with the parent as well.
"""

import ctypes
import importlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

_LINKED = "LOOMD_LINKED_LIBRARIES"


def _die_with_parent() -> None:
    if sys.platform == "linux":
        parent_gone = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(parent_gone, signal.SIGKILL)


def _keep_stdout() -> int:
    """Return a private copy of standard output; what the runtime prints goes to standard error."""
    mine = os.dup(1)
    os.dup2(2, 1)
    return mine


def _import_runtime() -> Any:
    """Import the runtime; where the system has no OpenMP library, link one that another package brought.

    Such a library is found only through the search path that a process starts with, so this one starts itself anew.
    """
    linked = os.environ.pop(_LINKED, "")
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        found = importlib.util.find_spec("xllamacpp")
        site = Path(found.origin).parent.parent if found and found.origin else Path()
        bundled = sorted(site.glob("*.libs/libgomp*"))
        if linked or "libgomp" not in str(error) or not bundled:
            raise
        folder = tempfile.mkdtemp(prefix="loomd-")
        Path(folder, "libgomp.so.1").symlink_to(bundled[0])
        search = os.pathsep.join(filter(None, [folder, os.environ.get("LD_LIBRARY_PATH")]))
        again = {**os.environ, "LD_LIBRARY_PATH": search, _LINKED: folder}
        os.execve(sys.executable, sys.orig_argv, again)  # noqa: S606  # this very program, with a search path
    finally:
        if linked:
            shutil.rmtree(linked, ignore_errors=True)


def _threads(wanted: int) -> int:
    """Return the threads to use; 0 means the processors this process may use, at most 8 (more are slower)."""
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return wanted or max(1, min(8, usable))


def _serve(runtime: Any, settings: dict[str, Any]) -> Any:
    """Load the model and return the running server."""
    params = runtime.CommonParams()
    params.model.path = settings["model"]
    params.model_alias = {settings["name"]}
    params.n_ctx = settings["context"]
    params.n_parallel = settings["parallel"]
    params.kv_unified = True
    params.use_jinja = True
    params.verbosity = -1
    for cpu in (params.cpuparams, params.cpuparams_batch):
        cpu.n_threads = _threads(settings["threads"])
        cpu.poll = 0  # waiting threads sleep: on shared processors spinning costs 4 to 5 times the speed
    params.port = 0
    params.api_keys = [settings["key"]]
    params.ui = False
    params.endpoint_slots = False
    return runtime.Server(params)


def main() -> None:
    """Serve until standard input closes."""
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends this process
    runtime = _import_runtime()
    out = _keep_stdout()
    line = sys.stdin.readline()
    if not line:
        return
    server = _serve(runtime, json.loads(line))
    os.write(out, f"{server.listening_address}\n".encode())
    sys.stdin.read()
    os._exit(0)  # the server's threads would be waited for otherwise


if __name__ == "__main__":
    main()
