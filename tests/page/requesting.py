"""The page's server, asked with nothing but a socket, as a browser would never do it."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from typing import Any

from real_daemon import LIMIT_S, Daemon

COOKIE = re.compile(r"hamdev=([\w-]+); HttpOnly; SameSite=Strict; Path=(/[\w-]+/)")


@dataclass
class Answer:
    """What came back; headers with names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class PageOf:
    """A daemon's page, to whoever knows its secrets.

    Attributes:
        port: where it is.
        token: in the printed address.
        path: under which it is.
    """

    def __init__(self, daemon: Daemon) -> None:
        address = daemon.ask("hello")["web"]
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\?token=([\w-]{40,})", address)
        assert found, address
        self.port, self.token = int(found[1]), found[2]
        cookie = COOKIE.fullmatch(self.get(f"/?token={self.token}").headers["set-cookie"])
        assert cookie
        assert cookie[1] == self.token
        self.path = cookie[2]

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, target: str, **headers: str) -> Answer:
        return self.request("GET", target, b"", **headers)

    def own(self, target: str = "", **headers: str) -> Answer:
        """As the page itself."""
        return self.get(self.path + target, cookie=f"hamdev={self.token}", **headers)

    def api(self, method: str, body: bytes | None = None, **headers: str) -> Answer:
        """As the page itself."""
        sent = json.dumps({"method": method, "params": {}}).encode() if body is None else body
        own = {"cookie": f"hamdev={self.token}", "content_type": "application/json"}
        return self.request("POST", self.path + "api", sent, **{**own, **headers})

    def request(self, method: str, target: str, body: bytes, **headers: str) -> Answer:
        """One request on a connection of its own; an empty header is left out."""
        wanted = {"host": self.host, "connection": "close", **headers}
        if body:
            wanted["content_length"] = str(len(body))
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in wanted.items() if value]
        head = "\r\n".join([f"{method} {target} HTTP/1.1", *lines, "", ""])
        with self.connected() as connection:
            try:
                connection.sendall(head.encode() + body)
            except ConnectionError:
                pass  # it has heard enough, and its answer may be there
            return _parsed(_all_of(connection))

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)


def _all_of(connection: socket.socket) -> bytes:
    received = b""
    try:
        while chunk := connection.recv(1 << 16):
            received += chunk
    except ConnectionResetError:
        pass
    return received


def _parsed(received: bytes) -> Answer:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Answer(int(first.split()[1]) if first else 0, headers, body)
