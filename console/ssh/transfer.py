"""Files to and from a host over SFTP. A file takes its name only once it is whole."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from pathlib import Path, PurePosixPath

import asyncssh

from console.ssh.errors import HostUnreachable

PRIVATE = 0o600
"""Permissions of a file that only its owner may read."""


async def write_whole(
    sftp: asyncssh.SFTPClient, path: str, content: bytes | Path, *, permissions: int | None = None
) -> None:
    """Writes a file on the host, of these bytes or of a local file: beside it, and renamed.

    Folders that are missing are made; with `permissions` they are open to whom the file is.

    Raises:
        asyncssh.Error, OSError: nothing has changed at `path`.
    """
    beside = f"{path}.part"
    attributes, folder = asyncssh.SFTPAttrs(), asyncssh.SFTPAttrs()
    if permissions is not None:
        attributes.permissions = permissions
        # Who may read a folder's files may enter it.
        folder.permissions = permissions | (permissions & 0o444) >> 2
    await sftp.makedirs(str(PurePosixPath(path).parent), folder, exist_ok=True)
    try:
        if isinstance(content, Path):
            # One name: a large file that a broken connection left is overwritten by the next attempt.
            await sftp.put(str(content), beside)
        else:
            # A name of its own: two tasks, or two consoles, may write the same file at one time.
            beside = f"{path}.{secrets.token_hex(4)}.part"
            async with sftp.open(beside, "wb", attributes) as file:
                await file.write(content)
        await sftp.posix_rename(beside, path)
    except (asyncssh.SFTPError, OSError):
        with contextlib.suppress(asyncssh.Error, OSError):
            await sftp.remove(beside)
        raise


async def fetch(connection: asyncssh.SSHClientConnection, remote_path: str, local_path: Path, sha256: str) -> int:
    """Fetches a file of a host, written beside and renamed once its hash is right; its size in bytes.

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
    """Sends a file to a host, whole or not at all.

    Raises:
        HostUnreachable: the connection broke, or the host could not write it.
    """
    try:
        async with connection.start_sftp_client() as sftp:
            await write_whole(sftp, remote_path, local_path)
    except asyncssh.Error as error:
        raise HostUnreachable(f"{local_path.name} could not be sent: {error.reason}") from None


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size
