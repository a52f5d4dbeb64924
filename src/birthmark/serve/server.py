"""The server of the live page, on this machine alone unless said."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable

import uvicorn

from birthmark.errors import StoreError
from birthmark.serve.app import make_app
from birthmark.store import Store


def serve_store(
    store: Store,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    announce: Callable[[str], None] = print,
) -> None:
    """Show a store in browsers until interrupted.

    Args:
        store: Which; it is only read.
        host: Address to listen at; others than this machine's are reachable by all
            who can reach it, and see the store if they have the token.
        port: 0 takes a free one.
        announce: Called with the address to open, its token included.

    Raises:
        StoreError: The port or the address is not to be had.
    """
    token = secrets.token_urlsafe(16)
    app = make_app(store, token)
    with _listen(host, port) as listening:
        announce(f"http://{_named(host)}:{listening.getsockname()[1]}/?token={token}")
        config = uvicorn.Config(
            app, log_level="warning", lifespan="on", timeout_graceful_shutdown=1
        )
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise StoreError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; "
            "take another with --port, or 0 for any that is free"
        ) from error
    return listening


def _named(host: str) -> str:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return socket.gethostname()
    return f"[{host}]" if address.version == 6 else host
