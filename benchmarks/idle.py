"""What an idle connection costs a server: its resident size with so many connections, less that with a few."""

import resource
import sys

from .cores import resident_bytes
from .processes import Peer, PeerFailedError, python_peer

__all__ = ["idle"]

_AIM_BYTES = 25 * 1024
#: Held by one client process; several of them stay clear of any limit on descriptors.
_PER_CLIENT = 2_500
#: Opened first, so that what a server loads at its first connections is not counted.
_WARM = 100
#: Descriptors that a process has open besides.
_SPARE = 100


def idle(wanted: int, loop: str = "uvloop") -> list[str]:
    """Hold *wanted* idle connections to one elanus server, and give the result as lines.

    :raises PeerFailedError: the server refused a connection, or does not run.
    """
    count = min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - _SPARE)
    lines = []
    if count < wanted:
        lines.append(f"this system allows {count + _SPARE} descriptors a process: {count} connections, not {wanted}")
    with Peer(python_peer("rpc_elanus", "server", "--loop", loop)) as server:
        address = server.event("ready")["address"]
        with _holder(address, _WARM) as warm:
            warm.event("held")
            before = _size(server)
            parts = [min(_PER_CLIENT, count - start) for start in range(0, count, _PER_CLIENT)]
            each = (_held(server, address, parts) - before) / count
            verdict = "reached" if each < _AIM_BYTES else "MISSED"
    lines.append(f"{count:,} idle connections on {loop}: {each / 1024:.1f} KiB of resident memory each")
    lines.append(f"aim: under {_AIM_BYTES // 1024} KiB: {verdict} (buffers of the kernel are not in it)")
    return lines


def _holder(address: str, count: int) -> Peer:
    return Peer([sys.executable, "-m", "benchmarks.peers.holding", f"--address={address}", f"--connections={count}"])


def _held(server: Peer, address: str, parts: list[int]) -> int:
    """The server's size while *parts* connections are held, each part by a process of its own."""
    if not parts:
        return _size(server)
    with _holder(address, parts[0]) as holder:
        holder.event("held", 60.0)
        return _held(server, address, parts[1:])


def _size(server: Peer) -> int:
    size = resident_bytes(server.pid)
    if size is None:
        raise PeerFailedError("this system does not tell the size of a process (/proc/<pid>/status)")
    return size
