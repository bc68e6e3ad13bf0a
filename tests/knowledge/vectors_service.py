"""A service of vectors in a thread of this process: slow, wrong or away, as a test wants it."""

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class VectorService:
    """What the service does, and what it was asked.

    Attributes:
        url: its address, as `baseUrl` has it.
        texts: the texts that it was asked about, once for each time.
        pause: seconds that each text takes; texts are taken one after the other.
        number: the JSON of every number of a vector.
        dimension: length of its vectors.
        status: of its answers.
        most: texts after which it refuses more.
        room: texts after which it is busy, and takes none.
        refused: how often it was busy.
        word: it refuses a call with a text that has it; none when empty.
        vector: the JSON of the numbers of every vector, where they differ.
        sizes: how many texts each call had.
        under_way: the most calls that it had at once.
    """

    def __init__(self) -> None:
        self.url = ""
        self.texts: list[str] = []
        self.pause = 0.0
        self.number = "0.5"
        self.dimension = 4
        self.status = 200
        self.most = self.room = 1 << 20
        self.refused = 0
        self.word = ""
        self.vector: list[str] = []
        self.sizes: list[int] = []
        self.under_way = 0
        self._now = 0
        self._one, self._count = threading.Lock(), threading.Lock()

    def answer(self, texts: list[str]) -> bytes:
        """Return the body of an answer."""
        with self._count:
            self._now += 1
            self.under_way = max(self.under_way, self._now)
            self.sizes.append(len(texts))
        with self._one:
            time.sleep(self.pause * len(texts))
            self.texts += texts
        with self._count:
            self._now -= 1
        vector = f"[{','.join(self.vector or [self.number] * self.dimension)}]"
        items = ",".join(f'{{"index":{at},"embedding":{vector}}}' for at in range(len(texts)))
        return f'{{"data":[{items}]}}'.encode()


@contextmanager
def vector_service() -> Generator[VectorService]:
    """Run a service for as long as the context lasts."""
    service = VectorService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16  # an answer in one packet: the second of two waits until the first is acknowledged, 40 ms

        def do_POST(self) -> None:
            status = 400 if len(service.texts) >= service.most else service.status
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["input"]
            if service.word and any(service.word in text for text in asked):
                status = 400
            busy = len(service.texts) >= service.room
            service.refused += busy
            status, body = (503, b"") if busy else (status, service.answer(asked))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
            del format, args

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            del request, client_address  # who asked was killed

    with Server(("127.0.0.1", 0), Handler) as server:
        service.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
