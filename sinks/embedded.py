"""ClickHouse's HTTP interface over one embedded database: to `clickhouse-connect` what a ClickHouse server is.

- `serve` owns the directory and the port until SIGTERM or SIGINT, then stops cleanly. It listens on 127.0.0.1 unless
  told otherwise and knows no users: whoever reaches the port may do everything. A browser's page may not: a request
  with an Origin, or for a Host that is not this machine, is refused.
- An insert is answered after its rows are on disk (the tables are created with fsync_after_insert): kill -9 loses
  nothing that was answered. A refused insert answers 4xx or 5xx with `X-ClickHouse-Exception-Code`.
- `wait_end_of_query=1` (clickhouse-connect's default for results it keeps) is answered whole; without it, a SELECT in a
  format whose chunks can follow each other is streamed, with a few chunks at a time in memory. An error in mid-stream
  cuts the connection, which the client reports: half a result never looks whole.
- Sessions, users and roles are accepted and ignored; a setting ClickHouse does not know is refused.
"""

import asyncio
import contextlib
import re
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import cramjam
import msgspec
from aiohttp import web
from multidict import CIMultiDict

from sinks.engine import CannotServe, Engine, EngineError, Outcome, Statement

__all__ = ["CannotServe", "main", "serve"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8123
MAX_BODY_BYTES = 1024**3
MAX_URL_BYTES = 1024**2
STREAM_AHEAD_CHUNKS = 4

# What the HTTP interface itself consumes; everything else in the query string is a setting or a parameter.
_TRANSPORT = frozenset(
    [
        "query",
        "database",
        "default_format",
        "query_id",
        "session_id",
        "session_timeout",
        "session_check",
        "user",
        "password",
        "quota_key",
        "role",
        "compress",
        "decompress",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "enable_http_compression",
    ]
)
_READS = re.compile(rb"\s*\(*\s*(SELECT|WITH|SHOW|DESCRIBE|DESC|EXISTS|EXPLAIN|CHECK)\b", re.IGNORECASE)
_STREAMS = re.compile(rb"\s*\(*\s*(SELECT|WITH)\b", re.IGNORECASE)
_STREAM_FORMATS = frozenset({"native", "rowbinary", "tabseparated", "tsv", "jsoneachrow", "csv"})
_COMMENTS = re.compile(rb"\A(?:\s+|--[^\n]*(?:\n|\Z)|/\*.*?\*/)*", re.DOTALL)
_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*(?:SETTINGS\s[^;]*)?;?\s*\Z", re.IGNORECASE)
_INSERT = re.compile(
    rb"\A(\s*INSERT\s+INTO\s+(?:TABLE\s+)?[\w.`\"]+(?:\s*\([^)]*\))?)(?:\s+SETTINGS\s([^;\n]*?))?"
    rb"\s+FORMAT\s+(?!VALUES\b)(\w+)[ \t]*;?(?:\r?\n|\Z)",
    re.IGNORECASE,
)
_INPUT_FUNCTION = re.compile(rb"\A\s*INSERT\b.*\bFROM\s+input\s*\(", re.IGNORECASE | re.DOTALL)
_STATUS = {60: 404, 81: 404, 164: 403, 159: 408, 202: 503, 241: 500} | dict.fromkeys(
    (16, 26, 27, 33, 36, 42, 46, 47, 62, 115, 117, 456, 457), 400
)
_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "gzip": cramjam.gzip.decompress,
    "zstd": cramjam.zstd.decompress,
    "lz4": cramjam.lz4.decompress,
    "deflate": cramjam.zlib.decompress,
    "br": cramjam.brotli.decompress,
}
_ENCODERS: dict[str, Callable[[], Any]] = {
    "lz4": cramjam.lz4.Compressor,
    "zstd": lambda: cramjam.zstd.Compressor(1),
    "gzip": lambda: cramjam.gzip.Compressor(1),
    "deflate": lambda: cramjam.zlib.Compressor(1),
}


def serve(
    path: Path,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    on_ready: Callable[[str], None] = print,
) -> None:
    """Owns `path` and serves it until SIGTERM or SIGINT; `on_ready` gets the URL. Port 0 takes a free one.

    Raises CannotServe, with one sentence, where the port or the directory is taken.
    """
    with _listening(host, port) as listener:
        engine = Engine(path)
        try:
            asyncio.run(_serve(engine, listener, on_ready))
        finally:
            engine.close()


