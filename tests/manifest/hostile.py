"""Inputs that are meant to hurt, and a process that reads one of them and tells what that cost.

    python -m tests.manifest.hostile NAME

prints JSON: the codes of the problems, the seconds that it took to read them and to show them in each form, and the
MiB. A process of its own, because some of these inputs have ended interpreters.
"""

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from loomd.cli.problems import dump, render
from loomd.cli.sarif import to_sarif
from loomd.manifest.load import load
from loomd.manifest.problem import Problem, Problems
from loomd.manifest.source import read_path

HEAD = b"apiVersion: loomd.dev/v1\nkind: Skill\nmetadata: {name: x}\nspec:\n  instructions: Be brief.\n"
AGENT = b"apiVersion: loomd.dev/v1\nkind: Agent\nmetadata: {name: x}\nspec: {provider: p, prompt: "


def aliases(value: bytes, levels: int, width: int) -> bytes:
    """Return anchors that each stand for several of the one before."""
    lines = [b"a0: &a0 " + value]
    lines += [b"a%d: &a%d [%s]" % (n, n, b", ".join([b"*a%d" % (n - 1)] * width)) for n in range(1, levels)]
    return b"\n".join(lines)


def merges(levels: int) -> bytes:
    """Return mappings that each merge several of the one before."""
    lines = [b"a0: &a0 {k: v}"]
    lines += [b"a%d: &a%d {<<: [%s]}" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, levels)]
    return b"\n".join(lines)


CASES: dict[str, Callable[[], bytes]] = {
    "brackets": lambda: b"[" * 60_000,
    "brackets-4MB": lambda: b"[" * 4_000_000,
    "braces": lambda: b"{" * 60_000,
    "braces-keys": lambda: b"{a: " * 60_000,
    "block-lists": lambda: b"- " * 60_000,
    "block-maps": lambda: b"\n".join(b" " * n + b"a:" for n in range(2_000)),
    "question-marks": lambda: b"? " * 60_000,
    "json-brackets": lambda: b'{"a": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "alias-bomb": lambda: aliases(b"[lol]", 10, 10),
    "alias-bomb-wide": lambda: aliases(b"lol", 3, 5_000),
    "alias-deep": lambda: aliases(b"x", 3_000, 1),
    "alias-to-itself": lambda: b"a: &a [*a]\n",
    "merge-bomb": lambda: merges(12),
    "many-anchors": lambda: b"".join(b"a%d: &b%d x\n" % (n, n) for n in range(100_000)),
    "huge-integer": lambda: HEAD + b"  priority: " + b"9" * 1_000_000,
    "huge-hexadecimal": lambda: HEAD + b"  priority: 0x" + b"f" * 1_000_000,
    "huge-exponent": lambda: HEAD + b"  priority: 1e" + b"9" * 100_000,
    "huge-float": lambda: HEAD + b"  priority: 0." + b"1" * 1_000_000,
    "long-key": lambda: b"k" * 3_000_000 + b": 1\n",
    "long-text": lambda: HEAD + b"  file: " + b"x" * 3_000_000,
    "long-quoted": lambda: b'"' + b"x" * 4_000_000,
    "escapes": lambda: HEAD + b'  file: "' + b"\\u0041" * 600_000 + b'"',
    "folded": lambda: HEAD + b"  file: >\n" + b"    a\n\n" * 500_000,
    "many-keys": lambda: b"".join(b"k%d: 1\n" % n for n in range(300_000)),
    "same-key": lambda: b"k: 1\n" * 200_000,
    "many-items": lambda: b"a:\n" + b"- 1\n" * 500_000,
    "empty-items": lambda: b"-\n" * 1_000_000,
    "many-documents": lambda: b"---\na: 1\n" * 200_000,
    "empty-documents": lambda: b"---\n" * 1_000_000,
    "many-objects": lambda: b"---\n".join([HEAD] * 20_000),
    "broken-documents": lambda: b"---\n[\n" * 200_000,
    "many-tags": lambda: b"- !!python/object:os.system x\n" * 50_000,
    "long-tag": lambda: b"!" + b"t" * 1_000_000 + b" x\n",
    "many-directives": lambda: b"%TAG ! tag:x:\n" * 100_000 + b"---\na: 1\n",
    "many-unknown-fields": lambda: HEAD + b"".join(b"  f%d: 1\n" % n for n in range(50_000)),
    "many-labels": lambda: HEAD.replace(b"x}", b"x, labels: {%s}}" % b", ".join(b"l%d: v" % n for n in range(50_000))),
    "references-to-nothing": lambda: AGENT + b"x, tools: [%s]}\n" % b", ".join(b"t%d" % n for n in range(50_000)),
    "template-nested": lambda: AGENT + b"'" + b"{% if a %}" * 20_000 + b"'}\n",
    "template-expression": lambda: AGENT + b"'{{ " + b"(" * 20_000 + b" }}'}\n",
    "template-power": lambda: AGENT + b"'{{ 9 ** 9 ** 9 ** 9 }}'}\n",
    "template-range": lambda: AGENT + b"'{% for i in range(999999999999) %}x{% endfor %}'}\n",
    "template-filters": lambda: AGENT + b"'{{ agent" + b"|upper" * 20_000 + b" }}'}\n",
    "nul": lambda: b"a: \x00\n" * 1_000,
    "control": lambda: bytes(range(32)) * 1_000,
    "not-utf-8": lambda: b"a: \xff\xfe\xfd\n" * 100_000,
    "utf-16": lambda: "a: 1\n".encode("utf-16") * 100_000,
    "lone-surrogates": lambda: b'{"a": "' + b"\\ud800" * 100_000 + b'"}',
    "surrogate-pairs": lambda: b'{"a": "' + b"\\ud83d\\ude00" * 100_000 + b'"}',
    "tabs": lambda: b"a:\n\tb: 1\n" * 100_000,
    "carriage-returns": lambda: b"\r" * 4_000_000,
    "line-breaks": lambda: "a: 1\u2028\u2029\u0085\n".encode() * 100_000,
    "spaces": lambda: b" " * 4_000_000 + b"a: 1\n",
    "comments": lambda: b"# c\n" * 1_000_000,
    "byte-order-marks": lambda: b"\xef\xbb\xbf" * 100_000 + b"a: 1\n",
    "unknown-text": lambda: HEAD + b"  foo: " + b"x" * 3_000_000,
    "unknown-number": lambda: HEAD + b"  foo: " + b"9" * 1_000_000,
    "unknown-key": lambda: HEAD + b"  " + b"k" * 3_000_000 + b": 1\n",
    "unknown-words": lambda: HEAD + b"  foo: " + b"a.b " * 800_000,
    "unknown-spaces": lambda: HEAD + b"  foo: a" + b" " * 2_000_000 + b"b\n",
    "unknown-in-flow": lambda: HEAD + b"  foo: {" + b", ".join(b"k%d: v" % n for n in range(150_000)) + b"}\n",
    "unknown-behind-keys": lambda: HEAD + b"  file: a\n" + b"# a: b\n" * 500_000 + b"  foo: 1\n",
    "unknown-behind-lines": lambda: HEAD + b"  a: |\n" + b"    !: b\n" * 400_000 + b"  foo: 1\n" * 90,
    "unknown-below": lambda: HEAD + b"\n".join(b" " * n + b"key%d:" % n for n in range(2, 2_000)),
    "unknown-behind-long": lambda: HEAD + b"  file: " + b"x" * 3_000_000 + b"\n  foo: 1\n",
    "parameters-of-nothing": lambda: HEAD + b"  file: [" + b"?" * 3_000_000 + b"]\n",
    "tokens-of-nothing": lambda: HEAD + b"  file: [" + b"sk-" * 1_000_000 + b"]\n",
    "web-tokens-of-nothing": lambda: HEAD + b"  file: [" + b"-eyJaaaaaaaa" * 250_000 + b"]\n",
    "keys-of-nothing": lambda: HEAD + b"  file: [" + b"-----BEGIN " * 300_000 + b"]\n",
    "template-long": lambda: AGENT + b"'" + b"x" * 3_000_000 + b"{{ nothing }}'}\n",
    "template-names": lambda: AGENT + b"'" + b"{{ nothing }}" * 100_000 + b"'}\n",
    "100-MB": lambda: b"a: 1\n" * 20_000_000,
}  # fmt: skip
"""What is read, made when it is needed."""


