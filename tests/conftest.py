"""Options of the test suite; under `LOOMD_CI` a skip is a failure, because everything that is needed is installed.

Folders of tests are in memory where that has room: stores wait for the disk at each commit, thousands of times, and no
test cuts the power. `PYTEST_DEBUG_TEMPROOT=/tmp` puts them on the disk.
"""

import gc
import os
import signal
import sys
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("LOOMD_TYPES", "core")  # what else is installed here changes no test
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile all of loomd, half a second each
sys.dont_write_bytecode = False

MEMORY = "/dev/shm"  # noqa: S108  # a file system in memory, in which tests have folders of their own
ROOM = 2 << 30
"""Bytes that must be free there; the folders of a whole run take a tenth."""


def _has_room(place: str) -> bool:
    """Return whether a file system in memory has room for the folders of the tests, and runs what they write."""
    if not os.access(place, os.W_OK):
        return False
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC


if sys.platform == "linux" and _has_room(MEMORY):
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)
slow = [HealthCheck.too_slow]  # how long an example takes says how busy the machine is
settings.register_profile("alike", deadline=None, derandomize=True, suppress_health_check=slow)
settings.load_profile("alike")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-corpus`: write what the manifest reader says now into the corpus, for review in the diff."""
    parser.addoption("--update-corpus", action="store_true", help="rewrite the expected output of the manifest corpus")


def pytest_configure() -> None:
    """Hear an interrupt even when started in the background: what the tests start inherits whether it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage while tests are collected, and never look at them again: all of them stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure where nothing may be missing."""
    report = yield
    if report.skipped and "LOOMD_CI" in os.environ and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
    return report