def main(arguments: list[str] | None = None) -> int:
    """`python -m sinks.embedded DIRECTORY [PORT]`: prints the URL when ready; exit code 2 where it cannot serve."""
    path, *rest = sys.argv[1:] if arguments is None else arguments
    try:
        serve(
            Path(path),
            port=int(rest[0]) if rest else DEFAULT_PORT,
            on_ready=lambda url: print(url, flush=True),
        )
    except CannotServe as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise CannotServe(f"the store cannot listen on {host}:{port}: {error.strerror}") from None
    return listener


async def _serve(engine: Engine, listener: socket.socket, on_ready: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    app = web.Application(client_max_size=MAX_BODY_BYTES)
    face = _Face(engine, listener.getsockname()[0])
    app.router.add_get("/ping", face.ping)
    app.router.add_route("*", "/", face.answer)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        max_line_size=MAX_URL_BYTES,
        shutdown_timeout=1,
    )
    await runner.setup()
    await web.SockSite(runner, listener).start()
    host, port = listener.getsockname()[:2]
    on_ready(f"http://{f'[{host}]' if ':' in host else host}:{port}")
    await stop.wait()
    await runner.cleanup()


class _Face:
    """Requests to statements, outcomes to responses."""

    def __init__(self, engine: Engine, host: str):
        self._engine = engine
        self._local_only = ip_address(host).is_loopback

    async def ping(self, request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        try:
            self._refuse_browsers(request)
            if request.method == "GET" and "query" not in request.query:
                return web.Response(text="Ok.\n")
            statement = _statement(request, *await _read(request))
            if request.method not in ("GET", "POST") or request.method == "GET" and not _READS.match(statement.sql):
                raise EngineError("Code: 164. DB::Exception: Only reads are allowed with GET, use POST. (READONLY)")
            return await self._respond(request, statement)
        except EngineError as error:
            headers = {"X-ClickHouse-Exception-Code": str(error.code)}
            return web.Response(
                status=_STATUS.get(error.code, 500),
                text=error.text + "\n",
                headers=headers,
            )

    def _refuse_browsers(self, request: web.Request) -> None:
        """Any web page can send a POST to 127.0.0.1; only programs may speak to the store."""
        name = (request.url.host or "").lower()
        foreign = self._local_only and not (name == "localhost" or _is_loopback(name))
        if foreign or "Origin" in request.headers:
            raise web.HTTPForbidden(text="The store does not answer web pages.\n")

    async def _respond(self, request: web.Request, statement: Statement) -> web.StreamResponse:
        wanted = request.query
        encoding = _encoding(request) if wanted.get("enable_http_compression") == "1" else None
        headers = _headers(statement, wanted.get("query_id"), encoding)
        whole = wanted.get("wait_end_of_query") == "1" or statement.format.lower() not in _STREAM_FORMATS
        if whole or statement.data is not None or not _STREAMS.match(statement.sql):
            outcome = await asyncio.wrap_future(self._engine.run(_lane(statement), statement))
            headers["X-ClickHouse-Summary"] = _summary(outcome)
            return web.Response(body=_encoded(outcome.body, encoding), headers=headers)
        return await self._stream(request, statement, headers, encoding)

    async def _stream(
        self,
        request: web.Request,
        statement: Statement,
        headers: CIMultiDict[str],
        encoding: str | None,
    ) -> web.StreamResponse:
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(STREAM_AHEAD_CHUNKS)
        loop, gone = asyncio.get_running_loop(), asyncio.Event()

        def consume(chunks: Iterator[bytes]) -> None:
            for chunk in chunks:
                asyncio.run_coroutine_threadsafe(queue.put(chunk), loop).result()
                if gone.is_set():
                    return

        done = asyncio.wrap_future(self._engine.stream(_lane(statement), statement, consume))
        done.add_done_callback(lambda _: asyncio.ensure_future(queue.put(None)))
        try:
            return await _send(request, queue, done, headers, encoding)
        finally:
            gone.set()
            while not done.done():  # a full queue must not hold the lane's thread when the client has gone
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(queue.get(), 0.05)


async def _send(
    request: web.Request,
    queue: "asyncio.Queue[bytes | None]",
    done: "asyncio.Future[None]",
    headers: CIMultiDict[str],
    encoding: str | None,
) -> web.StreamResponse:
    first = await queue.get()
    if first is None:
        done.result()  # an error before the first byte is an ordinary one
        return web.Response(headers=headers)
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    encoder = _ENCODERS[encoding]() if encoding else None
    chunk: bytes | None = first
    while chunk is not None:
        await response.write(_squeeze(encoder, chunk))
        chunk = await queue.get()
    if done.exception() is not None:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionAbortedError(str(done.exception()))
    if encoder is not None:
        await response.write(bytes(encoder.finish()))
    await response.write_eof()
    return response


def _squeeze(encoder: Any, chunk: bytes) -> bytes:
    if encoder is None:
        return chunk
    encoder.compress(chunk)
    return bytes(encoder.flush())


async def _read(request: web.Request) -> tuple[bytes, Mapping[str, str]]:
    """The body, unpacked, and the fields of a form (clickhouse-connect sends long parameters so)."""
    if request.content_type == "multipart/form-data":
        form = await request.post()
        return b"", {name: value for name, value in form.items() if isinstance(value, str)}
    body = await request.read()
    packing = request.headers.get("Content-Encoding", "identity").lower()
    if packing == "identity" or not body:
        return body, {}
    if packing not in _DECODERS:
        raise EngineError(f"Code: 89. DB::Exception: Unknown compression {packing}. (UNKNOWN_COMPRESSION_METHOD)")
    try:
        return await asyncio.to_thread(lambda: bytes(_DECODERS[packing](body))), {}
    except cramjam.DecompressionError as error:
        raise EngineError(
            f"Code: 271. DB::Exception: Cannot decompress {packing}: {error}. (CANNOT_DECOMPRESS)"
        ) from None


def _statement(request: web.Request, body: bytes, form: Mapping[str, str]) -> Statement:
    given = {**request.query, **form}
    head = given.get("query", "").encode()
    text = head + b"\n" + body if head and body else head or body
    text = text[_COMMENTS.match(text).end() :]  # type: ignore[union-attr]
    params = {key[6:]: value for key, value in given.items() if key.startswith("param_")}
    settings = {key: value for key, value in given.items() if key not in _TRANSPORT and not key.startswith("param_")}
    database = given.get("database") or request.headers.get("X-ClickHouse-Database") or "default"
    insert = _INSERT.match(text)
    if insert:
        return Statement(
            insert[1],
            insert[3].decode(),
            database,
            settings | _settings(insert[2] or b""),
            params,
            text[insert.end() :],
        )
    if _INPUT_FUNCTION.match(text):
        raise EngineError("Code: 48. DB::Exception: INSERT from input() stores nothing here. (NOT_IMPLEMENTED)")
    named = _FORMAT.search(text)
    default = given.get("default_format") or request.headers.get("X-ClickHouse-Format") or "TabSeparated"
    return Statement(text, named[1].decode() if named else default, database, settings, params)


def _settings(clause: bytes) -> dict[str, str]:
    """Of `a = 1, b = 'x'`, as a statement's SETTINGS are written."""
    pairs = (pair.partition("=") for pair in clause.decode().split(",") if pair.strip())
    return {name.strip(): value.strip().strip("'") for name, _, value in pairs}


def _lane(statement: Statement) -> str:
    if statement.data is not None or not _READS.match(statement.sql):
        return "write"
    return "worker" if statement.settings.get("priority") == "1" else "read"


def _headers(statement: Statement, query_id: str | None, encoding: str | None) -> "CIMultiDict[str]":
    headers = CIMultiDict(
        {
            "X-ClickHouse-Query-Id": query_id or str(uuid.uuid4()),
            "X-ClickHouse-Timezone": "UTC",
        }
    )
    headers["Content-Type"] = "application/octet-stream"
    if _READS.match(statement.sql):
        headers["X-ClickHouse-Format"] = statement.format
    if encoding:
        headers["Content-Encoding"] = encoding
    return headers


def _summary(outcome: Outcome) -> str:
    """As ClickHouse sends it: numbers as strings."""
    numbers = {name: str(value) for name, value in outcome._asdict().items() if name not in ("body", "elapsed_s")}
    return msgspec.json.encode(numbers | {"elapsed_ns": str(int(outcome.elapsed_s * 1e9))}).decode()


def _encoding(request: web.Request) -> str | None:
    accepted = [part.split(";")[0].strip() for part in request.headers.get("Accept-Encoding", "").split(",")]
    return next((name for name in accepted if name in _ENCODERS), None)


def _encoded(body: bytes, encoding: str | None) -> bytes:
    if encoding is None:
        return body
    encoder = _ENCODERS[encoding]()
    encoder.compress(body)
    return bytes(encoder.finish())


def _is_loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
