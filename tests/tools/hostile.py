"""An MCP server in one file that does what it is told on its command line, most of it wrong; run by the tests.

    python hostile.py MODE [FILE]

FILE holds what the server says of its tools, as JSON, and is read whenever it is asked for them. In modes whose names
begin with `resources` it has resources, too; what is wrong with each is its name.
"""

import json
import os
import subprocess
import sys
import time

MODE = sys.argv[1] if len(sys.argv) > 1 else "plain"
FILE = sys.argv[2] if len(sys.argv) > 2 else ""
ECHO: dict[str, object] = {
    "name": "echo",
    "description": "Says it again.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


def say(message: object) -> None:
    """Write a message."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def tools() -> list[dict[str, object]]:
    """Return what there is now."""
    if not FILE.endswith(".json"):
        return [ECHO]
    with open(FILE, encoding="utf-8") as file:  # noqa: PTH123  # one file without imports
        found: list[dict[str, object]] = json.load(file)
    return found


def misbehave(mode: str) -> None:
    """Do what a mode says when a tool is called."""
    if mode == "hang":
        time.sleep(3600)
    if mode == "die":
        os._exit(3)
    if mode == "announces":
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    while mode == "flood":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 100}})
    while mode == "long":
        sys.stdout.write("x" * 65536)


def answer(method: str, params: dict[str, object]) -> dict[str, object]:
    """Return the result of a request."""
    if method == "initialize":
        offered = {"tools": {"listChanged": True}}
        if MODE.startswith("resources"):
            offered["resources"] = {}
        if MODE == "resources-only":
            del offered["tools"]
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": offered,
            "serverInfo": {"name": "hostile", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": tools()}
    if method == "ping":
        return {}
    if method == "resources/list":
        return listed(str(params.get("cursor") or ""))
    if method == "resources/templates/list":
        return {"resourceTemplates": [{"name": "a page", "uriTemplate": "mem:page/{number}"}]}
    if method == "resources/read":
        return read(str(params["uri"]))
    misbehave(MODE)
    return called(params)


def listed(cursor: str) -> dict[str, object]:
    """Return a page of resources."""
    if MODE == "resources-endless":
        return {"resources": [{"name": f"r{cursor}", "uri": f"mem:{cursor}"}], "nextCursor": f"{cursor}1"[-9:]}
    if MODE == "resources-idle":
        return {"resources": [], "nextCursor": "more"}
    if MODE == "resources-large":
        return {"resources": [{"name": "r", "uri": "mem:r", "description": "d" * 3_000_000}], "nextCursor": "more"}
    if MODE == "resources-odd":
        return {"resources": "all of them"}
    note = {"name": "note", "uri": "mem:note", "mimeType": "text/plain", "size": 5, "_meta": {"hidden": "instructions"}}
    return {
        "resources": [note] if not cursor else [{"name": "x", "uri": "mem:x"}],
        **({} if cursor else {"nextCursor": "2"}),
    }


def read(uri: str) -> dict[str, object]:
    """Return what a resource holds."""
    name = uri.partition(":")[2]
    if name in ("hang", "die", "flood", "long"):
        misbehave(name)
    found: dict[str, list[dict[str, object]]] = {
        "note": [{"uri": uri, "mimeType": "text/plain", "text": "hello"}],
        "huge": [{"uri": uri, "text": "y" * 3_000_000}],
        "binary": [{"uri": uri, "mimeType": "image/png", "blob": "aGVsbG8gd29ybGQh"}],
        "called-text": [{"uri": uri, "mimeType": "text/plain", "blob": "aGk="}],
        "called-picture": [{"uri": uri, "mimeType": "image/png\u0000; x=\u001b[31m", "text": "hello"}],
        "several": [{"uri": "mem:1", "text": "one"}, {"uri": "mem:2", "blob": "AA=="}],
        "empty": [],
        "secret": [{"uri": uri, "text": os.environ.get("TOKEN", "")}],
        "odd": [{"uri": uri}],
    }
    return {"contents": found.get(name, 7)}


def called(params: dict[str, object]) -> dict[str, object]:
    """Return the result of a call."""
    arguments = params.get("arguments")
    text = str(arguments.get("text")) if isinstance(arguments, dict) else ""
    if MODE == "huge":
        text = "y" * 3_000_000
    if MODE == "environment":
        text = json.dumps(dict(os.environ))
    if MODE == "counts":
        with open(FILE, "a", encoding="ascii") as file:  # noqa: PTH123  # one file without imports
            file.write("x\n")
    if MODE == "where":
        text = os.getcwd()  # noqa: PTH109  # one file without imports
    if MODE == "fails":
        return {"content": [{"type": "text", "text": "no such thing"}], "isError": True}
    if MODE == "odd":
        return {"contents": 7}
    if MODE == "mixed":
        image = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
        return {"content": [{"type": "text", "text": text}, image]}
    return {"content": [{"type": "text", "text": text}]}


def main() -> None:
    """Answer until the input ends."""
    if MODE == "silent":
        time.sleep(3600)
    if MODE == "children":
        child = subprocess.Popen(["sleep", "3600"])  # noqa: S607  # found on every machine
        with open(FILE + ".pid", "w", encoding="ascii") as file:  # noqa: PTH123  # one file without imports
            file.write(str(child.pid))
    if MODE == "stubborn":
        import signal  # noqa: PLC0415  # for this mode only

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(FILE + ".pid", "w", encoding="ascii") as file:  # noqa: PTH123  # one file without imports
            file.write(str(os.getpid()))
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue
        if MODE == "junk":
            sys.stdout.write("Debug: got a request\n\n{}\n[1, 2]\n\x00\x1b[31m{broken\n")
        unknown = MODE == "resources-only" and request["method"] in ("tools/list", "resources/templates/list")
        if request["method"] == "server/discover" or unknown:
            say({"jsonrpc": "2.0", "id": request["id"], "error": {"code": -32601, "message": "no such method"}})
            continue
        say({"jsonrpc": "2.0", "id": request["id"], "result": answer(request["method"], request.get("params") or {})})
    while MODE == "stubborn":
        time.sleep(1)


if __name__ == "__main__":
    main()
