"""What talks to a daemon: the Python clients and the command line."""
