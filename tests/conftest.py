"""Options of the test suite."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--update-corpus`: write what the manifest reader says now into the corpus, for review in the diff."""
    parser.addoption("--update-corpus", action="store_true", help="rewrite the expected output of the manifest corpus")
