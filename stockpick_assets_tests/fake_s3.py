"""A small S3 service over HTTP, whose misbehaviour tests choose: enough of the protocol for delta-rs' tables."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from stockpick_assets.store import Store, s3_options

BUCKET = "bucket"


@dataclass(frozen=True)
class Refusal:
    """An answer in place of what was asked for."""

    status: int
    code: str
    message: str

    def body(self) -> bytes:
        """Its text, as S3 words it."""
        return f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>".encode()


@dataclass
class FakeS3:
    """The objects of a bucket by key, and what is done with a request before and after it is served."""

    address: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    refuse: Callable[[str, str], Refusal | None] = lambda method, key: None
    before_answer: Callable[[str, str], object] = lambda method, key: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def store(self, **options: str) -> Store:
        """The tables in it; `options` in place of those that delta-rs is given otherwise."""
        return Store(f"s3://{BUCKET}", "simulated", s3_options(self.address, "a", "b", "us-east-1") | options)


@contextmanager
def fake_s3() -> Iterator[FakeS3]:
    """The service, running."""
    fake = FakeS3()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.daemon_threads = True
    fake.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(fake: FakeS3) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            key, query = self._asked()
            if self._refused(key):
                return
            if "list-type" in query:
                self._answer(200, _listing(fake, query))
                return
            found = fake.objects.get(key)
            if found is None:
                self._answer(404, Refusal(404, "NoSuchKey", "no such key").body())
                return
            asked = self.headers.get("Range")
            if asked is None:
                self._answer(200, found, key)
                return
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start = int(first) if first else len(found) - int(last)
            end = min(int(last) if first and last else len(found) - 1, len(found) - 1)
            part = found[start : end + 1]
            self._answer(206, part, key, {"Content-Range": f"bytes {start}-{end}/{len(found)}"})

        do_HEAD = do_GET

        def do_PUT(self) -> None:
            key, _ = self._asked()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self._refused(key):
                return
            with fake.lock:
                exists = self.headers.get("If-None-Match") == "*" and key in fake.objects
                if not exists:
                    fake.objects[key] = body
            if exists:
                self._answer(412, Refusal(412, "PreconditionFailed", "it exists").body())
            else:
                self._answer(200, b"", key)

        def do_DELETE(self) -> None:
            key, _ = self._asked()
            if not self._refused(key):
                fake.objects.pop(key, None)
                self._answer(204, b"")

        def _asked(self) -> tuple[str, dict[str, list[str]]]:
            parts = urlsplit(self.path)
            return unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/"), parse_qs(parts.query)

        def _refused(self, key: str) -> bool:
            refusal = fake.refuse(self.command, key)
            if refusal:
                self._answer(refusal.status, refusal.body())
            return refusal is not None

        def _answer(self, status: int, body: bytes, key: str = "", headers: dict[str, str] | None = None) -> None:
            fake.before_answer(self.command, key)
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if key:
                self.send_header("ETag", f'"{md5(fake.objects[key], usedforsecurity=False).hexdigest()}"')
                self.send_header("Last-Modified", "Fri, 20 Nov 2026 14:30:00 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def _listing(fake: FakeS3, query: dict[str, list[str]]) -> bytes:
    (prefix,), (after,) = query["prefix"], query.get("start-after", [""])
    contents = "".join(
        f"<Contents><Key>{key}</Key><LastModified>2026-11-20T14:30:00.000Z</LastModified>"
        f"<ETag>&quot;{md5(body, usedforsecurity=False).hexdigest()}&quot;</ETag><Size>{len(body)}</Size></Contents>"
        for key, body in sorted(fake.objects.items())
        if key.startswith(prefix) and key > after
    )
    return (
        f"<ListBucketResult><Name>{BUCKET}</Name><KeyCount>{contents.count('<Key>')}</KeyCount>"
        f"<IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
    ).encode()
