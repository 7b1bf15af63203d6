"""Opens connections, makes one call on each so that the server knows what it speaks, and holds them till stdin ends."""

import argparse
import socket
import struct
import sys

from .speaking import emit, raise_descriptor_limit

#: TTHeader: LENGTH, MAGIC, FLAGS, SEQUENCE ID, HEADER SIZE in words, then protocol 0, no transforms, two of padding.
#: Source: cloudwego/gopkg protocol/ttheader.
_HEADER = struct.Struct(">IHHiHBBH")
_MAGIC = 0x1000
#: Thrift's strict binary protocol, version 1, message type CALL.
_CALL = 0x80010001


def request() -> bytes:
    """A call of ``echo`` with an empty message: argument 1 a struct, in it field 1 a string of 0 bytes."""
    name = b"echo"
    envelope = struct.pack(">Ii", _CALL, len(name)) + name + struct.pack(">i", 1)
    arguments = struct.pack(">BhBhi", 12, 1, 11, 1, 0) + b"\0\0"
    payload = envelope + arguments
    return _HEADER.pack(_HEADER.size - 4 + len(payload), _MAGIC, 0, 1, 1, 0, 0, 0) + payload


def hold(host: str, port: int, count: int) -> list[socket.socket]:
    """Open *count* connections, each after the reply on the one before: no server's backlog overflows.

    :raises ConnectionError: the server closed one instead of replying.
    """
    message = request()
    held = []
    for number in range(count):
        connection = socket.create_connection((host, port), timeout=10.0)
        connection.sendall(message)
        if not connection.recv(4096):
            raise ConnectionError(f"connection {number} was closed by the server")
        held.append(connection)
    return held


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--connections", type=int, required=True)
    options = parser.parse_args()
    raise_descriptor_limit()
    host, _, port = options.address.rpartition(":")
    held = hold(host, int(port), options.connections)
    emit("held", connections=len(held))
    sys.stdin.read()
    for connection in held:
        connection.close()


if __name__ == "__main__":
    main()
