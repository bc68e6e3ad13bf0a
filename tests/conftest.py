"""Options of the test suite; under `LOOMD_CI` a skip is a failure, because everything that is needed is installed."""

import gc
import os
import signal
import sys
from collections.abc import Generator

import pytest

os.environ.setdefault("LOOMD_TYPES", "core")  # what else is installed here changes no test
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would compile all of loomd, half a second each
sys.dont_write_bytecode = False


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
