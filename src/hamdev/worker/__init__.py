"""The worker's process: it holds user code and the values of nodes."""
