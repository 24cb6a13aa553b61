"""Bytes ⇄ messages; nothing here reads or writes a socket.

Outside: JSON-RPC 2.0, one message a line. Between daemon and worker: MessagePack behind a
four-byte length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from hamdev.brevity import LEVELS, shortened
from hamdev.messages import Command, Event, Report

MAX_LINE = 1024 * 1024
# Far above every message; a larger length is noise.
MAX_FRAME = 256 * 1024 * 1024
# An answer repeats the id, and is a line itself.
MAX_ID = 1024
_MAX_ERROR_TEXT = 2000
PARSE_ERROR = -32700
INVALID_REQUEST = -32600
UNKNOWN_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNKNOWN_NAME = 1
NO_VALUE = 2
NO_SUCH_FORMAT = 3
TIMED_OUT = 4
OTHER_PROTOCOL = 5

T = TypeVar("T")
_length = struct.Struct(">I")
_json = msgspec.json.Encoder()
_msgpack = msgspec.msgpack.Encoder()


class RpcError(Exception):
    """An error response: `code` and `data` as section 4 of the contract lists them.

    Attributes:
        identity: the `id` of the request, as far as that could be read.
    """

    def __init__(
        self, code: int, message: str, data: Any = None, identity: str | int | float | None = None
    ) -> None:
        self.identity = identity
        self.code = code
        self.message = message
        self.data = data
        super().__init__(message)


class LineTooLongError(Exception):
    """A line exceeded `MAX_LINE`, so where the next one begins is not known.

    Attributes:
        lines: those that were complete before it.
    """

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = lines
        super().__init__(f"a line is longer than {MAX_LINE} bytes")


@dataclass(frozen=True, slots=True)
class Request:
    """One call; `has_id` is False for a notification, which gets no answer."""

    method: str
    params: dict[str, Any]
    id: str | int | float | None
    has_id: bool


class LineSplitter:
    """Cuts a byte stream into lines, however the stream is cut into chunks."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that `chunk` completes, without their ends; empty lines are left out.

        Raises:
            LineTooLongError: a line is longer than `MAX_LINE` bytes.
        """
        complete: list[bytes] = []
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._rest += end
            if len(self._rest) > MAX_LINE:
                raise LineTooLongError(complete)
            if line := bytes(self._rest).strip():
                complete.append(line)
            self._rest.clear()
        self._rest += rest
        if len(self._rest) > MAX_LINE:
            raise LineTooLongError(complete)
        return complete


def parse_line(line: bytes) -> list[Request | RpcError] | Request | RpcError:
    """The request in a line, a list for a batch, or the error to answer with."""
    try:
        data = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return RpcError(PARSE_ERROR, f"not a line of JSON: {error}")
    if isinstance(data, list):
        if not data:
            return RpcError(INVALID_REQUEST, "an empty batch")
        return [_request(item) for item in data]
    return _request(data)


def _request(data: Any) -> Request | RpcError:
    if not isinstance(data, dict):
        return RpcError(INVALID_REQUEST, "a request is a JSON object")
    identity = data.get("id")
    if isinstance(identity, bool) or not isinstance(identity, str | int | float | None):
        return RpcError(INVALID_REQUEST, "'id' is a string or a number")
    if isinstance(identity, str) and len(identity) > MAX_ID:
        return RpcError(INVALID_REQUEST, f"'id' is longer than {MAX_ID} characters")
    method = data.get("method")
    if data.get("jsonrpc") != "2.0" or not isinstance(method, str):
        text = "a request has 'jsonrpc': '2.0' and a 'method'"
        return RpcError(INVALID_REQUEST, text, identity=identity)
    params = data.get("params", {})
    if params is None or params == []:
        params = {}
    if not isinstance(params, dict):
        text = "'params' is an object with named parameters"
        return RpcError(INVALID_PARAMS, text, identity=identity)
    return Request(method, params, identity, "id" in data)


def result_line(identity: Any, result: Any) -> bytes:
    """The line that answers a request."""
    return _line({"jsonrpc": "2.0", "id": identity, "result": result})


def error_line(identity: Any, error: RpcError) -> bytes:
    """The line that answers a request with an error; `identity` None: what the error knows."""
    # Messages name what was asked for, which may be as long as a line.
    text = error.message
    if len(text) > _MAX_ERROR_TEXT:
        text = text[:_MAX_ERROR_TEXT] + "…"
    body: dict[str, Any] = {"code": error.code, "message": text}
    if error.data is not None:
        body["data"] = error.data
    known = error.identity if identity is None else identity
    return _line({"jsonrpc": "2.0", "id": known, "error": body})


def event_line(event: Event) -> bytes:
    """The line that notifies of an event."""
    return _line({"jsonrpc": "2.0", "method": "event", "params": event})


def _line(message: dict[str, Any]) -> bytes:
    line = to_json(message)
    for level in LEVELS:
        if len(line) < MAX_LINE:
            break
        line = to_json(shortened(message, level))
    return line + b"\n"


def to_json(value: Any) -> bytes:
    """`value`, a struct or plain data, as JSON."""
    try:
        return _json.encode(value)
    except UnicodeEncodeError:
        return _json.encode(_printable(value))


def encode_frame(message: Command | Report) -> bytes:
    """A message as one frame."""
    try:
        body = _msgpack.encode(message)
    except UnicodeEncodeError:
        body = _msgpack.encode(_printable(message))
    return _length.pack(len(body)) + body


def _printable(value: Any) -> Any:
    """`value` with lone surrogates, which no encoding has, written as escapes.

    User code prints them, and Python itself makes them from file names that are not UTF-8.
    """
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode("utf-8")
        case dict():
            return {_printable(key): _printable(item) for key, item in value.items()}
        case list() | tuple():
            return [_printable(item) for item in value]
        case msgspec.Struct():
            changes = {name: _printable(getattr(value, name)) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **changes)
        case _:
            return value


class FrameDecoder(Generic[T]):
    """Decodes frames, however the stream is cut into chunks.

    Args:
        kind: the union of structs to expect, `Command` or `Report`.
    """

    def __init__(self, kind: Any) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(kind)
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[T]:
        """The messages that `chunk` completes.

        Raises:
            msgspec.DecodeError: a frame holds something else.
        """
        self._rest += chunk
        messages = []
        position = 0
        while len(self._rest) - position >= _length.size:
            (length,) = _length.unpack_from(self._rest, position)
            if length > MAX_FRAME:
                raise msgspec.DecodeError(f"a frame of {length} bytes")
            start = position + _length.size
            if len(self._rest) - start < length:
                break
            messages.append(self._decoder.decode(bytes(self._rest[start : start + length])))
            position = start + length
        del self._rest[:position]
        return messages
