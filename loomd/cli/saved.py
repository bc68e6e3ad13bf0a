"""Saved plans: what was planned, against which revision, and all that would be sent, in one file.

Only its owner reads the file; it holds manifests, and those hold no secrets: they say where one is. Called by `plan`,
which writes plans, and by `apply`, which takes none that anything has changed for since.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from loomd.api.client import Json
from loomd.cli.delivery import read_delivered, request, texts
from loomd.errors import Damaged, NotFound, Permanent, Stale
from loomd.manifest.problem import Problems
from loomd.manifest.source import STDIN

FORMAT = "loomd.dev/plan/v1"
"""Tells a saved plan from any other file."""

_LISTED = 3
_LARGEST = 256 << 20


@dataclass(frozen=True)
class SavedPlan:
    """A plan as it is kept.

    Attributes:
        paths: the files and folders that it was made of, absolute, or `-`.
        body: the request that carries it out, without what it is held to.
        plan: what the daemon said that it changes.
    """

    paths: tuple[str, ...]
    body: Json
    plan: Json

    def write(self, file: Path) -> None:
        """Write it to a file that only its owner may read.

        Raises:
            Permanent: the file is there and is no saved plan.
        """
        if file.exists() and not _is_plan(file):
            raise Permanent(f"{file} is there and is no saved plan: choose another name")
        content = {"paths": list(self.paths), "request": self.body, "plan": self.plan}
        text = json.dumps({"format": FORMAT, "digest": _digest(content), **content}, indent=2, ensure_ascii=False)
        fresh = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:  # noqa: PTH123  # a descriptor has no path
                stream.write(f"{text}\n")
            fresh.replace(file)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise

    @staticmethod
    def read(file: Path) -> "SavedPlan":
        """Return the plan in a file.

        Raises:
            NotFound: there is no such file.
            Permanent: it is no saved plan.
            Damaged: it was changed after it was written.
        """
        if not file.exists():
            raise NotFound(f"{file}: no such file")
        found = _read(file)
        if found is None:
            raise Permanent(f"{file} is no saved plan: for manifests, loomd apply -f {file}")
        content = {name: value for name, value in found.items() if name not in {"format", "digest"}}
        if found.get("digest") != _digest(content):
            raise Damaged(f"{file}: the saved plan was changed after it was written: plan again")
        return SavedPlan(tuple(content["paths"]), content["request"], content["plan"])

    def request(self) -> Json:
        """Return the request that carries it out, held to what it was planned against and to what must come of it.

        Raises:
            Stale: a file that it was made of is not what it was.
        """
        self._require_same_files()
        return self.body | {"expected": self.plan["before"]["number"], "planned": self.plan["after"]["revision"]}

    def _require_same_files(self) -> None:
        paths = [path for path in self.paths if path != STDIN]
        try:
            now = texts(request(read_delivered(paths))) if paths else {}
        except (NotFound, Problems) as error:
            raise Stale(f"saved plan is stale: {error}") from error
        then = {key: text for key, text in texts(self.body).items() if key[0] != STDIN}
        moved = sorted({path for key in then.keys() | now.keys() if then.get(key) != now.get(key) for path in [key[1]]})
        if moved:
            raise Stale(f"saved plan is stale: {_listed(moved)} changed since: plan again")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def _is_plan(file: Path) -> bool:
    return file.is_file() and _read(file) is not None


def _read(file: Path) -> Json | None:
    """Return the content of a file when it is a saved plan, however whole."""
    with file.open("rb") as stream:
        data = stream.read(_LARGEST)
    try:
        found: Any = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return cast("Json", found) if isinstance(found, dict) and found.get("format") == FORMAT else None


def _digest(content: Json) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
