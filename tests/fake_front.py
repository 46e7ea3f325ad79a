"""The wire of the fake AWS: an HTTP server on loopback, and requests and answers in AWS's protocols.

botocore's own models say what the bytes mean, in both directions, by way of moto's parsers and serializers.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import struct
import xml.sax.saxutils
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from fake_faults import AwsError


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = "text/xml;charset=UTF-8"

    @property
    def code(self) -> str:
        """``OK`` or AWS's error code."""
        if self.status < 300:
            return "OK"
        found = re.search(rb'<Code>([^<]+)</Code>|"__type": ?"(?:[^"#]*#)?([^"]+)"', self.body)
        return (found[1] or found[2]).decode() if found else str(self.status)


@dataclass(frozen=True)
class Request:
    """One request, parsed."""

    service: str
    action: str
    region: str
    params: dict[str, Any]
    form: dict[str, str]
    """Of a query-protocol request, flat, as it came."""
    forward_to: Callable[[dict[str, str] | None], Answer]

    def forward(self, form: dict[str, str] | None = None) -> Answer:
        """moto's answer, to the request as it came or with another form."""
        return self.forward_to(form)


class Answering(Protocol):
    """Who answers."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes, handler: Handler) -> None:
        """One request from its arrival to its end."""


class Server(ThreadingHTTPServer):
    """On a free port of 127.0.0.1; a thread for each connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that was killed in the middle of a call is what many tests are about.
        return

    def drop_all(self) -> None:
        """Ends all connections, idle ones too."""
        for connection in list(self.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    # An answer is two writes; without this the second waits for the client's delayed acknowledgement, 40 ms.
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.open.add(self.connection)

    def finish(self) -> None:
        self.server.open.discard(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.answering.answer(self.command, self.path, dict(self.headers.items()), body, self)

    do_GET = do_PUT = do_DELETE = do_HEAD = do_POST  # noqa: N815 - http.server's names

    def send(self, answer: Answer) -> None:
        """To the caller."""
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def cut(self) -> None:
        """Resets the connection: the client sees it break, not end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        # The socket itself, not the buffered files on it: those would only say goodbye.
        self.connection.close()
        self.rfile.close()

    def deserted(self) -> bool:
        """Whether the caller has gone."""
        self.connection.setblocking(False)
        try:
            return self.connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True
        finally:
            self.connection.setblocking(True)

    def log_message(self, *args: Any) -> None:
        return


def parsed(
    service: str,
    action: str,
    method: str,
    path: str,
    headers: Mapping[str, str],
    form: dict[str, str],
    body: bytes,
) -> dict[str, Any]:
    """The parameters of a call, as its caller gave them to boto3."""
    from moto.core.parse import PROTOCOL_PARSERS
    from moto.core.request import determine_request_protocol

    model, operation = _model(service, action)
    protocol = determine_request_protocol(model, headers.get("Content-Type", ""))
    parser = PROTOCOL_PARSERS[protocol](operation, map_type=dict)
    return dict(
        parser.parse(
            {"method": method, "values": form, "headers": headers, "body": body, "url_path": path, "url_params": {}}
        )
    )


def serialized(request: Request, result: Any) -> Answer:
    """A result, a mapping or moto's objects, in the form of the action's answers."""
    from moto.core.serialize import XFormedAttributePicker, get_serializer_class, return_if_not_empty

    model, operation = _model(request.service, request.action)
    picker = XFormedAttributePicker(response_transformers={"Instances.Instance.Tags": return_if_not_empty})
    serializer = get_serializer_class(model.service_name, str(model.protocol))(operation, value_picker=picker)
    made = serializer.serialize(result)
    return Answer(made["status_code"], made["body"].encode(), made["headers"].get("Content-Type", "text/xml"))


def refused(service: str, error: AwsError) -> Answer:
    """An error in the form of the service's."""
    code, message = xml.sax.saxutils.escape(error.code), xml.sax.saxutils.escape(error.message)
    if service == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Response>{inner}<RequestID>0f2c</RequestID></Response>'
        return Answer(error.status, body.encode())
    if service in ("sts", "iam"):
        inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return Answer(error.status, f"<ErrorResponse>{inner}<RequestId>0f2c</RequestId></ErrorResponse>".encode())
    body = json.dumps({"__type": error.code, "message": error.message})
    return Answer(error.status, body.encode(), "application/x-amz-json-1.1")


def through(app: Any, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """What a WSGI application answers, without a connection."""
    from werkzeug.test import EnvironBuilder, run_wsgi_app

    kept = {name: value for name, value in headers.items() if name.lower() not in ("content-length", "host")}
    builder = EnvironBuilder(path=path, method=method, headers=kept, data=body, base_url="http://127.0.0.1/")
    try:
        parts, status, answered = run_wsgi_app(app, builder.get_environ())
        return Answer(int(status.split()[0]), b"".join(parts), answered.get("Content-Type", "text/xml"))
    finally:
        builder.close()


def _model(service: str, action: str) -> tuple[Any, Any]:
    from moto.core.utils import get_service_model

    model = get_service_model(service)
    return model, model.operation_model(action)
