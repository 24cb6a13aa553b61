"""Words that tell what a call does, where the text of the project alone cannot."""

from __future__ import annotations

import builtins
import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


BUILTINS = frozenset(dir(builtins))
CHANGING = _words(
    "add append appendleft extend extendleft insert update setdefault pop popleft popitem remove "
    "discard clear sort reverse rotate difference_update intersection_update subtract fill put "
    "resize __setitem__ __delitem__ __setattr__ move_to_end register"
)
# These do not run code of the project, so at module level they are no more than a change.
CONTAINER_METHODS = CHANGING - {"register", "put", "fill", "resize", "__setattr__"}
HARMLESS = _words(
    "copy get items keys values format join split rsplit splitlines strip lstrip rstrip lower "
    "upper title replace startswith endswith encode decode union intersection difference count "
    "index as_posix with_suffix with_name exists is_file is_dir joinpath resolve match fullmatch "
    "search findall finditer sub debug info warning error exception critical log head tail "
    "astype mean sum max min std isin to_dict tolist groupby merge"
)
COPYING = _words(
    "copy deepcopy merge join groupby astype head tail assign drop dropna fillna rename set_index "
    "reset_index sort_values query filter select with_columns to_dict to_frame agg apply map "
    "pivot_table melt format split strip lower upper replace sum mean keys"
)
CHANGING_FUNCTIONS = _words(
    "next heappush heappop heapify heapreplace heappushpop insort insort_left insort_right put "
    "copyto place putmask fill_diagonal shuffle setitem delitem iadd iconcat ior anext"
)
PURE_BUILTINS = _words(
    "len isinstance issubclass str int float bool repr tuple dict list set frozenset sorted range "
    "min max sum abs round type print hash id ord chr"
)
EFFECTFUL = re.compile(
    r"^(_?set_|seed$|use$|config|init|install|patch|enable|disable|filterwarnings|simplefilter"
    r"|reset_|register|setrecursionlimit|setlocale|chdir|putenv|update$|load_dotenv|basicConfig)"
)
RANDOM = frozenset({"random", "rand", "randn", "randint", "choice", "shuffle", "uniform", "normal"})
TEXT_ATTRIBUTES = _words(
    "__code__ f_lineno f_code f_back co_code co_firstlineno co_lines co_consts tb_lineno getsource "
    "getsourcelines getsourcefile findsource getcomments _getframe currentframe getframeinfo "
    "extract_stack format_stack format_exc print_exc extract_tb lineno findcaller stacklevel"
)
DOC_NAMES = frozenset({"__doc__", "getdoc", "get_docstring", "help"})
READS_ALL = _words(
    "sys.modules importlib importlib.reload importlib.util importlib.machinery pkgutil runpy gc "
    "builtins builtins.eval builtins.exec builtins.compile builtins.__import__ pickle.load "
    "pickle.loads pickle.Unpickler joblib.load dill.load dill.loads cloudpickle.load "
    "cloudpickle.loads"
)
IMPORTERS = frozenset({"import_module", "__import__"})
# Methods that make an object: what they set is no change of it.
MAKING = frozenset({"__init__", "__new__", "__post_init__", "__setstate__", "__set_name__"})
STATEFUL_CALLS = _words(
    "ContextVar Queue count cycle iter map filter zip enumerate reversed chain islice defaultdict "
    "default_rng RandomState Random Generator open StringIO BytesIO"
)
CACHES = frozenset({"lru_cache", "cached_property"})
QUIET_CONTEXTS = frozenset({"suppress", "open", "catch_warnings"})
EVALUATED_TEXT = frozenset({"query", "eval", "sql", "execute", "SQLContext"})
WORD = re.compile(r"[^\W\d]\w*")

QUIET_READERS = _words(
    "hamilton functools typing typing_extensions dataclasses abc enum contextlib collections "
    "itertools operator numpy pandas polars pyarrow numba dask ray torch sklearn scipy pathlib "
    "unittest threading asyncio warnings logging string json datetime decimal fractions time "
    "attr attrs msgspec pandera"
)

FRESH_CALLS = _words(
    "dict list set bytearray defaultdict OrderedDict Counter deque SimpleNamespace DataFrame "
    "Series zeros ones empty full array arange linspace"
)
SHARED_RESULT = re.compile("^(get|current|default|instance)")
