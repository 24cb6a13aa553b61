"""Where node functions are called: in place, in threads, on a Dask or a Ray cluster.

Only the functions travel. The DAG, its hooks and its values stay with the caller, so adapters
see the same whatever the executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_packing = threading.Lock()
Function = Callable[..., Any]
Outcome = tuple[Any, BaseException | None]
CallElsewhere = Callable[[Callable[..., Any], dict[str, Any]], Awaitable[Any]]


@contextlib.asynccontextmanager
async def opened(
    executor: str, options: Mapping[str, Any], modules: Sequence[str]
) -> AsyncIterator[CallElsewhere | None]:
    """What calls synchronous node functions, while the block is open; None: call them in place.

    Args:
        executor: `inline`, `threads`, `dask` or `ray`.
        options: keywords for `ThreadPoolExecutor`, `distributed.Client` or `ray.init`.
        modules: names of the project's modules; a cluster gets their functions and classes by
            value, since its workers would import what is on *their* disks.

    Raises:
        ImportError: the executor's package is not installed.
        ValueError: options that the executor does not take.
    """
    match executor:
        case "threads":
            with _threads(options) as call:
                yield call
        case "dask":
            async with _dask(options, modules) as call:
                yield call
        case "ray":
            with _ray(options, modules) as call:
                yield call
        case _:
            yield None


@contextlib.contextmanager
def _threads(options: Mapping[str, Any]) -> Iterator[CallElsewhere]:
    try:
        pool = ThreadPoolExecutor(**options)
    except TypeError as error:
        raise ValueError(f"executor 'threads' does not take these options: {error}") from error

    async def call(function: Function, values: dict[str, Any]) -> Any:
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(pool, context.run, _outcome, function, values)
        return _value_of(outcome)

    try:
        yield call
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _outcome(function: Function, values: dict[str, Any]) -> Outcome:
    """What calling came to; a StopIteration that is *raised* would never arrive in a future."""
    try:
        return function(**values), None
    except BaseException as error:
        return None, error


def _value_of(outcome: Outcome) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value


@contextlib.asynccontextmanager
async def _dask(options: Mapping[str, Any], modules: Sequence[str]) -> AsyncIterator[CallElsewhere]:
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("executor 'dask' needs Dask: pip install 'hamdev[dask]'") from error
    travelling = _travelling()
    async with Client(asynchronous=True, **options) as client:

        async def call(function: Function, values: dict[str, Any]) -> Any:
            # pure=False: equal arguments do not mean that a node may be skipped.
            future = client.submit(travelling, _packed(function, values, modules), pure=False)
            try:
                return _value_of(_unpacked(await future))
            except asyncio.CancelledError:
                await client.cancel([future], force=True)
                raise

        yield call


@contextlib.contextmanager
def _ray(options: Mapping[str, Any], modules: Sequence[str]) -> Iterator[CallElsewhere]:
    try:
        import ray
    except ImportError as error:
        raise ImportError("executor 'ray' needs Ray: pip install 'hamdev[ray]'") from error
    travelling = _travelling()
    started = not ray.is_initialized()
    if started:
        ray.init(**options)
    try:
        remote = ray.remote(travelling)

        async def call(function: Function, values: dict[str, Any]) -> Any:
            return _value_of(_unpacked(await remote.remote(_packed(function, values, modules))))

        yield call
    finally:
        if started:
            ray.shutdown()


def _travelling() -> Callable[[bytes], bytes]:
    """Unpacks a call, makes it and packs its outcome; it works where hamdev is not installed."""

    # Functions inside functions are pickled by value, so it travels itself.
    def travelling(packed: bytes) -> bytes:
        import cloudpickle

        function, values = cloudpickle.loads(packed)
        outcome: Outcome
        try:
            outcome = (function(**values), None)
        except Exception as error:
            outcome = (None, error)
        return cloudpickle.dumps(outcome)  # type: ignore[no-any-return]  # it ships no types

    return travelling


def _packed(function: Function, values: dict[str, Any], modules: Sequence[str]) -> bytes:
    import cloudpickle

    # What is to travel by value is a setting of the whole process.
    with _packing:
        known = cloudpickle.list_registry_pickle_by_value()
        registered = [sys.modules[m] for m in modules if m in sys.modules and m not in known]
        for module in registered:
            cloudpickle.register_pickle_by_value(module)
        try:
            return cloudpickle.dumps((function, values))  # type: ignore[no-any-return]
        finally:
            for module in registered:
                cloudpickle.unregister_pickle_by_value(module)


def _unpacked(packed: bytes) -> Outcome:
    import cloudpickle

    return cloudpickle.loads(packed)  # type: ignore[no-any-return]
