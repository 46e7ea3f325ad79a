"""A data set in S3, read by presigned addresses.

A host has no credentials. The laptop lists the bucket and signs an address for each object, by which anybody can read
that object for an hour. They come in `ADDRESSES`, a file in the run's folder on the host, which the laptop replaces in
time, and which is deleted when the copy is done. They are in no journal and on no command line.

Reads are of ranges, on connections that stay open, one per thread. S3 is asked for the version that was listed
(``If-Match``, RFC 9110 13.1.1), so that a copy is never mixed from two versions of an object.

Standard library only.
"""

from __future__ import annotations

import gzip
import http.client
import json
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from remote.staging.origin import BLOCK_BYTES, Broken, Expired, Item, Refused

_TIMEOUT_S = 20.0
_TRANSIENT = {408, 429, 500, 502, 503, 504}
_MD5 = re.compile(r"[0-9a-f]{32}")


class Bucket:
    """The objects below a prefix of a bucket."""

    def __init__(self, name: str, addresses: Path) -> None:
        """`name`: ``s3://bucket/prefix``, for messages. Raises Refused where `addresses` cannot be read."""
        self.name = name
        self._path = addresses
        self._lock = threading.Lock()
        self._local = threading.local()
        self._serial = 0
        self._addresses: dict[str, str] = {}
        self._items: list[Item] = []
        self._sealed: set[str] = set()
        """Objects encrypted with a key of KMS's or the customer's: their ETag is not an MD5 (S3 API, Object)."""
        # Made once, not for each connection: it reads the host's certificates, which takes 20 ms.
        self._tls: ssl.SSLContext | None = None
        self.renew(-1)

    @property
    def serial(self) -> int:
        """The number of the addresses in use; newer ones have a higher number."""
        return self._serial

    def renew(self, serial: int) -> bool:
        """Reads addresses that are newer than `serial`; False where there are none yet. Raises Refused."""
        with self._lock:
            if self._serial > serial and self._addresses:
                return True
            try:
                content: dict[str, Any] = json.loads(gzip.decompress(self._path.read_bytes()))
                if content["serial"] <= serial:
                    return False
                self._items = [_item(name, size, etag) for name, size, etag, _ in content["objects"]]
                self._addresses = {name: address for name, _, _, address in content["objects"]}
                self._serial = content["serial"]
            except FileNotFoundError:
                raise Refused(f"the laptop sent no addresses for {self.name}; start the run again") from None
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise Refused(f"the addresses for {self.name} cannot be read ({type(error).__name__})") from None
            return True

    def items(self) -> list[Item]:
        """The objects that the laptop listed."""
        return list(self._items)

    def read(self, item: Item, start: int, end: int) -> Iterator[memoryview]:
        """See `Source`."""
        if start >= end:
            return
        address = self._addresses.get(item.name)
        if address is None:
            raise Refused(f"{self.name}/{item.name} is not there any more; start again when nobody writes to it")
        response = self._ask(item, address, start, end)
        block = memoryview(bytearray(min(BLOCK_BYTES, end - start)))
        try:
            while start < end:
                got = response.readinto(block[: end - start])
                if not got:
                    raise Broken("the connection ended too early")
                yield block[:got]
                start += got
            # So that the connection can be used again.
            response.read()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._disconnect()
            raise Broken(_why(error)) from None
        except (Broken, GeneratorExit):
            self._disconnect()
            raise

    def digest(self, item: Item) -> tuple[str, str]:
        """See `Source`."""
        if item.sha256:
            return "sha256", item.sha256
        return ("", "") if item.name in self._sealed or not item.md5 else ("md5", item.md5)

    def _ask(self, item: Item, address: str, start: int, end: int) -> http.client.HTTPResponse:
        parts = urlsplit(address)
        connection = self._connection(parts.scheme, parts.netloc)
        headers = {"Range": f"bytes={start}-{end - 1}", "If-Match": f'"{item.version}"', "User-Agent": "fastconsole"}
        try:
            connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
            response = connection.getresponse()
            sealed = response.getheader("x-amz-server-side-encryption", "").startswith("aws:kms")
            if sealed or response.getheader("x-amz-server-side-encryption-customer-algorithm"):
                self._sealed.add(item.name)
            if response.status == 206:
                total = (response.getheader("Content-Range") or "").rpartition("/")[2]
                if total != str(item.size):
                    raise Refused(_changed(self.name, item))
                return response
            if response.status == 200 and (start, end) == (0, item.size) and response.length == item.size:
                return response
            answer = response.read(16384).decode("utf-8", "replace")
        except ssl.SSLCertVerificationError as error:
            self._disconnect()
            raise Refused(
                f"the certificate of {parts.hostname} cannot be verified on this host ({error.verify_message}); "
                "are its CA certificates installed, and is its clock right?"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            self._disconnect()
            raise Broken(f"{parts.hostname}: {_why(error)}") from None
        except Refused:
            self._disconnect()
            raise
        self._disconnect()
        raise self._error(item, response.status, answer, parts.hostname or "")

    def _error(self, item: Item, status: int, answer: str, host: str) -> Exception:
        """What an answer other than the data means."""
        code, message = _tag(answer, "Code"), _tag(answer, "Message")
        name = f"{self.name}/{item.name}"
        if code in ("ExpiredToken", "RequestExpired") or (status == 403 and "expired" in message.lower()):
            return Expired(f"{name}: {message or code}")
        if status in _TRANSIENT:
            return Broken(f"{host}: {code or f'status {status}'}")
        if status == 404:
            return Refused(f"{name} is not there any more ({code or status}); start again when nobody writes to it")
        if status in (412, 416):
            return Refused(_changed(self.name, item))
        if status in (301, 307):
            return Refused(f"{name}: {host} says that the bucket is in another region; set AWS_REGION to its own")
        if status == 403:
            return Refused(
                f"{name}: access refused ({code or status}{f': {message}' if message else ''}); the laptop's AWS user "
                "needs s3:GetObject on it, and kms:Decrypt on its key where it is encrypted with one"
            )
        return Refused(f"{name}: {host} answered {status} {code} {message}".rstrip())

    def _connection(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        held = getattr(self._local, "connection", None)
        if held is not None and held[0] == (scheme, netloc):
            connection: http.client.HTTPConnection = held[1]
            return connection
        self._disconnect()
        if scheme == "https":
            with self._lock:
                self._tls = self._tls or ssl.create_default_context()
            connection = http.client.HTTPSConnection(netloc, timeout=_TIMEOUT_S, context=self._tls)
        else:
            connection = http.client.HTTPConnection(netloc, timeout=_TIMEOUT_S)
        self._local.connection = (scheme, netloc), connection
        return connection

    def _disconnect(self) -> None:
        held = getattr(self._local, "connection", None)
        if held is not None:
            held[1].close()
            self._local.connection = None


def _item(name: str, size: int, etag: str) -> Item:
    # The ETag of a multipart upload is not an MD5, and has a dash.
    return Item(name, size, etag, md5=etag if _MD5.fullmatch(etag) else "")


def _changed(source: str, item: Item) -> str:
    return f"{source}/{item.name} was changed while it was copied; start again when nobody writes to it"


def _tag(text: str, name: str) -> str:
    """The text of an element of S3's answer; empty where it has none."""
    found = re.search(f"<{name}>([^<]{{0,300}})</{name}>", text)
    return found[1] if found else ""


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
