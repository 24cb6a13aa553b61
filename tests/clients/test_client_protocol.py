from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev import messages, wire
from hamdev.clients import protocol
from hamdev.errors import DaemonError, HamdevError, SyncTimeoutError
from hamdev.paths import default_socket


def test_numbers_are_those_of_the_daemon() -> None:
    ours = (protocol.UNKNOWN_NAME, protocol.NO_VALUE, protocol.NO_SUCH_FORMAT, protocol.TIMED_OUT)
    assert protocol.PROTOCOL == messages.PROTOCOL
    assert ours == (wire.UNKNOWN_NAME, wire.NO_VALUE, wire.NO_SUCH_FORMAT, wire.TIMED_OUT)


@given(st.lists(st.dictionaries(st.text(), st.text())), st.data())
def test_any_cut_of_the_stream_gives_the_same_messages(
    sent: list[dict[str, str]], data: st.DataObject
) -> None:
    stream = b"".join(json.dumps(message).encode() + b"\n" for message in sent)
    received, incoming = [], protocol.Messages()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        incoming.feed(stream[:size])
        stream = stream[size:]
        while (message := incoming.next()) is not None:
            received.append(message)
    assert received == sent


@pytest.mark.parametrize("line", [b"SSH-2.0-OpenSSH_9.6", b"[1]", b"\xff\xfe"])
def test_someone_else_on_the_socket_is_named(line: bytes) -> None:
    incoming = protocol.Messages()
    incoming.feed(line + b"\n")
    with pytest.raises(HamdevError, match=r"no hamdev daemon.*HAMDEV_SOCKET"):
        incoming.next()


def test_requests_are_read_by_the_daemon_as_meant() -> None:
    calls = [
        protocol.hello(),
        protocol.status(None),
        protocol.sync({"/a.py": "0" * 64}, 3),
        protocol.rerun(["x"], None, clean=True),
        protocol.subscribe(7),
    ]
    for number, call in enumerate(calls):
        line = call.line(number)
        assert line.endswith(b"\n")
        request = wire.parse_line(line)
        assert isinstance(request, wire.Request)
        assert (request.method, request.id) == (call.method, number)
        assert None not in request.params.values()


def test_errors_keep_code_and_data() -> None:
    line = wire.error_line(1, wire.RpcError(1, "no node 'totl'", {"nearest": ["total"]}))
    with pytest.raises(DaemonError, match="no node 'totl'") as caught:
        protocol.result_of(json.loads(line))
    assert (caught.value.code, caught.value.data) == (1, {"nearest": ["total"]})


def test_time_over_is_a_timeout() -> None:
    with pytest.raises(SyncTimeoutError) as caught:
        protocol.result_of({"error": {"code": 4, "message": "no results within 1 s"}})
    assert isinstance(caught.value, TimeoutError)


def test_places_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HAMDEV_SOCKET", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    usual = str(default_socket(tmp_path))
    assert protocol.find_place(tmp_path).sockets == (usual,)

    (tmp_path / ".hamdev").mkdir()
    information = tmp_path / ".hamdev" / "daemon.json"
    information.write_text('{"socket": "/told.sock"}')
    assert protocol.find_place(tmp_path).sockets == ("/told.sock", usual)
    for broken in ("", "[]", '{"socket": 3}', "{}"):
        information.write_text(broken)
        assert protocol.find_place(tmp_path).sockets == (usual,)

    monkeypatch.setenv("HAMDEV_SOCKET", "/explicit.sock")
    assert protocol.find_place(tmp_path).sockets == ("/explicit.sock",)


def test_files_are_named_and_hashed_as_they_are_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    real = tmp_path / "elsewhere.py"
    real.write_text("x = 1\n")
    (tmp_path / "linked.py").symlink_to(real)
    files = protocol.sync(["linked.py"], 1).params["files"]
    # what sha256sum says
    digest = "9e26bf369911c45c243c684147b23fc9e1dcfcf257d299a1c632016a6fcd33f4"
    assert files == {str(tmp_path.resolve() / "linked.py"): digest}
