"""Ports of this machine: which are free, and the next one that is."""

import socket

LOOPBACK = "127.0.0.1"
LAST_PORT = 65_535


def is_free(port: int) -> bool:
    """True if nothing listens on the port and a server could."""
    with socket.socket() as caller:
        caller.settimeout(1)
        if caller.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # as servers do: TIME_WAIT is no obstacle
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def next_free(port: int, taken: frozenset[int] = frozenset()) -> int:
    """The first free port from `port` on that is not among `taken`.

    Raises:
        OSError: If there is none.
    """
    for candidate in range(port, LAST_PORT + 1):
        if candidate not in taken and is_free(candidate):
            return candidate
    raise OSError(f"a port from {port} to {LAST_PORT} must be free, but none is")
