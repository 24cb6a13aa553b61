"""Who gets an answer from the page's server, and what one client can do to it."""

from __future__ import annotations

import json
import re
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_daemon import LIMIT_S, Daemon, running
from requesting import PageOf

from other_user import as_other_user, needs_root, other_users_process

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture
def page(daemon: Daemon) -> PageOf:
    return PageOf(daemon)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    root = tmp_path / "project"
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "first.py").write_text("def one() -> int:\n    return 1\n")
    return root


def settings(root: Path, text: str) -> None:
    (root / "devserver.toml").write_text(text + "\n[pipelines.first]\n")


def test_the_token_buys_a_cookie_and_the_cookie_everything_else(page: PageOf) -> None:
    entered = page.get(f"/?token={page.token}")
    assert entered.status == 303
    assert entered.headers["location"] == page.path
    shown = page.own()
    assert shown.status == 200
    assert shown.headers["content-type"] == "text/html; charset=utf-8"
    for name in re.findall(rb'(?:href|src)="(static/[^"]+)"', shown.body):
        assert page.own(name.decode()).status == 200
    assert page.api("status").json()["result"]["pipelines"]


def test_from_another_sites_link_the_way_leads_over_a_page_of_ours(page: PageOf) -> None:
    # Such as a terminal in a browser. A redirection would bring no strict cookie.
    headers = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    entered = page.get(f"/?token={page.token}", **headers)
    assert entered.status == 200
    assert f'content="0;url={page.path}"'.encode() in entered.body


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"cookie": ""}, 403),
        ({"cookie": "hamdev="}, 403),
        ({"cookie": "hamdev=wrong"}, 403),
        ({"cookie": "other=1"}, 403),
        ({"host": "evil.test"}, 421),
        ({"host": "evil.test:{port}"}, 421),
        ({"host": "127.0.0.1"}, 421),
        ({"host": "127.0.0.1:1"}, 421),
        ({"host": "127.0.0.1.evil.test:{port}"}, 421),
        ({"host": "[::1]:{port}"}, 421),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "http://evil.test:{port}"}, 403),
        ({"origin": "http://127.0.0.1:1"}, 403),
        ({"origin": "https://127.0.0.1:{port}"}, 403),
        ({"origin": "http://localhost:{port}"}, 403),
        ({"origin": "null"}, 403),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"content_type": "text/plain"}, 415),
        ({"content_type": "application/x-www-form-urlencoded"}, 415),
        ({"content_type": "multipart/form-data; boundary=a"}, 415),
        ({"content_type": ""}, 415),
    ],
)
def test_what_is_not_the_page_itself_is_refused(
    daemon: Daemon, page: PageOf, headers: dict[str, str], status: int
) -> None:
    before = daemon.sync()["seq"]
    sent = {name: value.format(port=page.port) for name, value in headers.items()}
    answer = page.api("rerun", **sent)
    assert answer.status == status
    assert b"hamdev status" in answer.body
    assert daemon.sync()["seq"] == before
    if "content_type" not in headers:
        for target in ("", "events", "static/main.js", "picture?node=one"):
            cookie = {"cookie": f"hamdev={page.token}", **sent}
            assert page.get(page.path + target, **cookie).status == status


def test_the_pages_own_requests_are_those_of_its_two_names(page: PageOf) -> None:
    for name in ("127.0.0.1", "localhost"):
        host = f"{name}:{page.port}"
        origin = {"host": host, "origin": f"http://{host}", "sec_fetch_site": "same-origin"}
        assert page.api("status", **origin).status == 200


def test_nothing_is_told_without_secrets(page: PageOf) -> None:
    for target in (
        "/",
        "/?token=",
        "/?token=wrong",
        "/?token=" + "a" * 43,
        "/static/main.js",
        "/x",
    ):
        answer = page.get(target, cookie=f"hamdev={page.token}" if "token" in target else "")
        assert answer.status == 403
        assert page.token.encode() not in answer.body
        assert page.path.encode() not in answer.body
    framed = page.own(sec_fetch_dest="iframe", sec_fetch_site="same-origin")
    assert framed.status == 403


