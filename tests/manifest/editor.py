"""An editor, as far as the YAML language server can tell: speaks the language server protocol to it over its pipes.

Used by the tests that hold the published schemas against what an editor shows; it edits nothing.
"""

import json
import subprocess
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

SERVER = Path(__file__).parents[2] / ".venv/npm/node_modules/yaml-language-server/bin/yaml-language-server"
"""Where `make editor` puts the server."""
SETTINGS = {
    "yaml": {
        "validate": True,
        "hover": True,
        "completion": True,
        "schemaStore": {"enable": False},
        "schemas": {},
        "format": {"enable": False},
    }
}
"""What an editor sends: everything on, and nothing from the network."""


@dataclass
class Editor:
    """One running server.

    Attributes:
        folder: the folder that the editor shows.
    """

    folder: Path
    _into: IO[bytes]
    _out: IO[bytes]
    _last: int = 0
    _diagnostics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def open(self, texts: Mapping[str, str]) -> dict[str, list[dict[str, Any]]]:
        """Open files and return their diagnostics.

        Args:
            texts: what the editor shows, by path below the folder; nothing is written.
        """
        places = {name: self._uri(name) for name in texts}
        for name, text in texts.items():
            self._diagnostics.pop(places[name], None)
            item = {"uri": places[name], "languageId": "yaml", "version": 1, "text": text}
            self._send({"method": "textDocument/didOpen", "params": {"textDocument": item}})
        self._read(lambda _: self._diagnostics.keys() >= set(places.values()))
        return {name: self._diagnostics[uri] for name, uri in places.items()}

    def hover(self, name: str, line: int, column: int) -> str:
        """Return what is shown when the mouse rests at a place, from 1; empty when nothing is."""
        found = self._ask("textDocument/hover", self._at(name, line, column))
        return found["contents"]["value"] if found else ""

    def complete(self, name: str, line: int, column: int) -> dict[str, str]:
        """Return what is offered at a place, from 1: the texts for people by label."""
        found = self._ask("textDocument/completion", self._at(name, line, column))
        return {item["label"]: _text(item.get("documentation", "")) for item in found["items"]}

    def close(self) -> None:
        """Tell the server to end."""
        self._ask("shutdown", None)
        self._send({"method": "exit"})

    def start(self) -> None:
        """Shake hands."""
        capabilities = {
            "textDocument": {
                "hover": {"contentFormat": ["markdown"]},
                "completion": {"completionItem": {"documentationFormat": ["markdown"], "snippetSupport": True}},
            },
            "workspace": {"configuration": True},
        }
        root = self.folder.as_uri()
        self._ask("initialize", {"processId": None, "rootUri": root, "capabilities": capabilities})
        self._send({"method": "initialized", "params": {}})

    def _uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def _at(self, name: str, line: int, column: int) -> dict[str, Any]:
        place = {"line": line - 1, "character": column - 1}
        return {"textDocument": {"uri": self._uri(name)}, "position": place}

    def _ask(self, method: str, params: Any) -> Any:
        self._last += 1
        number = self._last
        self._send({"id": number, "method": method, "params": params})
        answer = self._read(lambda message: message.get("id") == number and "method" not in message)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def _send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._into.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._into.flush()

    def _read(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Read messages up to the first that is wanted, and answer what the server asks meanwhile."""
        for message in self._messages():
            if message.get("method") == "textDocument/publishDiagnostics":
                self._diagnostics[message["params"]["uri"]] = message["params"]["diagnostics"]
            elif "id" in message and "method" in message:
                asked = message["params"].get("items", ())
                result = [SETTINGS.get(item.get("section"), {}) for item in asked] if asked else None
                self._send({"id": message["id"], "result": result})
            if wanted(message):
                return message
        raise EOFError("the language server ended")

    def _messages(self) -> Iterator[dict[str, Any]]:
        while head := self._out.readline():
            length = 0
            while head.strip():
                name, _, value = head.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
                head = self._out.readline()
            yield json.loads(self._out.read(length))


def _text(documentation: Any) -> str:
    return str(documentation["value"] if isinstance(documentation, dict) else documentation)


@contextmanager
def editing(folder: Path) -> Generator[Editor]:
    """Yield an editor that shows a folder."""
    command = ["node", str(SERVER), "--stdio"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:  # noqa: S603  # ours
        assert server.stdin is not None
        assert server.stdout is not None
        editor = Editor(folder, server.stdin, server.stdout)
        try:
            editor.start()
            yield editor
            editor.close()
        finally:
            server.kill()
