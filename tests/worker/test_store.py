from __future__ import annotations

import os
import pickle
import random
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hamdev.worker.store import MISSING, Store

KEY = "0123456789abcdef"
OTHER = "fedcba9876543210"
LARGE = 10**9
FRAME = pd.DataFrame({"a": np.arange(5000.0), "b": ["x", "y"] * 2500})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "values", LARGE)


def files(store: Store) -> list[str]:
    return sorted(path.name for path in store.folder.iterdir()) if store.folder.exists() else []


def entry(store: Store, key: str = KEY) -> Path:
    return store.folder / f"{key}.value"


def same(one: Any, two: Any) -> bool:
    return type(one) is type(two) and pickle.dumps(one) == pickle.dumps(two)


def child(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def finished(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=50)
    assert process.returncode == 0
    return output


# --- what it keeps -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 0, "text", b"", [1, {"a": (2.5,)}], {1, 2}], ids=repr)
def test_a_value_comes_back(store: Store, value: Any) -> None:
    assert store.put(KEY, value)
    assert same(store.get(KEY), value)
    assert Store(store.folder, LARGE).get(KEY) == value


def test_what_was_never_put_is_missing(store: Store) -> None:
    assert store.get(KEY) is MISSING
    assert store.put(OTHER, 1)
    assert store.get(KEY) is MISSING


def test_frames_come_back_aligned_writable_and_apart(store: Store) -> None:
    put = store.put(KEY, FRAME)
    assert put
    assert put.size == entry(store).stat().st_size == store.size()
    first, second = store.get(KEY), store.get(KEY)
    pd.testing.assert_frame_equal(first, FRAME)
    first.iloc[0, 0] = -1
    pd.testing.assert_frame_equal(second, FRAME)
    store.put(OTHER, [np.arange(5001, dtype="u1"), np.arange(5000.0)])
    for array in store.get(OTHER):
        assert array.flags.writeable
        assert array.__array_interface__["data"][0] % 64 == 0


def test_a_value_outlives_its_file(store: Store) -> None:
    store.put(KEY, np.arange(100_000))
    array = store.get(KEY)
    with entry(store).open("r+b") as file:
        file.truncate(0)
    store.clear()
    assert (array == np.arange(100_000)).all()


def test_a_forked_child_changes_a_copy_of_its_own(store: Store) -> None:
    store.put(KEY, np.zeros(100_000))
    code = """
        import os, sys
        from pathlib import Path
        from hamdev.worker.store import Store
        array = Store(Path(sys.argv[1]), 10**9).get(sys.argv[2])
        if not (pid := os.fork()):
            array[:] = 1
            os._exit(0)
        os.waitpid(pid, 0)
        print(array.sum())
        """
    assert finished(child(code, store.folder, KEY)) == "0.0\n"


@pytest.mark.parametrize(
    "value",
    [np.arange(8_000_000.0), [str(n) for n in range(100_000)], "x" * 40_000_000],
    ids=["buffers", "many objects", "one large text"],
)
def test_a_value_that_nobody_wants_any_more_is_not_loaded_to_its_end(
    store: Store, value: Any
) -> None:
    store.put(KEY, value)
    for count in range(1000):
        asked = iter(range(count))
        if store.get(KEY, lambda asked=asked: next(asked, None) is None) is not MISSING:
            break
        assert files(store) == [f"{KEY}.value"]
    else:
        raise AssertionError("it always asks once more")
    assert count > 5
    assert same(store.get(KEY), value)


def test_views_read_only_arrays_and_polars_come_back(store: Store) -> None:
    array = np.arange(20_000.0)
    fixed = np.arange(20_000.0)
    fixed.flags.writeable = False
    values = [array[::2], array.reshape(100, 200).T, fixed, pl.DataFrame({"a": array})]
    assert store.put(KEY, values)
    found = store.get(KEY)
    for one, two in zip(values[:3], found[:3], strict=True):
        assert (one == two).all()
        assert one.flags.writeable == two.flags.writeable
    assert found[3].equals(values[3])


def test_put_replaces_what_was_there(store: Store) -> None:
    store.put(KEY, 1)
    store.put(KEY, 2)
    assert store.get(KEY) == 2
    assert files(store) == [f"{KEY}.value"]


def test_files_are_for_nobody_else(store: Store) -> None:
    before = os.umask(0)
    try:
        store.put(KEY, 1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry(store).stat().st_mode) == 0o600


def test_clear_removes_what_is_the_stores_and_nothing_else(store: Store) -> None:
    store.put(KEY, 1)
    (store.folder / f"{OTHER}.0123.part").touch()
    (store.folder / "notes.txt").touch()
    store.clear()
    assert files(store) == ["notes.txt"]
    Store(store.folder / "never made", 1).clear()


@pytest.mark.parametrize(
    "key", ["", "xyz", "../../etc", "0123456789ABCDEF", "01234567/", "0" * 129]
)
def test_a_key_that_is_not_hex_is_a_mistake_of_the_caller(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="hex digits"):
        store.put(key, 1)
    with pytest.raises(ValueError, match="hex digits"):
        store.get(key)


# --- what it does not trust ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, bytes]:
    """A store, and the bytes of a file of its with inline data, buffers and a table."""
    store = Store(tmp_path_factory.mktemp("store") / "values", LARGE)
    assert store.put(KEY, [np.arange(1000.0), "text", np.arange(600.0), {"a": 1}])
    return store, entry(store).read_bytes()


def replaced(store: Store, content: bytes) -> Any:
    entry(store).write_bytes(content)
    entry(store).chmod(0o600)
    return store.get(KEY)


SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@given(data=st.data())
def test_a_file_cut_off_anywhere_is_missing_and_removed(
    written: tuple[Store, bytes], data: st.DataObject
) -> None:
    store, content = written
    edges = st.sampled_from([0, 1, 7, 8, 23, 39, 63, 64, 65, len(content) - 32, len(content) - 1])
    length = data.draw(edges | st.integers(0, len(content) - 1))
    assert replaced(store, content[:length]) is MISSING
    assert files(store) == []
    assert replaced(store, content) is not MISSING


@given(data=st.data())
def test_a_flipped_bit_anywhere_is_missing_and_removed(
    written: tuple[Store, bytes], data: st.DataObject
) -> None:
    store, content = written
    place = data.draw(st.integers(0, 63) | st.integers(0, len(content) - 1))
    damaged = bytearray(content)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    assert replaced(store, bytes(damaged)) is MISSING
    assert files(store) == []


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_a_foreign_file_is_missing_and_removed(
    written: tuple[Store, bytes], before: bytes, after: bytes
) -> None:
    store, content = written
    for foreign in (before, content + after + b"x", before + b"x" + content, content[:64] + after):
        assert replaced(store, foreign) is MISSING
        assert files(store) == []


class Tells:
    """Tells when it is unpickled."""

    told = 0

    def __reduce__(self) -> Any:
        return Tells.tell, ()

    @staticmethod
    def tell() -> Tells:
        Tells.told += 1
        return Tells()


def test_nothing_is_unpickled_before_it_has_been_verified(store: Store) -> None:
    store.put(KEY, Tells())
    Tells.told = 0
    content = bytearray(entry(store).read_bytes())
    content[-1] ^= 1  # the pickle's last byte, which is read after everything else has been done
    assert replaced(store, bytes(content)) is MISSING
    assert Tells.told == 0
    store.put(KEY, Tells())
    assert isinstance(store.get(KEY), Tells)
    assert Tells.told == 1


def test_a_file_under_another_key_is_foreign(store: Store) -> None:
    store.put(KEY, 1)
    entry(store).rename(entry(store, OTHER))
    assert store.get(OTHER) is MISSING
    assert files(store) == []


def test_a_file_of_another_version_is_foreign(store: Store) -> None:
    code = """
        import sys; from pathlib import Path
        import hamdev; hamdev.__version__ = sys.argv[2]
        from hamdev.worker.store import Store
        assert Store(Path(sys.argv[1]), 10**9).put(sys.argv[3], 1)
    """
    finished(child(code, store.folder, "0.0.0.other", KEY))
    assert store.get(KEY) is MISSING
    assert files(store) == []
    import hamdev

    finished(child(code, store.folder, hamdev.__version__, KEY))
    assert store.get(KEY) == 1


def test_links_and_pipes_are_foreign(store: Store, tmp_path: Path) -> None:
    store.put(OTHER, 1)
    entry(store).symlink_to(entry(store, OTHER))
    assert store.get(KEY) is MISSING
    os.mkfifo(entry(store), 0o600)
    assert store.get(KEY) is MISSING
    assert files(store) == [f"{OTHER}.value"]
    assert store.get(OTHER) == 1


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o666])
def test_a_file_that_others_may_open_is_foreign(store: Store, mode: int) -> None:
    store.put(KEY, 1)
    entry(store).chmod(mode)
    assert store.get(KEY) is MISSING