def test_every_answer_has_the_headers_that_bind_browsers(page: PageOf) -> None:
    answers = [
        page.own(), page.own("static/main.js"), page.own("nothing"), page.get("/"),
        page.api("status"),
        page.get(f"/?token={page.token}"), page.get("/proof?nonce=1"),
        page.api("rerun", host="evil"),
        page.request("DELETE", page.path, b"", cookie=f"hamdev={page.token}"),
        page.request("OPTIONS", page.path + "api", b"", origin="http://evil.test"),
    ]  # fmt: skip
    for answer in answers:
        assert HEADERS.items() <= answer.headers.items()
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert not [name for name in answer.headers if name.startswith("access-control")]
        assert "server" not in answer.headers


def test_requests_are_bounded(daemon: Daemon, page: PageOf) -> None:
    assert page.api("status", b"[" * 70_000).status == 413
    assert page.api("status", b"{", content_length="").json()["error"]["code"] == -32600
    assert page.api("status", b'{"method": "shutdown"}').json()["error"]["code"] == -32601
    assert page.api("status", b'{"method": "hello"}').json()["error"]["code"] == -32601
    assert page.api("status", b"[" * 60_000).json()["error"]["code"] == -32600
    assert page.get(page.path, cookie="a" * 1_000_000).status in (0, 400, 431)
    assert daemon.ask("ping") == {}


def test_who_only_connects_gets_no_place_that_the_page_needs(daemon: Daemon, page: PageOf) -> None:
    silent: list[socket.socket] = []
    try:
        silent += [page.connected() for _ in range(200)]
        assert page.api("status").status == 200
    finally:
        for connection in silent:
            connection.close()
    assert daemon.ask("ping") == {}


@pytest.mark.parametrize("target", ["/", "/proof?nonce=1"])
def test_who_promises_a_body_gets_no_place_that_the_page_needs(page: PageOf, target: str) -> None:
    silent: list[socket.socket] = []
    try:
        for method in ("GET", "POST") * 40:
            silent.append(page.connected())
            head = f"{method} {target} HTTP/1.1\r\nHost: {page.host}\r\n"
            silent[-1].sendall(f"{head}Content-Length: 100000\r\n\r\n".encode())
            # Only who sees the answer knows that the request was taken.
            assert silent[-1].recv(8) == b"HTTP/1.1"
        assert page.api("status").status == 200
    finally:
        for connection in silent:
            connection.close()


def test_who_goes_away_in_the_middle_of_a_request_is_no_error(daemon: Daemon, page: PageOf) -> None:
    with page.connected() as connection:
        head = f"POST {page.path}api HTTP/1.1\r\nHost: {page.host}\r\nContent-Length: 100\r\n"
        own = f"Cookie: hamdev={page.token}\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}{own}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
    assert page.api("status").status == 200
    assert "ClientDisconnect" not in daemon.log_text()


def test_who_asks_a_byte_at_a_time_is_dropped(page: PageOf) -> None:
    with page.connected() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: ")
        connection.settimeout(LIMIT_S)
        try:
            assert connection.recv(1000) == b""
        except ConnectionResetError:
            pass


def test_who_does_not_read_events_costs_nobody_anything(daemon: Daemon, page: PageOf) -> None:
    daemon.serve("talking", "def loud() -> int:\n    return 1\n")
    with page.connected() as connection:
        head = f"GET {page.path}events HTTP/1.1\r\nHost: {page.host}\r\n"
        connection.sendall(f"{head}Cookie: hamdev={page.token}\r\n\r\n".encode())
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        for number in range(3):
            loud = "for _ in range(50): print('x' * 100_000)"
            daemon.save("talking", f"def loud() -> int:\n    {loud}\n    return {number}\n")
            assert daemon.value("loud") == number


