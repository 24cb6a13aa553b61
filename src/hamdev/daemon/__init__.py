"""The daemon's process: it watches, decides and serves, and never imports user code."""
