"""The library: compose Hamilton modules to a DAG and execute it, without any daemon."""

from hamdev.pipeline.manager import PipelineManager
from hamdev.pipeline.run_config import RunConfig

__all__ = ["PipelineManager", "RunConfig"]
