"""Who may talk to the page: its secrets, where they are remembered, and what a request must bring.

Ports of 127.0.0.1 are open to all users of a computer, and to every page that its owner looks at.
So each request has to bring a secret, and has to come from the page itself or from nowhere.

Browsers send a cookie to every port of a host, so another user's server could be given ours. That
is why the cookie has a path, which is a secret as well: a browser sends it to nobody who does not
know that already.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Literal

COOKIE = "hamdev"
_TOKEN_BYTES = 32
_PATH_BYTES = 16
_MAX_REMEMBERED = 4096
# What a browser fetches for another page, whatever that is going to do with it.
_FOREIGN_SITES = frozenset({"cross-site", "same-site"})
_FRAMES = frozenset({"iframe", "frame", "embed", "object", "fencedframe"})

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
        # Nothing can make markup of a text, not even by mistake.
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What only the page's owner knows.

    Attributes:
        token: in the address that is printed, and then in the cookie.
        path: the folder under which the page is served, and to which the cookie is sent.
    """

    token: str
    path: str

    @classmethod
    def new(cls) -> Secrets:
        """Random ones."""
        return cls(secrets.token_urlsafe(_TOKEN_BYTES), secrets.token_urlsafe(_PATH_BYTES))

    @property
    def proof_key(self) -> str:
        """What an open page asks a daemon to prove that it knows, before it sends its cookie."""
        return hmac.new(self.token.encode(), b"proof", hashlib.sha256).hexdigest()

    def proof(self, nonce: str) -> str:
        """The answer to a page that wants to know whether this is its daemon."""
        return hmac.new(self.proof_key.encode(), nonce.encode(), hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """Whether this is the token, in a time that does not depend on how much of it is right."""
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode())


@dataclass(frozen=True, slots=True)
class Remembered:
    """The secrets and the port of the last daemon at this socket, for pages that are still open."""

    secrets: Secrets
    port: int


def remembered(file: Path) -> Remembered | None:
    """What `remember` wrote; None if there is nothing, or nothing to be trusted."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            status = os.fstat(descriptor)
            is_private = status.st_uid == os.getuid() and not status.st_mode & 0o077
            if not stat.S_ISREG(status.st_mode) or not is_private:
                return None
            data = json.loads(opened.read(_MAX_REMEMBERED))
        known = Secrets(str(data["token"]), str(data["path"]))
        port = int(data["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if len(known.token) < _TOKEN_BYTES or len(known.path) < _PATH_BYTES or not 0 < port < 65536:
        return None
    return Remembered(known, port)


def remember(file: Path, known: Remembered) -> None:
    """Write secrets and port to a file that only its owner can read.

    Raises:
        OSError: it cannot be written.
    """
    fresh = file.with_name(f"{file.name}.new")
    with suppress(FileNotFoundError):
        fresh.unlink()
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        data = {"token": known.secrets.token, "path": known.secrets.path, "port": known.port}
        output.write(json.dumps(data) + "\n")
    fresh.replace(file)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered, for the person who sent it.

    Attributes:
        status: of HTTP.
        text: one sentence.
    """

    status: int
    text: str


@dataclass(frozen=True, slots=True)
class Guard:
    """Decides about requests from their headers alone.

    Attributes:
        secrets: of the page.
        port: where it is served.
    """

    secrets: Secrets
    port: int

    @property
    def address(self) -> str:
        """Where the page is, without its secrets."""
        return f"http://127.0.0.1:{self.port}/"

    @property
    def address_with_token(self) -> str:
        """What its owner opens."""
        return f"{self.address}?token={self.secrets.token}"

    @property
    def root(self) -> str:
        """The path of the page itself."""
        return f"/{self.secrets.path}/"

    def refusal(
        self, kind: Literal["entry", "proof", "page"], method: str, headers: Mapping[str, str]
    ) -> Refusal | None:
        """Why a request is refused; None if it is fine.

        Args:
            kind: what is asked for. `entry` brings the token and `proof` needs none; everything
                else needs the cookie.
            method: of HTTP.
            headers: names in lower case.
        """
        hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "localhost")}
        host = headers.get("host", "")
        if host not in hosts:
            # A name that somebody else's DNS lets point here is nobody that we know.
            return Refusal(421, "This is not the host that you asked for.")
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return Refusal(403, "Other pages may not talk to this one.")
        if headers.get("sec-fetch-dest") in _FRAMES:
            return Refusal(403, "This page may not be shown inside of another one.")
        site = headers.get("sec-fetch-site")
        if kind == "entry":
            # A link in a terminal that is a page itself comes from another site. It has the token.
            if site in _FOREIGN_SITES and headers.get("sec-fetch-mode") != "navigate":
                return Refusal(403, "Other pages may not talk to this one.")
            return None
        if site in _FOREIGN_SITES:
            return Refusal(403, "Other pages may not talk to this one.")
        if method == "POST" and _media_type(headers) != "application/json":
            # What a form can send without a question needs an answer from nobody.
            return Refusal(415, "Requests are JSON.")
        if kind == "page" and not self._has_cookie(headers.get("cookie", "")):
            return Refusal(403, "You need the page's whole address, with its token.")
        return None

    def is_foreign(self, headers: Mapping[str, str]) -> bool:
        """Whether another site's page led here, so that a redirection would bring no cookie."""
        return headers.get("sec-fetch-site") in _FOREIGN_SITES

    def cookie(self) -> str:
        """What `Set-Cookie` says."""
        return f"{COOKIE}={self.secrets.token}; HttpOnly; SameSite=Strict; Path={self.root}"

    def _has_cookie(self, header: str) -> bool:
        try:
            cookies = SimpleCookie(header)
        except CookieError:
            return False
        morsel = cookies.get(COOKIE)
        return morsel is not None and self.secrets.is_token(morsel.value)


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
