"""Opens a page in the user's browser, if there is one that does not take over the terminal."""

from __future__ import annotations

import os
import sys
import threading
import webbrowser


def open_page(address: str) -> bool:
    """Open it in the background; False if there is no browser on this screen."""
    if not has_browser():
        return False
    threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
    return True


def has_browser() -> bool:
    """Whether a browser with a window of its own can be expected.

    Over ssh it would be on another screen, and without a display it would be a text browser in
    this very terminal; but who has set BROWSER knows better.
    """
    if os.environ.get("BROWSER"):
        return True
    if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
        return False
    if sys.platform == "darwin":
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
