"""Which values are pictures, and what is in them."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from hamdev.worker.values.registry import Registry

_MAX_ARTISTS = 20
FOLLOWS = ("x axis", "y axis")


class Said(str):
    """What is said of a picture in our words, not a text of the user's."""

    __slots__ = ()


def is_picture(value: Any) -> bool:
    """Whether `value` can be given in the format `png`."""
    if (missing := missing_converter(value)) is not None:
        return not missing
    make = _PNGS.find(value)
    if make is _matplotlib_png:
        return figure_of(value) is not None
    return make is not None or callable(getattr(type(value), "_repr_png_", None))


def png_of(value: Any) -> bytes | None:
    """`value` as PNG; None if it is no picture.

    Raises:
        Exception: whatever the library that draws it raises.
    """
    make = _PNGS.find(value)
    if make is not None:
        return make(value)
    own = getattr(type(value), "_repr_png_", None)
    drawn = own(value) if callable(own) else None
    return bytes(drawn) if drawn is not None else None


def missing_converter(value: Any) -> str | None:
    """What has to be installed before `value` can be given as a picture.

    Returns:
        Empty if all is there; None if it is no picture that needs a converter.
    """
    needed = _CONVERTERS.find(value)
    if needed is None:
        return None
    module, package = needed
    if module not in _installed and find_spec(module) is not None:
        _installed.add(module)
    return "" if module in _installed else package


def _matplotlib_png(value: Any) -> bytes | None:
    figure = figure_of(value)
    if figure is None:
        return None
    sink = io.BytesIO()
    figure.savefig(sink, format="png")
    return sink.getvalue()


def _plotly_png(value: Any) -> bytes:
    return bytes(value.to_image(format="png"))


def _altair_png(value: Any) -> bytes:
    sink = io.BytesIO()
    value.save(sink, format="png")
    return sink.getvalue()


def _pil_png(value: Any) -> bytes:
    sink = io.BytesIO()
    value.save(sink, format="PNG")
    return sink.getvalue()


def picture_parts(value: Any) -> Mapping[str, Any] | None:
    """What a picture is made of; None if `value` is none."""
    make = _PICTURES.find(value)
    return None if make is None else make(value)


def figure_of(value: Any) -> Any:
    """The figure of matplotlib's that `value` is, or is drawn in."""
    if hasattr(value, "savefig"):
        return value
    for name in ("figure", "fig"):
        if hasattr(found := getattr(value, name, None), "savefig"):
            return found
    return None


def _matplotlib(value: Any) -> Mapping[str, Any]:
    figure = figure_of(value)
    if figure is None:
        return {}
    width, height = figure.get_size_inches()
    size = Said(f"{width * figure.dpi:.0f} × {height * figure.dpi:.0f} pixels")
    found: dict[str, Any] = {"size": size}
    if figure.get_suptitle():
        found["title"] = figure.get_suptitle()
    several = len(figure.axes) > 1
    for number, axes in enumerate(figure.axes[:_MAX_ARTISTS], start=1):
        of = f" of plot {number}" if several else ""
        found |= {f"{name}{of}": part for name, part in _axes(axes).items()}
    found["plots"] = len(figure.axes)
    return found


def _axes(axes: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "title": axes.get_title(),
        "x label": axes.get_xlabel(),
        "y label": axes.get_ylabel(),
        "x axis": _limits(axes.get_xlim()),
        "y axis": _limits(axes.get_ylim()),
    }
    for what, several, artists in (
        ("line", "lines", axes.lines),
        ("bar", "bars", axes.patches),
        ("point set", "point sets", axes.collections),
        ("image", "images", axes.images),
        ("text", "texts", axes.texts),
    ):
        if len(artists):
            found[several] = len(artists)
        for number, artist in enumerate(list(artists)[:_MAX_ARTISTS], start=1):
            found[f"{what} {number}"] = _artist(what, artist)
    return found


def _limits(limits: Any) -> str:
    low, high = limits
    return Said(f"{low:.4g} … {high:.4g}")


def _artist(what: str, artist: Any) -> Any:
    if what == "line":
        x, y = artist.get_data(orig=False)
        return {"x": x, "y": y, "colour": artist.get_color(), "label": str(artist.get_label())}
    if what == "bar" and hasattr(artist, "get_height"):
        return {"height": float(artist.get_height()), "colour": artist.get_facecolor()}
    if what == "point set":
        return {"at": artist.get_offsets(), "colour": artist.get_facecolor()}
    if what == "image":
        return artist.get_array()
    if what == "text":
        return artist.get_text()
    return None


def _plotly(value: Any) -> Mapping[str, Any]:
    # What the figure keeps; `to_dict` would copy it.
    layout = dict(value._layout or {})
    layout.pop("template", None)
    traces = list(value._data or ())
    found: dict[str, Any] = {"layout": layout, "traces": len(traces)}
    for number, trace in enumerate(traces[:_MAX_ARTISTS], start=1):
        found[f"trace {number}"] = {k: v for k, v in trace.items() if k != "uid"}
    return found


def _altair(value: Any) -> Mapping[str, Any]:
    return _schema(value)


def _schema(value: Any) -> dict[str, Any]:
    """Altair's objects keep what they were given in `_kwds`, beside a lot of nothing."""
    stored = vars(value).get("_kwds", {})
    found = {}
    for name, part in stored.items():
        if type(part).__name__ == "UndefinedType" or (name == "name" and _is_counted(part)):
            continue
        found[str(name)] = _plain_schema(part)
    return found


def _is_counted(name: Any) -> bool:
    # `view_7`: the number of views in this process so far.
    return isinstance(name, str) and name.startswith("view_")


def _plain_schema(part: Any) -> Any:
    if isinstance(vars(part).get("_kwds") if hasattr(part, "__dict__") else None, dict):
        inner = _schema(part)
        # Beside what it says in full, an encoding keeps what the user wrote for short.
        return {name: value for name, value in inner.items() if value is not None}
    if isinstance(part, list | tuple):
        return [_plain_schema(item) for item in part]
    return part


def _pil(value: Any) -> Mapping[str, Any]:
    width, height = value.size
    return {"size": Said(f"{width} × {height} pixels"), "mode": value.mode}


_PICTURES: Registry[Callable[[Any], Mapping[str, Any]]] = Registry(
    {
        ("matplotlib", "FigureBase"): _matplotlib,
        ("matplotlib", "Artist"): _matplotlib,
        ("seaborn", "Grid"): _matplotlib,
        ("plotly", "BaseFigure"): _plotly,
        ("altair", "TopLevelMixin"): _altair,
        ("PIL", "Image"): _pil,
    }
)
_PNGS: Registry[Callable[[Any], bytes | None]] = Registry(
    {
        ("matplotlib", "FigureBase"): _matplotlib_png,
        ("matplotlib", "Artist"): _matplotlib_png,
        ("seaborn", "Grid"): _matplotlib_png,
        ("plotly", "BaseFigure"): _plotly_png,
        ("altair", "TopLevelMixin"): _altair_png,
        ("PIL", "Image"): _pil_png,
    }
)
# The module that turns it into a picture, and the package that has it.
_CONVERTERS: Registry[tuple[str, str]] = Registry(
    {
        ("plotly", "BaseFigure"): ("kaleido", "kaleido"),
        ("altair", "TopLevelMixin"): ("vl_convert", "vl-convert-python"),
    }
)
_installed: set[str] = set()
