"""Copies `remote/` to a host, into a folder that is named by the hash of its contents."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import asyncssh

from console.ssh.errors import HostRefused, HostUnreachable, os_reason

CODE_FOLDER = ".fastconsole/code"
"""On a host, below the home folder; holds one folder for each content hash of `remote/`."""


@dataclass(frozen=True, slots=True)
class Code:
    """The files of `remote/`, and the hash of their contents by which a host knows whether it has them."""

    files: tuple[tuple[str, bytes], ...]
    """Each with its path below `remote/` (POSIX, relative) and its content, in the order of the paths."""
    digest: str
    """SHA-256 over paths, lengths and contents, 16 hexadecimal digits."""

    @classmethod
    def read(cls, folder: Path | None = None) -> Code:
        """The package as it is on the laptop now, or as it is in `folder`: all Python files at any depth."""
        if folder is None:
            import remote

            folder = Path(remote.__file__).parent
        paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
        files = tuple((name, paths[name].read_bytes()) for name in sorted(paths))
        digest = hashlib.sha256()
        for name, content in files:
            digest.update(f"{name} {len(content)}\n".encode() + content)
        return cls(files, digest.hexdigest()[:16])

    @property
    def folders(self) -> list[str]:
        """`remote/` and its packages, each after its parent."""
        return sorted({str(PurePosixPath("remote", name).parent) for name, _ in self.files})

    @property
    def folder(self) -> str:
        """Its folder on a host, below the home folder."""
        return f"{CODE_FOLDER}/{self.digest}"


async def ship(connection: asyncssh.SSHClientConnection, code: Code, progress: Callable[[int, int], None]) -> bool:
    """Copies the code to the host unless it is there; True if it had to be sent. `progress(files done, files)`.

    Written beside and renamed, so that a folder of this name is complete.

    Raises:
        HostRefused: the host's disk is full or may not be written.
    """
    beside = f"{code.folder}.{secrets.token_hex(4)}"
    try:
        async with connection.start_sftp_client() as sftp:
            if await sftp.isdir(code.folder):
                progress(len(code.files), len(code.files))
                return False
            for folder in code.folders:
                await sftp.makedirs(f"{beside}/{folder}", exist_ok=True)
            done = 0

            async def put(name: str, content: bytes) -> None:
                nonlocal done
                async with sftp.open(f"{beside}/remote/{name}", "wb") as file:
                    await file.write(content)
                done += 1
                progress(done, len(code.files))

            await asyncio.gather(*(put(name, content) for name, content in code.files))
            try:
                await sftp.rename(beside, code.folder)
            except asyncssh.SFTPError:
                if not await sftp.isdir(code.folder):
                    raise
                # Another console has sent the same content meanwhile.
                await sftp.rmtree(beside)
            return True
    except (asyncssh.SFTPError, asyncssh.ChannelOpenError) as error:
        why = "is the disk full, or the home folder not the user's?"
        raise HostRefused(f"cannot write {beside} ({why}): {error.reason}") from None
    except asyncssh.Error as error:
        raise HostUnreachable(f"the connection broke while sending the code: {error.reason}") from None
    except OSError as error:
        raise HostUnreachable(f"the connection broke while sending the code: {os_reason(error)}") from None
