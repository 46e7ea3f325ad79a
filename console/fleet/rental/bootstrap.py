"""Replaces the launch's host key, which its instances share, by one of each host's own. No trust on first use.

Theory. The launch's key reaches the hosts in user data, so that the first connection can be pinned; but every instance
of the launch holds it, and any user of one can read it there. So each host generates its own key over that first
connection, and the laptop stores its public half before the host installs it: whichever side dies when, one of the two
keys is right. A host counts as pinned once it has proved, on a new connection, that it holds its own key. A host that
presents neither key is refused at once and for good.
"""

from __future__ import annotations

import asyncio
import random
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import asyncssh

from console.ssh.address import HostAddress
from console.ssh.connect import connect
from console.ssh.errors import HostRefused, HostUnreachable, LoginRefused, WrongHostKey

_BACKOFF_S = (1.0, 8.0)
"""First and longest wait before a host that does not answer is tried again."""
_BOOTING_S = 60.0
"""How long a host that holds its key may refuse the login: until its boot ends, pam_nologin lets no user in."""
_RELOADS = 6
"""How often sshd is told to reload its key. Until it has, a connection may still see the old one."""
_RELOAD_S = 0.3
_COMMAND_S = 60.0
_DISKS_S = 150.0
"""Making a file system over eight local disks takes seconds; the limit keeps a boot from hanging."""

_SCRIPT = Path(__file__).with_name("host").joinpath("host_key.sh")
_REFUSED = 10
"""Exit status of the script: not possible on this host; the sentence is on stderr."""

# Joins the job that the boot started, or finds it done.
_DISKS = f"""\
systemctl cat fastconsole-nvme.service >/dev/null 2>&1 || exit 0
timeout {_DISKS_S:.0f} systemctl start fastconsole-nvme.service
"""
_INSTANCE_ID = "/var/lib/cloud/data/instance-id"
"""Where cloud-init stores the id of the instance it runs on."""


async def pin(
    address: HostAddress,
    *,
    bootstrap: str,
    known: str | None,
    remember: Callable[[str], None],
    patience_s: float,
    progress: Callable[[str], None],
    instance_id: str | None = None,
) -> HostAddress:
    """The address, pinned to a key that its host generated itself and has proved to hold.

    `bootstrap` and `known` are public keys as in an OpenSSH file: that of the launch, and the host's own where an
    earlier call got as far as to `remember` it. `patience_s` is for a host that does not answer yet. With
    `instance_id`, a host that says it is another instance of the same launch is refused.

    Can be interrupted at any point and called again.

    Raises:
        HostRefused: another host key, another host at the address, no way to become root there, …
        HostUnreachable: it did not answer in time.
    """
    pinning = _Pinning(address, bootstrap, known, remember, instance_id)
    clock = asyncio.get_running_loop().time
    began, wait_s = clock(), _BACKOFF_S[0]
    first_refusal: float | None = None
    said = ""
    while True:
        try:
            if await pinning.attempt(progress):
                return pinning.pinned
            # sshd is reloading its key, and does not listen for a moment.
            await asyncio.sleep(_RELOAD_S)
            wait_s = _RELOAD_S
            continue
        except LoginRefused as error:
            first_refusal = first_refusal or clock()
            if clock() - first_refusal > _BOOTING_S:
                raise
            problem = str(error)
        except HostUnreachable as error:
            problem = str(error)
        left_s = began + patience_s - clock()
        if left_s <= 0:
            raise HostUnreachable(f"{problem}; gave up after {patience_s:.0f} s")
        if problem != said:
            said = problem
            progress(problem)
        await asyncio.sleep(min(wait_s * random.uniform(0.7, 1.3), left_s))
        wait_s = min(wait_s * 1.5, _BACKOFF_S[1])


