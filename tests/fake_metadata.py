"""The instance metadata service, version 2, of fake machines: each has one on its own address.

One thread listens for all of them; a request takes a short thread of its own. Nothing is told without a token.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import selectors
import socket
import threading
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fake_ec2 import Machine


@dataclass
class Metadata:
    """What one machine can ask."""

    machine: Machine
    listener: socket.socket
    terminated_at: datetime | None = None
    """When EC2 will take the spot instance, once there is a notice."""
    rebalance_at: datetime | None = None
    tokens: set[str] = field(default_factory=set)

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        address, port = self.listener.getsockname()
        return f"http://{address}:{port}"

    def answer(self, path: str) -> str | None:
        """The text at a path; None: 404."""
        machine = self.machine
        at = None if self.terminated_at is None else self.terminated_at.strftime("%Y-%m-%dT%H:%M:%SZ")
        table = {
            "instance-id": machine.instance_id,
            "instance-type": machine.instance_type,
            "instance-life-cycle": machine.market,
            "local-ipv4": machine.private_ip,
            "public-ipv4": machine.public_ip,
            "placement/availability-zone": machine.zone,
            "placement/region": machine.region,
            "spot/instance-action": at and json.dumps({"action": "terminate", "time": at}),
            "spot/termination-time": at,
            "events/recommendations/rebalance": self.rebalance_at
            and json.dumps({"noticeTime": self.rebalance_at.strftime("%Y-%m-%dT%H:%M:%SZ")}),
        }
        if path == "/latest/user-data":
            return machine.user_data.decode("latin-1") or None
        return table.get(path.removeprefix("/latest/meta-data/").rstrip("/"))


class MetadataServer:
    """For all machines of a test."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._over = False
        self._thread = threading.Thread(target=self._work, name="fake-metadata", daemon=True)
        self._thread.start()

    def add(self, machine: Machine) -> Metadata:
        """On the machine's private address, at a free port."""
        listener = socket.create_server((machine.private_ip, 0), backlog=16)
        listener.setblocking(False)
        metadata = Metadata(machine, listener)
        self._selector.register(listener, selectors.EVENT_READ, metadata)
        self._wake.send(b".")
        return metadata

    def remove(self, metadata: Metadata) -> None:
        """The machine is off."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(metadata.listener)
        metadata.listener.close()

    def stop(self) -> None:
        """Ends all."""
        self._over = True
        self._wake.send(b".")
        self._thread.join(10)
        for key in list(self._selector.get_map().values()):
            if key.data is not None:
                key.fileobj.close()  # type: ignore[union-attr]
        self._selector.close()
        self._wake.close()
        self._woken.close()

    def _work(self) -> None:
        while not self._over:
            for key, _ in self._selector.select():
                if key.data is None:
                    self._woken.recv(64)
                    continue
                with contextlib.suppress(OSError):
                    connection, peer = key.fileobj.accept()  # type: ignore[union-attr]
                    connection.settimeout(10)
                    threading.Thread(target=_serve, args=(connection, peer, key.data), daemon=True).start()


def _serve(connection: socket.socket, peer: object, metadata: Metadata) -> None:
    with connection, contextlib.suppress(OSError):
        _Handler(connection, peer, metadata)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: Metadata  # type: ignore[assignment]

    def do_PUT(self) -> None:
        if self.path != "/latest/api/token" or "X-aws-ec2-metadata-token-ttl-seconds" not in self.headers:
            self._send(400, "")
            return
        token = secrets.token_urlsafe(24)
        self.server.tokens.add(token)
        self._send(200, token)

    def do_GET(self) -> None:
        if self.headers.get("X-aws-ec2-metadata-token") not in self.server.tokens:
            self._send(401, "")
            return
        found = self.server.answer(self.path)
        self._send(404 if found is None else 200, found or "")

    def _send(self, status: int, text: str) -> None:
        body = text.encode("latin-1")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return
