"""TODO docstring: console/ssh/transfer.py."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import asyncssh

from console.ssh.errors import HostUnreachable


async def fetch(connection: asyncssh.SSHClientConnection, remote_path: str, local_path: Path, sha256: str) -> int:
    """Brings a file of a host here, written beside and renamed once its hash is right; its size in bytes.

    Raises:
        HostUnreachable: the connection broke.
        ValueError: what came has another hash.
        OSError: it could not be written here.
    """
    beside = local_path.with_name(f"{local_path.name}.part")
    try:
        async with connection.start_sftp_client() as sftp:
            await sftp.get(remote_path, str(beside))
    except asyncssh.Error as error:
        raise HostUnreachable(f"{remote_path} could not be fetched: {error.reason}") from None
    digest, size = await asyncio.to_thread(_digest, beside)
    if digest != sha256:
        beside.unlink()
        raise ValueError(f"{remote_path} came with another SHA-256 than the host wrote")
    beside.replace(local_path)
    return size


async def upload(connection: asyncssh.SSHClientConnection, local_path: Path, remote_path: str) -> None:
    """Puts a file on a host, written beside and renamed.

    Raises:
        HostUnreachable: the connection broke, or the host could not write it.
    """
    beside = f"{remote_path}.part"
    try:
        async with connection.start_sftp_client() as sftp:
            await sftp.makedirs(str(Path(remote_path).parent), exist_ok=True)
            await sftp.put(str(local_path), beside)
            await sftp.posix_rename(beside, remote_path)
    except asyncssh.Error as error:
        raise HostUnreachable(f"{local_path.name} could not be sent: {error.reason}") from None


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