@needs_root
def test_another_user_is_told_nothing(page: PageOf) -> None:
    # What is imported here is imported before the fork.
    def ask() -> str:
        with page.connected() as connection:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {page.host}\r\n\r\n".encode())
            return connection.recv(1000).decode()

    assert as_other_user(ask).startswith("HTTP/1.1 403")


@needs_root
def test_another_user_who_keeps_connecting_takes_no_place_of_the_owner(page: PageOf) -> None:
    request = (
        f"GET {page.path} HTTP/1.1\r\nHost: {page.host}\r\nCookie: hamdev={page.token}\r\n\r\n"
    )

    def connect(say: Callable[[Any], None]) -> None:
        held = []
        for _ in range(200):
            held.append(socket.socket())
            held[-1].connect(("127.0.0.1", page.port))
        say(len(held))
        held[0].recv(1)
        signal.pause()

    def asks(connection: socket.socket) -> bytes:
        connection.sendall(request.encode())
        received = b""
        while not received.endswith(b"</html>\n"):
            chunk = connection.recv(1 << 16)
            assert chunk, "the connection was closed"
            received += chunk
        return received[:15]

    with page.connected() as idle:
        assert asks(idle) == b"HTTP/1.1 200 OK"
        with other_users_process(connect) as connected:
            assert connected == 200
            # Whoever came before this one has been looked at.
            assert page.api("status").status == 200
            assert asks(idle) == b"HTTP/1.1 200 OK"


@needs_root
def test_another_user_may_still_be_the_one_who_has_the_token(page: PageOf) -> None:
    def ask() -> str:
        with socket.socket() as connection:
            connection.connect(("127.0.0.1", page.port))
            head = f"GET /?token={page.token} HTTP/1.1\r\nHost: {page.host}\r\n\r\n"
            connection.sendall(head.encode())
            return connection.recv(1000).decode()

    assert as_other_user(ask).startswith("HTTP/1.1 303")


def test_secrets_are_kept_for_the_owner_alone_and_for_the_next_daemon(project: Path) -> None:
    settings(project, "")
    with running(project) as daemon:
        first = PageOf(daemon)
        file = daemon.socket.with_suffix(".page")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        announced = json.loads((project / ".hamdev" / "daemon.json").read_text())
        assert announced["web"] == f"http://127.0.0.1:{first.port}/"
        daemon.end()
        daemon.process = _again(daemon)
        second = PageOf(daemon)
        assert (second.port, second.token, second.path) == (first.port, first.token, first.path)
        daemon.end()
        # Another process takes the port, and the page may have told it the secrets.
        with socket.create_server(("127.0.0.1", first.port)):
            daemon.process = _again(daemon)
            third = PageOf(daemon)
            assert third.port != first.port
            assert third.token != first.token
            assert third.path != first.path
        daemon.end()
        file.chmod(0o644)
        daemon.process = _again(daemon)
        assert PageOf(daemon).token != third.token, "somebody may have read it"


def test_a_port_that_is_taken_leaves_the_daemon_without_a_page(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings(project, f"[server]\nweb_port = {port}")
        with running(project) as daemon:
            assert daemon.value("one") == 1
            assert daemon.ask("hello")["web"] is None
            log = daemon.log_text()
            assert f"port {port} cannot be had" in log
            assert "web_port = 0" in log


def test_a_port_of_ones_own_and_no_page_at_all(project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings(project, f"[server]\nweb_port = {port}")
    with running(project) as daemon:
        assert PageOf(daemon).port == port
    settings(project, "[server]\nweb = false")
    with running(project) as daemon:
        assert daemon.ask("hello")["web"] is None
        assert json.loads((project / ".hamdev" / "daemon.json").read_text())["web"] is None
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def _again(daemon: Daemon) -> subprocess.Popen[bytes]:
    with daemon.log.open("ab") as log:
        return subprocess.Popen(
            daemon.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=daemon.environment,
            start_new_session=True,
        )
