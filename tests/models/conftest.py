import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from loomd.models.registry import REGISTRY

PARTS = (b"first half, " * 1000, b"second half." * 1000)
WHOLE = b"".join(PARTS)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels that pip takes for the package index; there is no other."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def make_wheel(index: Path) -> Callable[..., Path]:
    """Return a function that builds a wheel which holds data under `<module>/data.bin`."""

    def make(package: str, data: bytes) -> Path:
        module = package.replace("-", "_")
        path = index / f"{module}-1.0-py3-none-any.whl"
        info = f"{module}-1.0.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{module}/__init__.py", "raise RuntimeError('its code must never run')")
            wheel.writestr(f"{module}/data.bin", data)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
        return path

    return make


def registry_text(sha256: str = "", sources: str = "", size: int = len(WHOLE)) -> str:
    """Return a registry with one model `tiny`; its sources default to two wheels."""
    wheels = """
[[models.files.sources]]
type = "wheels"
parts = [
    { package = "tiny-part1", version = "1.0", member = "tiny_part1/data.bin" },
    { package = "tiny-part2", version = "1.0", member = "tiny_part2/data.bin" },
]
"""
    return f"""
[[models]]
name = "tiny"
kind = "language"
title = "A test"
licence = "CC0-1.0"

[[models.files]]
name = "tiny.gguf"
size = {size}
sha256 = "{sha256 or hashlib.sha256(WHOLE).hexdigest()}"
{wheels}{sources}"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of models, with a registry that knows `tiny`."""
    path = tmp_path / "models"
    path.mkdir()
    (path / REGISTRY).write_text(registry_text())
    monkeypatch.setenv("LOOMD_MODELS_DIR", str(path))
    return path


@pytest.fixture
def both(make_wheel: Callable[..., Path]) -> list[Path]:
    """Both wheels of `tiny`, on offer."""
    return [make_wheel(f"tiny-part{number}", data) for number, data in enumerate(PARTS, 1)]
