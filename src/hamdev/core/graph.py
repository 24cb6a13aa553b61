"""Digests of everything that can be reached: a Merkle tree over a graph that may have circles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


def reachable(starts: Iterable[K], edges: Callable[[K], Iterable[K]]) -> set[K]:
    """`starts` and everything that can be reached from them."""
    found = set(starts)
    todo = list(found)
    while todo:
        for key in edges(todo.pop()):
            if key not in found:
                found.add(key)
                todo.append(key)
    return found


def reverse(edges: Mapping[K, Iterable[K]]) -> dict[K, list[K]]:
    """What leads to each vertex."""
    result: dict[K, list[K]] = {}
    for key, following in edges.items():
        for other in following:
            if other in result:
                result[other].append(key)
            else:
                result[other] = [key]
    return result


class Backward(Generic[K]):
    """What leads to each vertex, for a graph and all that come from it by some other edges.

    Edges are only ever added. Those that a graph does not have are left out as it is asked about,
    so that the graphs may share this, and none has to be turned around as a whole.
    """

    def __init__(self) -> None:
        self._sources: dict[K, set[K]] = {}

    def add(self, key: K, following: Iterable[K]) -> None:
        """There is a graph in which `key` leads to these vertices."""
        sources = self._sources
        for other in following:
            if other in sources:
                sources[other].add(key)
            else:
                sources[other] = {key}

    def into(self, key: K, edges: Mapping[K, Collection[K]]) -> list[K]:
        """What leads to `key` in one of the graphs."""
        return [other for other in self._sources.get(key, ()) if key in edges.get(other, ())]


def components(keys: Iterable[K], edges: Mapping[K, Collection[K]]) -> list[list[K]]:
    """Strongly connected components, each after those that it leads to (Tarjan, not recursive)."""
    index: dict[K, int] = {}
    low: dict[K, int] = {}
    on_stack: set[K] = set()
    stack: list[K] = []
    found: list[list[K]] = []
    for start in keys:
        if start in index:
            continue
        index[start] = low[start] = len(index)
        stack.append(start)
        on_stack.add(start)
        work = [(start, iter(edges.get(start, ())))]
        while work:
            key, following = work[-1]
            for other in following:
                if other not in index:
                    index[other] = low[other] = len(index)
                    stack.append(other)
                    on_stack.add(other)
                    work.append((other, iter(edges.get(other, ()))))
                    break
                if other in on_stack and index[other] < low[key]:
                    low[key] = index[other]
            else:
                work.pop()
                if work and low[key] < low[work[-1][0]]:
                    low[work[-1][0]] = low[key]
                if low[key] == index[key]:
                    component = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        component.append(member)
                        if member == key:
                            break
                    found.append(component)
    return found


def merkle(
    keys: Iterable[K],
    edges: Mapping[K, Collection[K]],
    own: Callable[[K], bytes],
    known: Mapping[K, bytes] | None = None,
) -> dict[K, bytes]:
    """Vertex → a digest of it and of all that it leads to.

    Args:
        keys: the vertices wanted; all that they lead to must be among them, or known.
        edges: what each vertex leads to.
        own: a vertex's own digest, of a fixed length, which must contain its identity.
        known: vertices whose digest is known already.
    """
    blake = hashlib.blake2b
    known = known or {}
    inner = {key: [k for k in edges[key] if k not in known] for key in keys} if known else edges
    result: dict[K, bytes] = {}
    for component in components(keys, inner):
        if len(component) == 1:
            key = component[0]
            parts = sorted([known[k] if k in known else result[k] for k in edges[key] if k != key])
            result[key] = blake(own(key) + b"".join(parts), digest_size=16).digest()
            continue
        members = set(component)
        described = []
        for key in component:
            inside = sorted([own(k) for k in edges[key] if k in members])
            outside = sorted(
                [known[k] if k in known else result[k] for k in edges[key] if k not in members]
            )
            described.append(own(key) + b"%d:" % len(inside) + b"".join(inside + outside))
        whole = blake(b"\0".join(sorted(described)), digest_size=16).digest()
        for key in component:
            result[key] = blake(own(key) + whole, digest_size=16).digest()
    return result
