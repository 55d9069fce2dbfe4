"""A TCP proxy that a test can break: the network between two engines."""

import contextlib
import selectors
import socket
import threading

_TURN_S = 0.02


class Proxy:
    """Forwards connections to a port of this host until told otherwise. A context manager."""

    def __init__(self) -> None:
        self._target = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._others: dict[socket.socket, socket.socket] = {}
        self._lock = threading.Lock()
        self._ended = False
        self._silent = False
        self._cut_after: int | None = None
        self.cuts = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def endpoint(self, endpoint: str) -> str:
        """Takes over for an endpoint; returns the one to be used instead."""
        self._target = int(endpoint.rpartition(":")[2])
        return f"tcp://127.0.0.1:{self._server.getsockname()[1]}"

    def cut(self) -> None:
        """Closes all connections."""
        with self._lock:
            self._close_all()

    def leave(self) -> None:
        """Closes all connections, and listens no longer: an engine that is gone."""
        with self._lock:
            self._selector.unregister(self._server)
            self._server.close()
            self._close_all()

    def cut_after(self, size: int) -> None:
        """Closes all connections when so many bytes more were forwarded."""
        with self._lock:
            self._cut_after = size

    def be_silent(self, silent: bool) -> None:
        """Forwards nothing, but leaves connections open: a cable that is out."""
        with self._lock:
            self._silent = silent

    def _close_all(self) -> None:
        for connection in list(self._others):
            self._selector.unregister(connection)
            connection.close()
        self._others.clear()
        self.cuts += 1

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(_TURN_S):
                with self._lock:
                    if key.fileobj is self._server:
                        self._accept()
                    elif not self._silent and isinstance(key.fileobj, socket.socket):
                        self._forward(key.fileobj)
            if self._silent:
                threading.Event().wait(_TURN_S)

    def _accept(self) -> None:
        near, _ = self._server.accept()
        try:
            far = socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            near.close()
            return
        self._others[near], self._others[far] = far, near
        for connection in (near, far):
            connection.settimeout(1)
            self._selector.register(connection, selectors.EVENT_READ)

    def _forward(self, connection: socket.socket) -> None:
        other = self._others.get(connection)
        if other is None:
            return  # cut meanwhile
        data = b""
        with contextlib.suppress(OSError):
            data = connection.recv(1 << 16)
            if self._cut_after is not None:
                data = data[: self._cut_after]
                self._cut_after -= len(data)
            other.sendall(data)
        if not data:
            for end in (connection, other):
                self._selector.unregister(end)
                self._others.pop(end, None)
                end.close()
        if self._cut_after == 0:
            self._cut_after = None
            self._close_all()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        self._thread.join()
        self._close_all()
        self._server.close()
        self._selector.close()
