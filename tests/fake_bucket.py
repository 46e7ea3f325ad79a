"""S3 on a loopback port, for tests of staging: moto answers, and in front of it stands what goes wrong with a real one.

moto knows S3's requests and answers: lists, ranges, ETags, preconditions. What it leaves out is done here: a signed
address expires by its own words (X-Amz-Date, X-Amz-Expires), and reads of objects can be slowed, cut, spoilt, refused.
"""

from __future__ import annotations

import calendar
import functools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote

ACCESS_KEY = "AKIAFASTCONSOLETEST1"
SECRET_KEY = "not-a-secret-of-anybodys-0123456789abcdef"
_OTHER_KEY = "AKIAPASTTHEFRONT0001"
"""Calls with this key, the tests' own, meet no fault and are not counted."""


@dataclass
class Faults:
    """What goes wrong with reads of objects."""

    bytes_per_s: float | None = None
    """For each connection."""
    cut_after: int | None = None
    """The next reads, `cuts` of them, end after so many bytes."""
    cuts: int = 0
    refuse: tuple[str, str, str] | None = None
    """An HTTP status, S3's code and its message, instead of every object."""
    refusals: int | None = None
    """How many reads are refused so; None: all."""
    spoil: dict[str, int] = field(default_factory=dict)
    """How many reads of an object, by its key, come with a wrong byte."""


class FakeBucket:
    """An S3 with one bucket."""

    def __init__(self, bucket: str = "sets") -> None:
        from moto.moto_api._internal.models import moto_api_backend
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            # Connections stay open, as S3's do.
            protocol_version = "HTTP/1.1"

            def log(self, *args: Any, **keywords: Any) -> None:
                return

        moto_api_backend.reset()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._client: Any = None
        self._lock = threading.Lock()
        self.faults = Faults()
        self.reads: list[tuple[str, str]] = []
        """Keys and ranges of the objects that were read, oldest first."""
        self.sent_bytes = 0
        """Of objects."""
        self.read_once = threading.Event()
        """Set with the first bytes of an object."""
        self.bucket = bucket
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self._server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.endpoint = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), name="fake-bucket", daemon=True).start()
        self.client().create_bucket(Bucket=bucket)

    @property
    def env(self) -> dict[str, str]:
        """What a console needs in its environment."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent/aws-config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/aws-credentials",
        }

    def client(self) -> Any:
        """A boto3 client of the test's own."""
        if self._client is None:
            import botocore.config

            self._client = _session().client(
                "s3",
                region_name="us-east-1",
                endpoint_url=self.endpoint,
                aws_access_key_id=_OTHER_KEY,
                aws_secret_access_key=SECRET_KEY,
                config=botocore.config.Config(signature_version="s3v4"),
            )
        return self._client

    def put(self, key: str, content: bytes) -> None:
        """Puts an object."""
        self.client().put_object(Bucket=self.bucket, Key=key, Body=content)

    def signed(self, key: str, valid_s: int = 3600) -> str:
        """An address by which an object can be read."""
        url: str = self.client().generate_presigned_url(
            "get_object", Params={"Bucket": self.bucket, "Key": key}, ExpiresIn=valid_s
        )
        return url

    def stop(self) -> None:
        """Ends it, and forgets all."""
        from moto.moto_api._internal.models import moto_api_backend

        self._server.shutdown()
        self._server.server_close()
        moto_api_backend.reset()

    # --- answering

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = parse_qs(environ.get("QUERY_STRING", ""))
        signed = query.get("X-Amz-Signature") is not None
        if not signed or environ["REQUEST_METHOD"] != "GET":
            return self._moto(environ, start)
        key = unquote(environ["PATH_INFO"]).lstrip("/").removeprefix(f"{self.bucket}/")
        signed_t = calendar.timegm(time.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ"))
        if time.time() > signed_t + int(query["X-Amz-Expires"][0]):
            return _error(start, "403 Forbidden", "AccessDenied", "Request has expired")
        faults = self.faults
        with self._lock:
            self.reads.append((key, environ.get("HTTP_RANGE", "")))
            refused = faults.refuse if faults.refusals is None or faults.refusals > 0 else None
            if refused and faults.refusals is not None:
                faults.refusals -= 1
            cut = None
            if faults.cuts > 0:
                faults.cuts -= 1
                cut = faults.cut_after
            spoilt = faults.spoil.get(key, 0) > 0
            if spoilt:
                faults.spoil[key] -= 1
        if refused:
            return _error(start, *refused)
        body = self._moto(environ, start)
        return self._sent(body, cut, spoilt)

    def _sent(self, body: Iterable[bytes], cut: int | None, spoilt: bool) -> Iterator[bytes]:
        content = b"".join(body)
        if spoilt and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        if cut is not None:
            content = content[:cut]
        for at in range(0, len(content), 65536):
            block = content[at : at + 65536]
            if self.faults.bytes_per_s is not None:
                time.sleep(len(block) / self.faults.bytes_per_s)
            with self._lock:
                self.sent_bytes += len(block)
            self.read_once.set()
            yield block
        if cut is not None:
            # werkzeug closes a connection whose answer broke; the client finds less than was announced.
            raise ConnectionResetError("cut")


@functools.cache
def _session() -> Any:
    import boto3.session

    # One for all: reading S3's model takes 0.2 s.
    return boto3.session.Session()


def _error(start: Callable[..., Any], status: str, code: str, message: str) -> list[bytes]:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'.encode()
    start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
    return [body]