class _Pinning:
    """What is known of one host while it is being pinned."""

    def __init__(
        self,
        address: HostAddress,
        bootstrap: str,
        own: str | None,
        remember: Callable[[str], None],
        instance_id: str | None,
    ) -> None:
        self._address = address
        self._bootstrap = _bare(bootstrap)
        self._own = None if own is None else _bare(own)
        self._remember = remember
        self._instance_id = instance_id
        self._swaps = 0

    @property
    def pinned(self) -> HostAddress:
        return replace(self._address, host_key=self._own)

    async def attempt(self, progress: Callable[[str], None]) -> bool:
        """The steps of one connection; True once the host is pinned."""
        connection, has_own = await self._reach()
        try:
            if self._own is None:
                progress("making its own host key")
                await self._check_instance(connection)
                own = _made(await self._as_root(connection, _SCRIPT.read_text(), "make"), self._address)
                if own == self._bootstrap:
                    raise HostRefused(f"{self._address} returned its launch's key as its own")
                # Before the host uses it: a laptop that dies in between can come back.
                self._remember(own)
                self._own = own
            if not has_own or not self._swaps:
                if self._swaps == _RELOADS:
                    raise HostRefused(
                        f"{self._address} still presents its launch's host key: its sshd did not load the new one"
                    )
                # A host that has its own key may still hold others, if an earlier swap was interrupted.
                await self._as_root(connection, _SCRIPT.read_text(), "swap", self._own)
                self._swaps += 1
            if has_own:
                await self._wait_for_disks(connection, progress)
                return True
        finally:
            connection.abort()
        return False

    async def _reach(self) -> tuple[asyncssh.SSHClientConnection, bool]:
        """A connection to the host, and whether it holds its own key (or still that of the launch)."""
        if self._own is None:
            return await connect(replace(self._address, host_key=self._bootstrap)), False
        try:
            return await connect(self.pinned), True
        except WrongHostKey:
            pass
        try:
            return await connect(replace(self._address, host_key=self._bootstrap)), False
        except WrongHostKey:
            raise WrongHostKey(
                f"{self._address} presented neither the host key that its host made for this run nor that of the "
                "launch: another host answers in its place"
            ) from None

    async def _check_instance(self, connection: asyncssh.SSHClientConnection) -> None:
        """Instances of one launch share the first key: only what a host says tells one from another."""
        if self._instance_id is None:
            return
        _, said, _ = await self._run(connection, f"cat {_INSTANCE_ID}", "")
        said = _last_line(said)
        if said.startswith("i-") and said != self._instance_id:
            raise HostRefused(f"{self._address} is {said} and answers in place of {self._instance_id}")

    async def _wait_for_disks(self, connection: asyncssh.SSHClientConnection, progress: Callable[[str], None]) -> None:
        progress("waiting for its local disks")
        try:
            await self._as_root(connection, _DISKS)
        except HostRefused as error:
            # Slower but not wrong: the folder is then on the root volume.
            progress(str(error))

    async def _as_root(self, connection: asyncssh.SSHClientConnection, script: str, *words: str) -> str:
        """The script's output. Raises HostRefused if it fails."""
        shell = shlex.join(["sh", "-s", "--", *words])
        command = f'if [ "$(id -u)" = 0 ]; then exec {shell}; else exec env LC_ALL=C sudo -n {shell}; fi'
        status, printed, complaint = await self._run(connection, command, script)
        if status == 0:
            return printed
        last = _last_line(complaint)
        if status == _REFUSED:
            raise HostRefused(f"{self._address}: {last}")
        if "sudo" in last:
            who = self._address.username or "this user"
            raise HostRefused(
                f"{self._address}: {who} may not use sudo without a password ({last}); name the image's login user in "
                "fleet.user"
            )
        raise HostRefused(f"{self._address}: a script that runs as root ended with exit status {status}: {last}")

    async def _run(self, connection: asyncssh.SSHClientConnection, command: str, text: str) -> tuple[int, str, str]:
        try:
            async with asyncio.timeout(_COMMAND_S + _DISKS_S):
                done = await connection.run(command, input=text, errors="replace")
        except asyncssh.Error as error:
            raise HostUnreachable(f"{self._address}: the connection broke: {error.reason}") from None
        except TimeoutError:
            raise HostUnreachable(f"{self._address}: a command took too long") from None
        except OSError as error:
            raise HostUnreachable(f"{self._address}: the connection broke: {error.strerror or error}") from None
        if done.exit_status is None:
            raise HostUnreachable(f"{self._address}: the connection broke")
        return done.exit_status, str(done.stdout or ""), str(done.stderr or "")


def _bare(key: str) -> str:
    """Kind and key, without the comment."""
    return " ".join(key.split()[:2])


def _made(printed: str, address: HostAddress) -> str:
    """The public key in the output. Raises HostRefused if there is none."""
    key = _bare(_last_line(printed))
    try:
        if asyncssh.import_public_key(key).get_algorithm() == "ssh-ed25519":
            return key
    except asyncssh.KeyImportError:
        pass
    raise HostRefused(f"{address} was asked for a host key of its own and printed {key!r}")


def _last_line(text: str) -> str:
    """The last line that is not blank, cut in length and without control characters: a host is not trusted."""
    lines = [line for line in text.splitlines() if line.strip()]
    return "".join(filter(str.isprintable, lines[-1].strip()))[:200] if lines else ""
