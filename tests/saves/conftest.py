"""These tests drive a real daemon as those of tests/daemon do."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "daemon"))