FORMS: dict[str, Callable[[tuple[Problem, ...], dict[str, bytes]], str]] = {
    "text": lambda problems, texts: render(problems, "text", texts),
    "text of a file": lambda problems, _: render(problems, "text", {}),
    "github": lambda problems, texts: render(problems, "github", texts),
    "json": lambda problems, _: dump([one.to_json() for one in problems]),
    "sarif": lambda problems, _: dump(to_sarif(problems)),
}
"""Every form in which problems are shown."""


def cost(name: str) -> dict[str, object]:
    """Read a case from a file as every verb does, show what is wrong, and return what came of it and what that cost."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "m.yaml")
        file.write_bytes(CASES[name]())
        (warm := Path(folder, "warm.yaml")).write_bytes(HEAD)
        load(read_path(warm))  # imports and schemas are not what is measured
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.process_time()
        problems: tuple[Problem, ...] = ()
        texts: dict[str, bytes] = {}
        try:
            files = read_path(file)
            texts = {one.name: one.data for one in files}
            load(files)
        except Problems as error:
            problems = error.problems
        seconds = {"reading": time.process_time() - begun}
        for form, show in FORMS.items():
            begun = time.process_time()
            show(problems, texts)
            seconds[form] = time.process_time() - begun
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    return {"codes": sorted({one.code for one in problems}), "seconds": seconds, "MiB": grown / 1024}


def main() -> None:
    """Tell what the case that the command names costs."""
    print(json.dumps(cost(sys.argv[1])))  # noqa: T201  # for whoever started it


if __name__ == "__main__":
    main()
