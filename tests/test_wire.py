"""Bytes ⇄ messages, however the bytes are cut and whatever they are."""

from __future__ import annotations

import itertools
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hamdev.messages import (
    Cancel,
    Command,
    Event,
    Fetched,
    Interrupted,
    Loaded,
    Output,
    PipelineSpec,
    Report,
    Run,
)
from hamdev.wire import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    MAX_FRAME,
    MAX_LINE,
    NO_VALUE,
    PARSE_ERROR,
    FrameDecoder,
    LineSplitter,
    LineTooLongError,
    Request,
    RpcError,
    encode_frame,
    error_line,
    event_line,
    parse_line,
    result_line,
    to_json,
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)

# -- lines ---------------------------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30)), CUTS)
def test_any_cut_gives_the_same_lines(texts, places):
    encoded = [json.dumps(text).encode() for text in texts]
    splitter = LineSplitter()
    got = [
        line
        for chunk in cut(b"".join(e + b"\n" for e in encoded), places)
        for line in splitter.feed(chunk)
    ]
    assert got == encoded


def test_empty_lines_and_carriage_returns_do_not_matter():
    assert LineSplitter().feed(b"\n\r\n  {}\r\n\n[]\n") == [b"{}", b"[]"]


def test_a_line_of_the_greatest_length_is_a_line():
    line = b"x" * MAX_LINE
    splitter = LineSplitter()
    assert splitter.feed(line) == []
    assert splitter.feed(b"\n{}\n") == [line, b"{}"]


@pytest.mark.parametrize("end", [b"", b"\n", b"\n{}\n"])
def test_a_longer_line_is_an_error_that_has_the_lines_before_it(end):
    with pytest.raises(LineTooLongError) as caught:
        LineSplitter().feed(b"{}\n" + b"x" * (MAX_LINE + 1) + end)
    assert caught.value.lines == [b"{}"]


# -- requests ------------------------------------------------------------------------------------


def test_a_request():
    line = b'{"jsonrpc": "2.0", "id": 7, "method": "result", "params": {"node": "n"}}'
    assert parse_line(line) == Request("result", {"node": "n"}, 7, has_id=True)


@pytest.mark.parametrize("params", [b"", b', "params": null', b', "params": []', b', "params": {}'])
def test_a_notification_without_params(params):
    assert parse_line(b'{"jsonrpc": "2.0", "method": "ping"' + params + b"}") == Request(
        "ping", {}, None, has_id=False
    )


@pytest.mark.parametrize(
    ("line", "code", "identity"),
    [
        (b"{", PARSE_ERROR, None),
        (b"\xff", PARSE_ERROR, None),
        (b"[" * 100_000, PARSE_ERROR, None),
        (b"[]", INVALID_REQUEST, None),
        (b"7", INVALID_REQUEST, None),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', INVALID_REQUEST, 1),
        (b'{"jsonrpc": "2.0", "id": "x"}', INVALID_REQUEST, "x"),
        (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}', INVALID_REQUEST, None),
        (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', INVALID_REQUEST, None),
        (b'{"jsonrpc": "2.0", "id": 3, "method": "ping", "params": [1]}', INVALID_PARAMS, 3),
    ],
)
def test_what_is_no_request_gets_an_error_with_its_id(line, code, identity):
    error = parse_line(line)
    assert isinstance(error, RpcError)
    assert error.code == code
    answer = json.loads(error_line(None, error))
    assert answer["id"] == identity
    assert answer["error"]["code"] == code


def test_a_batch_has_an_answer_for_each():
    parsed = parse_line(b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}, 7]')
    assert isinstance(parsed, list)
    assert [type(item) for item in parsed] == [Request, RpcError]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["jsonrpc", "id", "method", "params", "x"]), inner | st.just("2.0")
        )
    ),
    max_leaves=12,
)


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_no_line_can_raise_and_every_answer_is_a_line(line):
    parsed = parse_line(line)
    for item in parsed if isinstance(parsed, list) else [parsed]:
        if isinstance(item, RpcError):
            answer = error_line(None, item)
        else:
            answer = result_line(item.id, item.params)
        assert answer.count(b"\n") == 1
        json.loads(answer)


# -- answers -------------------------------------------------------------------------------------


def test_an_error_has_data_only_if_there_is_any():
    assert json.loads(error_line(1, RpcError(NO_VALUE, "none yet"))) == {
        "jsonrpc": "2.0",
        "id": 1,
        "error": {"code": 2, "message": "none yet"},
    }
    assert json.loads(error_line(1, RpcError(NO_VALUE, "", [])))["error"]["data"] == []


def test_an_event_has_no_fields_that_its_type_has_not():
    line = event_line(Event(type="files.changed", revision=2, files=["/p/a.py"]))
    assert json.loads(line) == {
        "jsonrpc": "2.0",
        "method": "event",
        "params": {
            "type": "files.changed",
            "revision": 2,
            "seq": 0,
            "time": 0.0,
            "files": ["/p/a.py"],
        },
    }


def test_text_that_no_encoding_has_is_escaped():
    lone = "caf\udce9"
    assert (
        json.loads(event_line(Event(type="output", revision=1, text=lone)))["params"]["text"]
        == r"caf\udce9"
    )
    assert json.loads(to_json({lone: [lone, 1]})) == {r"caf\udce9": [r"caf\udce9", 1]}
    frame = encode_frame(Output(run=1, node=None, stream="stdout", text=lone))
    (output,) = FrameDecoder[Report](Report).feed(frame)
    assert output == Output(run=1, node=None, stream="stdout", text=r"caf\udce9")
    fetched = Fetched(request=1, value="[1]", error=lone)
    (answer,) = FrameDecoder[Report](Report).feed(encode_frame(fetched))
    assert isinstance(answer, Fetched)
    assert answer.error == r"caf\udce9"


# -- frames --------------------------------------------------------------------------------------

REPORTS = st.one_of(
    st.builds(Interrupted, run=st.integers(0, 9)),
    st.builds(
        Output,
        run=st.none() | st.integers(0, 9),
        node=st.none() | st.text(),
        stream=st.sampled_from(["stdout", "stderr"]),
        text=st.text(),
    ),
    st.builds(
        Loaded,
        run=st.integers(0, 9),
        files=st.dictionaries(st.text(), st.none() | st.text()),
        third_party=st.lists(st.text(), max_size=3),
    ),
)


@given(st.lists(REPORTS, max_size=6), CUTS)
def test_any_cut_gives_the_same_messages(messages: list[Any], places):
    decoder = FrameDecoder[Report](Report)
    data = b"".join(encode_frame(message) for message in messages)
    got = [message for chunk in cut(data, places) for message in decoder.feed(chunk)]
    escaped = FrameDecoder[Report](Report).feed(data)
    assert got == escaped
    assert len(got) == len(messages)


def test_commands_come_back_as_they_were():
    sent: list[Command] = [
        Run(run=1, revision=2, spec=PipelineSpec(name="a", values=b"\x80pickle", timeout_s=1.5)),
        Cancel(run=1),
    ]
    decoder = FrameDecoder[Command](Command)
    assert decoder.feed(b"".join(encode_frame(command) for command in sent)) == sent


@pytest.mark.parametrize("data", [b"\x00\x00\x00\x01\xc1", (MAX_FRAME + 1).to_bytes(4, "big")])
def test_noise_is_an_error_and_never_a_wait_for_more(data):
    with pytest.raises(msgspec.DecodeError):
        FrameDecoder[Report](Report).feed(data)
