"""Journal lines a second over SSH on loopback, by cipher: python bench/ssh.py [HOSTS]

One process serves HOSTS (16 by default) connections, each of which sends 2,000 lines of a journal, twenty lines a write
as the agent's channel does; the console's side counts what arrives. The ratio is against asyncssh's default cipher.
"""

from __future__ import annotations

import asyncio
import sys
import time

import asyncssh

CIPHERS = ("chacha20-poly1305@openssh.com", "aes256-gcm@openssh.com", "aes128-gcm@openssh.com")
LINES, LINES_A_WRITE = 2_000, 20
LINE = b'{"event":"StepEnded","t":1790000000.2500,"step":1200,"epoch":3,"epoch_step":12,"loss":2.1}'.ljust(200) + b"\n"


async def send(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """What a host does."""
    for _ in range(LINES // LINES_A_WRITE):
        process.stdout.write(LINE * LINES_A_WRITE)
        await process.stdout.drain()
    process.exit(0)


async def measure(cipher: str, hosts: int) -> tuple[float, float]:
    """(seconds to connect all hosts, lines a second from all of them)."""
    host_key, client_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(client_key.export_public_key().decode()),
        process_factory=send,
        encoding=None,
        encryption_algs=[cipher],
    )
    pinned = ([host_key.convert_to_public()], [], [])
    began = time.perf_counter()
    connections = await asyncio.gather(
        *(
            asyncssh.connect(
                "127.0.0.1",
                server.get_port(),
                username="bench",
                client_keys=[client_key],
                known_hosts=pinned,
                config=None,
                agent_path=None,
                encryption_algs=[cipher],
            )
            for _ in range(hosts)
        )
    )
    connected = time.perf_counter()

    async def read(connection: asyncssh.SSHClientConnection) -> int:
        process = await connection.create_process("lines", encoding=None)
        lines = 0
        while piece := await process.stdout.read(1 << 16):
            lines += piece.count(b"\n")
        return lines

    lines = sum(await asyncio.gather(*map(read, connections)))
    ended = time.perf_counter()
    assert lines == hosts * LINES, lines
    for connection in connections:
        connection.abort()
    server.close()
    return connected - began, lines / (ended - connected)


def main(hosts: int) -> None:
    """Prints the table."""
    print(f"{hosts} hosts, {LINES} lines each, {LINES_A_WRITE} lines a write, one process, loopback")
    print(f"{'cipher':32}{'connect s':>10}{'lines/s':>10}{'ratio':>7}")
    base = None
    for cipher in CIPHERS:
        connect_s, rate = asyncio.run(measure(cipher, hosts))
        base = base or rate
        print(f"{cipher:32}{connect_s:>10.2f}{rate:>10,.0f}{rate / base:>7.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 16)
