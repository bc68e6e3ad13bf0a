"""What it costs to start: CPU (user + system) of whole `loomd` processes and of the imports behind them.

    python benchmarks/startup/run.py [--quick] [--json FILE]

Every figure is the least of several runs, in milliseconds. Byte code is compiled first, as an installation does it.
The imports are those of `loomd validate`: all kinds and all types. None of them may load an SDK. `import pydantic` is
a yardstick beside them: it tells a slow machine from a slow change.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
EXAMPLE = PROJECT / "examples" / "01-quickstart"
LOOMD = [sys.executable, str(Path(sys.executable).with_name("loomd"))]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "loomd version": [*LOOMD, "version"],
    "loomd --help": [*LOOMD, "--help"],
    "loomd validate": [*LOOMD, "validate", str(EXAMPLE)],
}

TIMED = """
import gc, resource, sys
gc.disable()  # as the command line does
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
before = cpu()
{work}
print((cpu() - before) * 1000)
heavy = {{"openai", "anthropic", "faiss", "numpy", "aiohttp", "onnxruntime", "wordllama", "xllamacpp", "tokenizers"}}
found = heavy & set(sys.modules)
if found:
    sys.exit("an import that must be lazy is not: " + ", ".join(sorted(found)))
"""
ALL = """
import importlib, pkgutil
import loomd.cli.main, loomd.cli.validate
from loomd.manifest.kind import find_kinds
[kind.spec for kind in find_kinds().values()]
for folder in "providers", "embedders", "tools", "interceptors", "amoeba.policies":
    package = importlib.import_module("loomd." + folder)
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
"""
IMPORTS = {
    "import pydantic": "from pydantic import BaseModel",
    "import loomd": "import loomd",
    "import all kinds": "from loomd.manifest.kind import find_kinds; [kind.spec for kind in find_kinds().values()]",
    "import for validate": ALL,
}


def cpu_of(command: list[str]) -> tuple[float, str]:
    """Run a command and return its CPU time in milliseconds and what it printed."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, cwd=PROJECT, text=True)
    assert process.stdout is not None
    text = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return (used.ru_utime + used.ru_stime) * 1000, text


def measure(rounds: int) -> dict[str, float]:
    """Return the least CPU milliseconds of everything; rounds go round, so that a noisy moment falls on all alike."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", "loomd"], cwd=PROJECT, check=True)
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            taken.setdefault(name, []).append(cpu_of(command)[0])
        for name, work in IMPORTS.items():
            taken.setdefault(name, []).append(float(cpu_of([sys.executable, "-c", TIMED.format(work=work)])[1]))
    return {f"{name} ms": min(times) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = measure(5 if given.quick else 20)
    for key, value in found.items():
        print(f"{key:28}{value:10.1f}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
