"""Which modules a name as typed may stand for, and which files would be these modules."""

from __future__ import annotations

import os


def attempted_names(name: str, package: str) -> list[str]:
    """The module names to try for `name`, in order.

    Args:
        name: as typed; `-` may stand for `_`.
        package: in which short names are looked up first.
    """
    return list(
        dict.fromkeys(
            candidate
            for prefix in (f"{package}.", "")
            for candidate in (prefix + name, prefix + name.replace("-", "_"))
        )
    )


def package_of(pipelines_dir: str) -> str:
    """The package that a folder, relative to the project's, is imported as."""
    return pipelines_dir.strip("/").replace("/", ".")


def candidate_files(module: str, root: str) -> list[str]:
    """The files below `root` that would make `module` importable."""
    base = os.path.join(root, *module.split("."))  # noqa: PTH118 - pure: no file is looked at
    return [f"{base}.py", os.path.join(base, "__init__.py")]  # noqa: PTH118


def places(name: str, root: str, pipelines_dir: str) -> list[str]:
    """All files that the module may be in that a pipeline's name as typed stands for."""
    names = attempted_names(name, package_of(pipelines_dir))
    return [file for n in names if "-" not in n for file in candidate_files(n, root)]
