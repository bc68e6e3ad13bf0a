"""Draws `docs/images/demo.svg`: a terminal with a real run of the quickstart. Run as `python -m tests.house.record`.

The command runs in a pseudo-terminal, so that the picture shows the colours that a person sees. Lines are wrapped at
words; nothing else is changed. Needs the embedded models (`make models`) and no other program.
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
QUESTION = "How long do running tasks get when the daemon stops?"

COLUMNS = 104
CHAR_WIDTH, LINE_HEIGHT, MARGIN, BAR = 8.43, 21, 22, 40
BACKGROUND, FOREGROUND = "#11151c", "#d7dde8"
COLOURS = {"31": "#ff7b72", "33": "#e3b341", "36": "#56d4dd", "90": "#7d8799"}
FONT = "ui-monospace, 'SF Mono', 'JetBrains Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

_COLOUR = re.compile(r"\x1b\[([0-9;]*)m")


@dataclass(frozen=True)
class Piece:
    """Text in one colour."""

    text: str
    colour: str = FOREGROUND


def capture(command: list[str]) -> str:
    """Return what a command prints on a terminal.

    Raises:
        SystemExit: the command failed; its output is the message.
    """
    ours, theirs = pty.openpty()
    with subprocess.Popen(  # noqa: S603  # a fixed command
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
    ) as process:
        os.close(theirs)
        data = b""
        while block := _read(ours):
            data += block
    os.close(ours)
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{text}")
    return text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux says that the other end was closed
        return b""


def pieces(line: str) -> list[Piece]:
    """Return a line as a terminal shows it: what was overwritten is gone, colours are parted."""
    line = line.rpartition("\r\x1b[K")[2] if "\x1b[K" in line else line
    found: list[Piece] = []
    colour, at = FOREGROUND, 0
    for match in _COLOUR.finditer(line):
        found.append(Piece(line[at : match.start()], colour))
        colour, at = COLOURS.get(match[1], FOREGROUND), match.end()
    found.append(Piece(line[at:], colour))
    return [piece for piece in found if piece.text]


def wrap(line: list[Piece]) -> list[list[Piece]]:
    """Return a line as several that fit; the last piece is the one that is long."""
    width = sum(len(piece.text) for piece in line)
    if width <= COLUMNS or not line:
        return [line]
    before = sum(len(piece.text) for piece in line[:-1])
    last = line[-1]
    indent = len(last.text) - len(last.text.lstrip()) + before
    parts = textwrap.wrap(" " * before + last.text, COLUMNS, subsequent_indent=" " * indent, break_on_hyphens=False)
    first = [*line[:-1], Piece(parts[0][before:], last.colour)]
    return [first, *([Piece(part, last.colour)] for part in parts[1:])]


def draw(title: str, lines: list[list[Piece]]) -> str:
    """Return the picture."""
    width = round(COLUMNS * CHAR_WIDTH + 2 * MARGIN)
    height = BAR + MARGIN + len(lines) * LINE_HEIGHT
    dots = "".join(
        f'<circle cx="{MARGIN + 20 * at}" cy="{BAR / 2:g}" r="6" fill="{colour}"/>'
        for at, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    rows = "\n".join(_row(at, line) for at, line in enumerate(lines) if line)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{escape(title, {chr(34): "&quot;"})}">\n'
        f'<rect width="{width}" height="{height}" rx="10" fill="{BACKGROUND}"/>\n'
        f'<rect width="{width}" height="{BAR}" rx="10" fill="#1b212b"/>\n{dots}\n'
        f'<g font-family="{FONT}" font-size="14" xml:space="preserve">\n{rows}\n</g>\n</svg>\n'
    )


def _row(at: int, line: list[Piece]) -> str:
    y = BAR + MARGIN + at * LINE_HEIGHT
    spans: list[str] = []
    column = 0
    for piece in line:
        text = piece.text.lstrip(" ")
        start = column + len(piece.text) - len(text)
        column += len(piece.text)
        if not text.strip():
            continue
        text = text.rstrip(" ")
        spans.append(
            f'<tspan x="{MARGIN + start * CHAR_WIDTH:.1f}" textLength="{len(text) * CHAR_WIDTH:.1f}" '
            f'lengthAdjust="spacingAndGlyphs" fill="{piece.colour}">{escape(text)}</tspan>'
        )
    return f'<text y="{y}">{"".join(spans)}</text>'


def main() -> None:
    """Run the quickstart and draw it."""
    question = sys.argv[1] if len(sys.argv) > 1 else QUESTION
    with tempfile.TemporaryDirectory() as state:
        shown = ["loomd", "run", "examples/01-quickstart", question]
        text = capture([sys.executable, "-m", *shown, "--state", state])
    prompt = [Piece("$ ", "#28c840"), Piece(f'loomd run examples/01-quickstart "{question}"')]
    lines = [prompt, *(part for line in text.rstrip().split("\n") for part in wrap(pieces(line)))]
    PICTURE.write_text(draw(f"A run of the quickstart: {question}", lines), encoding="utf-8")


if __name__ == "__main__":
    main()
