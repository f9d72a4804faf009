# SPDX-License-Identifier: Apache-2.0
"""A port before a server of this machine that can be shut, which cuts what goes through it, and opened again at the same number.

It can also be told to shut by itself in the middle of what clients send, after so many bytes.
"""
import socket
import threading
from collections.abc import Callable


class Gate:
    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.lock = threading.Lock()
        self.sockets: set[socket.socket] = set()
        self.left: int | None = None
        self.told: Callable[[], None] = lambda: None
        self.open()

    def open(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def shut(self) -> None:
        # Whoever accepts is woken by this, and not by close.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for each in self.sockets:
                self.cut(each)

    def shut_after(self, count: int, told: Callable[[], None]) -> None:
        """Shuts when clients have sent so many bytes more, in the middle of what comes then, and tells."""
        with self.lock:
            self.left, self.told = count, told

    def is_last(self, data: bytes) -> bool:
        with self.lock:
            if self.left is None:
                return False
            self.left -= len(data)
            # A request without a body is smaller, and ends with what has come of it.
            if self.left > 0 or len(data) < 1 << 13:
                return False
            self.left = None
            return True

    def accept(self, listener: socket.socket) -> None:
        while True:
            try:
                ours, _ = listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            with self.lock:
                self.sockets |= {ours, theirs}
            for source, target, is_sent in ((ours, theirs, True), (theirs, ours, False)):
                threading.Thread(target=self.forward, args=(source, target, is_sent), daemon=True).start()

    def forward(self, source: socket.socket, target: socket.socket, is_sent: bool) -> None:
        try:
            while data := source.recv(1 << 18):
                if is_sent and self.is_last(data):
                    target.sendall(data[: len(data) // 2])
                    self.shut()
                    self.told()
                    break
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            self.cut(each)
        with self.lock:
            self.sockets -= {source, target}

    @staticmethod
    def cut(each: socket.socket) -> None:
        try:
            each.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
