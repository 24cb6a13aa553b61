"""Slow values that outlive this process: written beside the run, found again by what made them."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from hamdev.core.plan import PlannedNode
from hamdev.messages import Summary
from hamdev.pipeline.file_states import present_state
from hamdev.pipeline.own_reads import unobserved
from hamdev.worker.interruption import Interruption
from hamdev.worker.memory import GONE, Remembered
from hamdev.worker.store import MISSING, Store

_UNIQUE = b"#"


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is kept beside a value, small enough to be looked at in every plan."""

    token: bytes
    files: dict[str, str | None]
    seconds: float
    size: int
    summary: bytes


class Keeping:
    """Keeps values on disk, addressed by code version and input tokens.

    Args:
        store: where; it is bounded by itself.
        slower_than_s: only values that took longer are kept.
        token_of: fingerprints a value again, to see that it did not change while it was written.
        interruption: of the run that looks for values; it need not wait for a large one.
    """

    def __init__(
        self,
        store: Store,
        slower_than_s: float,
        token_of: Callable[[Any], bytes],
        interruption: Interruption,
    ) -> None:
        self._interruption = interruption
        self._store = store
        self._slower_than_s = slower_than_s
        self._token_of = token_of
        # The value itself, too: memory may give it up before it has been written.
        self._written: queue.SimpleQueue[tuple[str, Remembered, Any] | threading.Event] = (
            queue.SimpleQueue()
        )
        threading.Thread(target=self._write, name="hamdev keeping", daemon=True).start()

    def limit(self, slower_than_s: float, max_bytes: int) -> None:
        """Keep only this much from the next value on."""
        self._slower_than_s = slower_than_s
        self._store.max_bytes = max_bytes

    def keep(self, node: PlannedNode, remembered: Remembered) -> None:
        """Write a value to disk some time soon, if it is worth it and can be found again."""
        if remembered.seconds < self._slower_than_s or not remembered.has_fingerprint:
            return
        if not all(state.is_known for state in remembered.files.values()):
            return
        key = _key(node, remembered.inputs)
        if key is not None:
            self._written.put((key, remembered, remembered.value))

    def find(
        self, node: PlannedNode, tokens: Mapping[str, bytes | None], run: int, revision: int
    ) -> Remembered | None:
        """What was kept of a node with these inputs, if its files hold what they held then."""
        self._interruption.raise_if_wanted()  # large files take a while
        inputs = {i: t for i in node.inputs if (t := tokens.get(i)) is not None}
        key = _key(node, inputs)
        if key is None:
            return None
        with unobserved():
            facts = self._store.get(key + "fa")
            if not isinstance(facts, _Facts):
                return None
        files = {path: present_state(path) for path in facts.files}
        if any(files[path].digest != digest for path, digest in facts.files.items()):
            return None
        return Remembered(
            value=GONE,
            token=facts.token,
            has_fingerprint=True,
            version=node.version,
            inputs=inputs,
            files=files,
            seconds=facts.seconds,
            size=facts.size,
            run=run,
            revision=revision,
            summary=msgspec.msgpack.decode(facts.summary, type=Summary),
            key=_value_key(key, facts.token),
            is_restored=True,
        )

    def load(self, remembered: Remembered) -> bool:
        """Bring a value that is on disk into memory; False if it is no longer to be had.

        Raises:
            RunCancelled: nobody waits for it any more.
        """
        if remembered.is_in_memory:
            return True
        if not remembered.key:
            return False
        with unobserved():
            value = self._store.get(remembered.key, lambda: self._interruption.is_wanted)
        self._interruption.raise_if_wanted()
        if value is MISSING:
            return False
        remembered.value = value
        return True

    def clear(self) -> None:
        """Forget everything."""
        self.finish()
        self._store.clear()

    def finish(self) -> None:
        """Wait until all that was handed in has been written."""
        done = threading.Event()
        self._written.put(done)
        done.wait()

    def _write(self) -> None:
        with unobserved():
            while True:
                item = self._written.get()
                if isinstance(item, threading.Event):
                    item.set()
                    continue
                try:
                    self._write_one(*item)
                except Exception:
                    pass  # it will be computed again; nothing else depends on it
                del item  # or a large value would stay until the next one comes

    def _write_one(self, key: str, remembered: Remembered, value: Any) -> None:
        value_key = _value_key(key, remembered.token)
        # A node may change it meanwhile.
        if not self._store.put(value_key, value, lambda: self._token_of(value) == remembered.token):
            return
        facts = _Facts(
            token=remembered.token,
            files={path: state.digest for path, state in remembered.files.items()},
            seconds=remembered.seconds,
            size=remembered.size,
            summary=msgspec.msgpack.encode(remembered.summary),
        )
        if self._store.put(key + "fa", facts):
            remembered.key = value_key


def _key(node: PlannedNode, inputs: Mapping[str, bytes]) -> str | None:
    digest = hashlib.blake2b(node.version.encode(), digest_size=20)
    for name in sorted(inputs.keys() - node.ignored):
        if inputs[name].startswith(_UNIQUE):
            return None  # tells nothing to another process
        digest.update(f"\0{name}\0".encode() + inputs[name])
    return digest.hexdigest()


def _value_key(key: str, token: bytes) -> str:
    """Where the value itself is: facts never lead to another value than the one that they are of.

    The same node with the same inputs may have several values, of what a file held at each time.
    """
    return hashlib.blake2b(f"{key} {token.hex()}".encode(), digest_size=20).hexdigest()
