"""Bytes from a fuzzer that looks for new paths, into what decodes the socket's and workers' bytes.

    pip install 'hamdev[fuzz]'
    python -m benchmarks.fuzz --seconds 60

Each target has half of the time. Nothing may raise but what is documented, every answer is one
line that is not too long and has the id of its request, any cut of the bytes gives the same, and
memory stays bounded. Exits with 1 if something was found; the input that did it is shown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.processes import environment

MEMORY_LIMIT_MB = 1024
_GRACE_S = 60.0

_LINES = [
    b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n',
    b'{"jsonrpc":"2.0","id":"a","method":"sync","params":{"files":{"a.py":null},"timeout":1.5}}\n',
    b'{"jsonrpc":"2.0","id":2,"method":"result","params":{"node":"n","format":"json"}}\n',
    b'[{"jsonrpc":"2.0","method":"rerun","params":{"nodes":["a"],"clean":true}},7]\r\n\n',
    b'{"jsonrpc":"2.0","id":1.5,"method":"subscribe","params":{"since":0}}\n{"half',
    b'{"jsonrpc":"2.0","id":null,"method":"hello","params":{"protocol":1,"client":{"a":[]}}}\n',
]


def _fuzz_lines() -> tuple[Callable[[bytes], None], list[bytes]]:
    from hamdev.daemon import requests
    from hamdev.wire import (
        MAX_LINE,
        LineSplitter,
        LineTooLongError,
        Request,
        RpcError,
        error_line,
        parse_line,
        result_line,
    )

    kinds: list[Any] = [
        kind
        for kind in vars(requests).values()
        if isinstance(kind, type)
        and issubclass(kind, msgspec.Struct)
        and kind.__module__ == requests.__name__
    ]
    assert len(kinds) > 5

    def check(answer: bytes, identity: Any) -> None:
        assert answer.endswith(b"\n")
        assert answer.count(b"\n") == 1
        assert len(answer) <= MAX_LINE + 1
        told = json.loads(answer)["id"]
        assert told == identity or _has_surrogates(identity), (told, identity)

    def answer(item: Request | RpcError) -> None:
        if isinstance(item, RpcError):
            check(error_line(None, item), item.identity)
            return
        for kind in kinds:
            try:
                requests.convert(kind, item.params)
            except RpcError as error:
                check(error_line(item.id, error), item.id)
        check(result_line(item.id, {}), item.id)

    def one_input(data: bytes) -> None:
        cut = data[0] if data else 0
        try:
            lines = LineSplitter().feed(data)
            splitter = LineSplitter()
            assert splitter.feed(data[:cut]) + splitter.feed(data[cut:]) == lines
        except LineTooLongError as error:
            lines = error.lines
        for line in lines:
            parsed = parse_line(line)
            for item in parsed if isinstance(parsed, list) else [parsed]:
                answer(item)

    return one_input, _LINES


def _has_surrogates(identity: Any) -> bool:
    return isinstance(identity, str) and any("\ud800" <= char <= "\udfff" for char in identity)


def _fuzz_frames() -> tuple[Callable[[bytes], None], list[bytes]]:
    from hamdev.messages import Command, Fetched, Interrupted, Output, PipelineSpec, Report, Run
    from hamdev.wire import FrameDecoder, encode_frame

    def decoded(kind: Any, chunks: list[bytes]) -> Any:
        decoder = FrameDecoder[Any](kind)
        try:
            return [message for chunk in chunks for message in decoder.feed(chunk)]
        except ValueError as error:  # msgspec's errors are ValueErrors
            return type(error)

    def one_input(data: bytes) -> None:
        cut = data[0] if data else 0
        for kind in (Report, Command):
            messages = decoded(kind, [data])
            in_pieces = decoded(kind, [data[:cut], data[cut:]])
            assert repr(messages) == repr(in_pieces)
            if isinstance(messages, list):
                again = decoded(kind, [b"".join(map(encode_frame, messages))])
                assert repr(again) == repr(messages)

    corpus = [
        encode_frame(message)
        for message in (
            Interrupted(run=1),
            Output(run=None, node="n", stream="stderr", text="é"),
            Fetched(request=1, value="[1]"),
            Run(run=1, revision=2, spec=PipelineSpec(name="a", values=b"\x80", timeout_s=1.5)),
        )
    ]
    return one_input, [*corpus, b"".join(corpus[:3])]


TARGETS = {"lines": _fuzz_lines, "frames": _fuzz_frames}


def _fuzz(target: str, seconds: int, corpus: Path) -> None:
    """Never returns: the fuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["hamdev"]):
        one_input, examples = TARGETS[target]()
    for number, example in enumerate(examples):
        (corpus / f"example-{number}").write_bytes(example)
    options = [
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_LIMIT_MB}",
        "-max_len=4096",
        "-timeout=5",
        "-print_final_stats=1",
        f"-artifact_prefix={corpus}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], one_input)
    atheris.Fuzz()


def _run(target: str, seconds: int) -> bool:
    """Fuzz in a process of its own; whether nothing was found."""
    with tempfile.TemporaryDirectory(prefix="hamdev-fuzz-") as corpus:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--seconds", str(seconds)]
        ended = subprocess.run(
            [*command, "--target", target, "--corpus", corpus],
            capture_output=True,
            text=True,
            errors="replace",
            env=environment(),
            timeout=seconds + _GRACE_S,
            check=False,
        )
    figures = {
        key: int(value)
        for line in ended.stderr.splitlines()
        if line.startswith("stat::")
        for key, value in [line.removeprefix("stat::").split(":")]
    }
    print(json.dumps({"target": target, "status": ended.returncode, **figures}), flush=True)
    if ended.returncode:
        print(f"{ended.stdout}\n{ended.stderr}"[-5000:], file=sys.stderr)
    return ended.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.fuzz", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--seconds", type=int, default=60, help="in all (default: %(default)s)")
    parser.add_argument("--target", choices=TARGETS, help="only this one, in this process")
    parser.add_argument("--corpus", type=Path, help="where its inputs are kept")
    arguments = parser.parse_args()
    if arguments.target:
        corpus = arguments.corpus or Path(tempfile.mkdtemp(prefix="hamdev-fuzz-"))
        _fuzz(arguments.target, arguments.seconds, corpus)
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("no fuzzing without atheris: pip install 'hamdev[fuzz]'", file=sys.stderr)
        return 2
    share = max(arguments.seconds // len(TARGETS), 1)
    results = [_run(target, share) for target in TARGETS]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