def test_a_folder_that_others_may_write_into_is_neither_read_nor_written(store: Store) -> None:
    store.put(KEY, 1)
    store.folder.chmod(0o777)
    assert store.get(KEY) is MISSING
    refused = store.put(OTHER, 1)
    assert not refused
    assert "others may write" in refused.reason
    store.folder.chmod(0o700)
    assert store.get(KEY) == 1
    assert store.get(OTHER) is MISSING


class Gone:
    pass


def test_a_pickle_that_does_not_load_is_missing_and_removed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(KEY, Gone())
    monkeypatch.delattr(sys.modules[__name__], "Gone")
    assert store.get(KEY) is MISSING
    assert files(store) == []


# --- what it cannot keep -------------------------------------------------------------------------


class Bad:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __reduce__(self) -> Any:
        raise self.error


class Interrupt(BaseException):
    pass


def test_what_cannot_be_pickled_leaves_nothing_behind(store: Store) -> None:
    store.put(KEY, 1)
    large = np.arange(100_000)
    values = [
        lambda: 1,
        threading.Lock(),
        (x for x in ()),
        Bad(ValueError("why")),
        Bad(MemoryError()),
    ]
    for value in values:
        put = store.put(KEY, [large, value])
        assert not put
        assert put.size == 0
        assert "cannot pickle a list" in put.reason
    assert "why" in store.put(KEY, Bad(ValueError("why"))).reason
    assert files(store) == [f"{KEY}.value"]
    assert store.get(KEY) == 1


