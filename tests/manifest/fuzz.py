"""Reads what a fuzzer makes of the corpus, guided by which lines of the reader each input reaches, until one is wrong.

    python -m tests.manifest.fuzz [SECONDS [FOLDER [OPTION...]]]

ends after so many seconds (60) with status 0, or at the first input of which something does not hold: it prints why
and writes the input into the folder, where inputs that reach something new are kept for the next run as well. Without
a folder it takes a new one and says which. Options are those of libFuzzer, such as `-seed=1`. Where there is no
`atheris` (see pyproject.toml) it cannot run.
"""

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

atheris: Any = import_module("atheris")  # it comes without types

with atheris.instrument_imports(include=["loomd.manifest"]):
    from loomd.manifest.kind import find_kinds
    from loomd.manifest.schema import schema_of
    from tests.manifest.corpus import BAD, GOOD, input_of
    from tests.manifest.oracle import judge

DEFAULT_SECONDS = 60
MAX_BYTES = 16 << 10
"""Longest input in bytes: what is larger is left to `hostile`, which knows how to fill it."""
MAX_MIB = 400
"""Memory that the process may take, the interpreter and all that was ever kept included."""
MAX_WAIT = 20
"""Seconds after which an input hangs; how much CPU it may take is known to `oracle`."""
TOKENS = (
    *("- ", ": ", "? ", "---\n", "...\n", "[", "]", "{", "}", ", ", "#", "&a ", "*a", "!!str ", "|\n", ">-\n", "<<: "),
    *('"', "'", "\\u", "\\ud83d\\ude00", "%YAML 1.2\n", "%TAG ! x:\n", "\t", "\r\n", "\u0085", "\u2028", "\ufeff"),
    *("null", "true", "0x1F", "0o17", "1e3", ".inf", "9223372036854775808", "30s", "2Mi", "{{ goal }}", "{% if a %}"),
    *("apiVersion: loomd.dev/v1", "loomd.dev/v1alpha1", "valueFrom", "matchLabels", "../x", "default"),
)
"""What YAML, templates and manifests are made of, for the fuzzer to put anywhere."""


def words() -> set[str]:
    """Return what an input may be made of: tokens, and the name of every kind, field and type."""
    found = set(TOKENS)
    pending: list[object] = []
    for kind in find_kinds().values():
        found.add(kind.name)
        pending.append(schema_of(kind))
    while pending:
        one = pending.pop()
        if isinstance(one, dict):
            found |= set(one.get("properties", ())) | {str(one[key]) for key in ("const", "x-loomd-ref") if key in one}
            pending += one.values()
        elif isinstance(one, list):
            pending += one
    return found


def prepare(folder: Path) -> tuple[Path, Path]:
    """Write the corpus and the words below a folder as the fuzzer reads them, and return where."""
    seeds, listed = folder / "seeds", folder / "words.txt"
    seeds.mkdir(parents=True, exist_ok=True)
    for path in (*GOOD, *BAD):
        (seeds / f"{path.parent.name}-{path.stem}").write_bytes(input_of(path))
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in sorted(words()))
    listed.write_text("".join(f'"{word}"\n' for word in escaped), encoding="ascii")
    return seeds, listed


def main() -> None:
    """Fuzz until the time is over or something does not hold."""
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_SECONDS
    folder = Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp(prefix="loomd-fuzz-"))
    seeds, listed = prepare(folder)
    (kept := folder / "kept").mkdir(exist_ok=True)
    print(f"what is found goes to {folder}", flush=True)  # noqa: T201  # for whoever started it
    options = {
        "artifact_prefix": f"{folder}/",
        "dict": listed,
        "max_len": MAX_BYTES,
        "max_total_time": seconds,
        "rss_limit_mb": MAX_MIB,
        "timeout": MAX_WAIT,
    }
    ours = (f"-{name}={value}" for name, value in options.items())
    command = [sys.argv[0], *ours, *sys.argv[3:], str(kept), str(seeds)]
    atheris.Setup(command, judge)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
