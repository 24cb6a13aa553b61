"""FlowerPower's `pm.run(reload=True)` in a warm process. Started by a benchmark.

    python -P warm_flowerpower.py PROJECT SOCKET

It watches nothing: it is told by a line when a file has been written.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Any

from flowerpower.pipeline import PipelineManager  # type: ignore[import-not-found]  # optional

_PROJECT_YML = "name: measured\n"
_PIPELINE_YML = "run:\n  final_vars: []\n  log_level: WARNING\n"


def _write_settings(project: Path, pipeline: str) -> None:
    (project / "conf" / "pipelines").mkdir(parents=True)
    (project / "conf" / "project.yml").write_text(_PROJECT_YML, encoding="utf-8")
    file = project / "conf" / "pipelines" / f"{pipeline}.yml"
    file.write_text(_PIPELINE_YML, encoding="utf-8")


def main() -> None:
    project = Path(sys.argv[1])
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.connect(sys.argv[2])
        with stream.makefile("rw", encoding="utf-8") as lines:
            first = json.loads(lines.readline())
            pipeline, others, sinks = first["pipeline"], first["others"], first["sinks"]
            _write_settings(project, pipeline)
            sys.path.insert(0, str(project))
            manager = PipelineManager(base_dir=str(project))

            def send(message: dict[str, Any]) -> None:
                lines.write(json.dumps(message) + "\n")
                lines.flush()

            def run() -> dict[str, Any]:
                results: dict[str, Any] = manager.run(
                    pipeline, final_vars=sinks, additional_modules=others, reload=True
                )
                return results

            run()
            send({})
            for line in lines:
                send({"value": str(run()[json.loads(line)["observed"]])})


if __name__ == "__main__":
    main()