def test_an_interrupt_passes_and_leaves_nothing_behind(store: Store) -> None:
    with pytest.raises(Interrupt):
        store.put(KEY, [np.arange(100_000), Bad(Interrupt())])
    assert files(store) == []


def test_a_value_larger_than_the_store_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "values", 100_000)
    store.put(OTHER, 1)
    refused = store.put(KEY, np.arange(100_000))
    assert not refused
    assert "100000 bytes" in refused.reason
    assert store.get(OTHER) == 1
    assert files(store) == [f"{OTHER}.value"]


@pytest.mark.parametrize("limit", [0, 10, 64, 1000, 70_000, 500_000])
def test_a_full_disk_is_a_reason_and_leaves_nothing_behind(store: Store, limit: int) -> None:
    store.put(OTHER, "kept")
    output = finished(
        child(
            """
            import resource, sys; from pathlib import Path
            import numpy as np
            from hamdev.worker.store import Store
            store = Store(Path(sys.argv[1]), 10**9)
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
            put = store.put(sys.argv[3], ["x" * 70_000, np.arange(100_000)])
            print(bool(put), "too large" in put.reason, store.get(sys.argv[4]))
            """,
            *(store.folder, limit, KEY, OTHER),
        )
    )
    assert output.split() == ["False", "True", "kept"]
    assert files(store) == [f"{OTHER}.value"]


def test_a_folder_that_cannot_be_written_is_a_reason_and_is_still_read(store: Store) -> None:
    store.put(OTHER, "kept")
    output = finished(
        child(
            """
            import os, sys; from pathlib import Path
            from hamdev.worker import store as module
            folder = Path(sys.argv[1])
            if os.getuid() == 0:  # whom permissions do not stop, so be somebody else
                nobody = 65534
                for path in (folder, *folder.iterdir()):
                    os.chown(path, nobody, nobody)
                os.setresgid(nobody, nobody, nobody)
                os.chdir(folder)
                os.setresuid(nobody, nobody, nobody)
                folder = Path(".")
            store = module.Store(folder / "sub", 10**9)
            folder.chmod(0o500)
            put = store.put(sys.argv[2], 1)
            kept = module.Store(folder, 1).get(sys.argv[3])
            print(bool(put), "Permission denied" in put.reason, kept)
            folder.chmod(0o700)
            """,
            *(store.folder, KEY, OTHER),
        )
    )
    assert output.split() == ["False", "True", "kept"]


def test_a_path_that_cannot_be_a_folder_is_a_reason(store: Store) -> None:
    store.put(OTHER, 1)
    blocked = Store(entry(store, OTHER) / "values", LARGE)
    refused = blocked.put(KEY, 1)
    assert not refused
    assert "cannot write into" in refused.reason
    assert blocked.get(KEY) is MISSING


# --- several at once -----------------------------------------------------------------------------

WRITES = """
    import sys; from pathlib import Path
    import numpy as np
    from hamdev.worker.store import Store
    store = Store(Path(sys.argv[1]), 10**9)
    print("ready", flush=True)
    for number in range(int(sys.argv[3])):
        assert store.put(sys.argv[2], [np.full(200_000, number), "x" * 50_000, number])
"""


@pytest.mark.parametrize("seed", range(12))
def test_a_writer_killed_at_any_moment_leaves_the_old_value_or_the_new(
    store: Store, seed: int
) -> None:
    chance = random.Random(seed)
    store.put(KEY, [np.full(200_000, -1), "x" * 50_000, -1])
    process = child(WRITES, store.folder, KEY, 10**6)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # Reads until some number of files have been seen, so that the moment is one of writing.
        for _ in range(chance.randrange(1, 30)):
            array, _, number = store.get(KEY)
            assert (array == number).all()
    finally:
        process.kill()
        process.communicate(timeout=50)
    assert process.returncode == -signal.SIGKILL
    array, text, number = store.get(KEY)
    assert (array == number).all()
    assert len(text) == 50_000
    assert len(files(store)) <= 2  # the value, and what was being written
    for part in store.folder.glob("*.part"):
        os.utime(part, (0, time.time() - 3700))
    assert store.put(OTHER, 1)
    assert files(store) == sorted([f"{KEY}.value", f"{OTHER}.value"])


def test_two_processes_and_threads_write_the_same_key_at_once(store: Store) -> None:
    store.put(KEY, [np.zeros(1), "", 0])
    processes = [child(WRITES, store.folder, KEY, 40) for _ in range(2)]
    wrong: list[Any] = []

    def read() -> None:
        while any(process.poll() is None for process in processes):
            found = store.get(KEY)
            if found is MISSING or not (found[0] == found[2]).all():
                wrong.append(found)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for process in processes:
        finished(process)
    for thread in threads:
        thread.join(50)
    assert wrong == []
    assert files(store) == [f"{KEY}.value"]


def test_a_damaged_file_that_is_replaced_meanwhile_is_not_removed(store: Store) -> None:
    store.put(KEY, 1)
    with entry(store).open("r+b") as file:
        file.write(b"damaged")
        store.put(KEY, 2)
        assert store._remove(entry(store), file.fileno()) is MISSING
    assert store.get(KEY) == 2


# --- what it gives up ----------------------------------------------------------------------------


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    keys = [f"{number:016x}" for number in range(4)]
    value = np.zeros(10_000)
    store = Store(tmp_path / "values", LARGE)
    size = store.put(keys[0], value).size
    store = Store(store.folder, 3 * size)
    store.put(keys[1], value)
    store.put(keys[2], value)
    assert store.get(keys[0]) is not MISSING  # now key 1 is the oldest
    assert store.put(keys[3], value)
    assert files(store) == sorted(f"{keys[number]}.value" for number in (0, 2, 3))
    assert store.get(keys[2]) is not MISSING
    assert store.put(keys[1], value)
    assert files(store) == sorted(f"{keys[number]}.value" for number in (1, 2, 3))


def test_what_was_just_written_is_newer_than_what_was_just_used(tmp_path: Path) -> None:
    used, written, last = (f"{number:016x}" for number in range(3))
    store = Store(tmp_path / "values", LARGE)
    size = store.put(used, b"").size
    for _ in range(100):
        store.clear()
        store = Store(store.folder, 2 * size)
        store.put(used, b"")
        assert store.get(used) is not MISSING
        store.put(written, b"")
        store.put(last, b"")
        assert files(store) == sorted([f"{written}.value", f"{last}.value"])


@SHARED
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4000), st.booleans()), max_size=30))
def test_it_is_a_bounded_dictionary_that_forgets_the_least_recently_used(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int, bool]]
) -> None:
    store = Store(tmp_path_factory.mktemp("store") / "values", 10_000)
    kept: dict[str, tuple[bytes, int]] = {}  # in the order of use
    for number, length, write in steps:
        key = f"{number:016x}"
        if write:
            content = bytes([number]) * length
            put = store.put(key, content)
            assert put
            kept.pop(key, None)
            kept[key] = (content, put.size)
            while sum(size for _, size in kept.values()) > store.max_bytes:
                del kept[next(iter(kept))]
        elif key in kept:
            kept[key] = kept.pop(key)
            assert store.get(key) == kept[key][0]
        else:
            assert store.get(key) is MISSING
        assert files(store) == sorted(f"{key}.value" for key in kept)
        assert store.size() == sum(size for _, size in kept.values())


def test_the_value_just_written_stays_though_the_clock_went_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "values", 100_000)
    store.put(OTHER, bytes(60_000))
    os.utime(entry(store, OTHER), (0, time.time() + 3600))
    assert store.put(KEY, bytes(60_000))
    assert files(store) == [f"{KEY}.value"]


def test_what_writers_left_behind_goes_after_an_hour_and_not_before(store: Store) -> None:
    store.put(KEY, 1)
    old, young = (store.folder / f"{OTHER}.{name}.part" for name in ("old", "young"))
    old.touch()
    young.touch()
    os.utime(old, (0, time.time() - 3700))
    os.utime(young, (0, time.time() - 3500))
    store.put(KEY, 1)
    assert young.exists()
    assert not old.exists()
