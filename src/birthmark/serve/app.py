"""The page's server: who may ask, what may be asked, and what is sent unasked.

Nothing of a request becomes a path: pages are looked up in a table of names, runs by
their keys in the store.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from importlib.resources import files
from typing import Any

from anyio import to_thread
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import Route

from birthmark.errors import BirthmarkError
from birthmark.serve.rows import group_rows, to_text
from birthmark.serve.watch import Watch
from birthmark.serve.weights import describe_weights, read_weights
from birthmark.store import Store

_log = logging.getLogger(__name__)
INTERVAL_S = 0.5  # from one look at the store to the next
_SHARE = 2  # rest after a look, in times of it: looking is a third of the time at most
_HEARTBEAT_S = 10.0
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}
_POLICY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}
_EPOCH = re.compile("[0-9]{1,18}")  # Python refuses to read ever longer ones
_ROWS = b"ROWS"  # of the first page: rows come with it, not after it
_REFUSED = (
    "This page belongs to whoever started birthmark serve: open the whole address that "
    "the command printed, with its token.\n"
)


class Listeners:
    """Open pages, each with the keys of runs that it has not been told about."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Event, set[str]] = {}

    def tell(self, keys: list[str]) -> None:
        """Wake all pages."""
        for event, pending in self._waiting.items():
            pending.update(keys)
            event.set()

    @contextlib.contextmanager
    def listening(self) -> Any:
        """An event and the set that is filled before it is set."""
        event, pending = asyncio.Event(), set[str]()
        self._waiting[event] = pending
        try:
            yield event, pending
        finally:
            del self._waiting[event]


def make_app(store: Store, token: str) -> Starlette:
    """The application that shows a store to whoever has the token."""
    watch, listeners = Watch(store), Listeners()
    pages, stamp = _read_pages()
    index_page = pages.pop("index.html")

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(_keep_looking(look, watch, listeners))
            for look in (watch.refresh, watch.judge)
        ]
        yield
        for task in tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def index(request: Request) -> Response:
        listing = await to_thread.run_sync(watch.listing)
        # no text of a store can end the element that all of them stand in
        rows = listing.replace("<", "\\u003c").encode()
        return HTMLResponse(index_page.replace(_ROWS, rows))

    async def page(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in pages:
            return PlainTextResponse("There is no such page.\n", 404)
        kind = _TYPES[name.rpartition(".")[2]]
        kept = _KEPT if request.path_params.get("stamp") == stamp else {}
        return Response(pages[name], headers=kept, media_type=f"{kind}; charset=utf-8")

    async def runs(request: Request) -> Response:
        listing = await to_thread.run_sync(watch.listing)
        return Response(listing, media_type="application/json")

    async def curves(request: Request) -> Response:
        key, names = request.path_params["key"], _listed(request, "names")
        return await _answer(partial(watch.curves, key, names))

    async def kept(request: Request) -> Response:
        return await _answer(
            partial(describe_weights, store, request.path_params["key"])
        )

    async def weights(request: Request) -> Response:
        key, epoch = request.path_params["key"], request.path_params["epoch"]
        if not _EPOCH.fullmatch(epoch):
            return JSONResponse({"error": "an epoch is a whole number"}, 404)
        layer = request.query_params.get("layer", "")
        return await _answer(partial(read_weights, store, key, int(epoch), layer))

    async def findings(request: Request) -> Response:
        return await _answer(watch.findings)

    async def events(request: Request) -> Response:
        keys, names = _listed(request, "runs"), _listed(request, "names")
        known = request.query_params.get("known", "")
        stream = _tell(watch, listeners, known, keys or [], names)
        return StreamingResponse(stream, media_type="text/event-stream")

    return Starlette(
        lifespan=lifespan,
        routes=[
            Route("/", index),
            Route("/page/{stamp}/{name}", page),
            Route("/api/runs", runs),
            Route("/api/runs/{key}/curves", curves),
            Route("/api/runs/{key}/weights", kept),
            Route("/api/runs/{key}/weights/{epoch}", weights),
            Route("/api/findings", findings),
            Route("/api/events", events),
        ],
        middleware=[Middleware(_Guard, token=token)],
    )


class _Guard(BaseHTTPMiddleware):
    """Lets in who has the token, which the first address leaves in a cookie."""

    def __init__(self, app: Any, token: str) -> None:
        super().__init__(app)
        self._token = token
        # cookies do not know ports: another server on this machine has another name
        self._cookie = f"birthmark-{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def dispatch(
        self, request: Request, call_next: RequestResponseEndpoint
    ) -> Response:
        given = request.query_params.get("token")
        if given is not None and self._is_right(given) and request.url.path == "/":
            response: Response = RedirectResponse("/", 303)
            response.set_cookie(
                self._cookie, self._token, httponly=True, samesite="strict"
            )
        elif self._is_right(request.cookies.get(self._cookie, "")):
            response = await call_next(request)
        else:
            response = PlainTextResponse(_REFUSED, 403)
        for name, value in _POLICY.items():
            response.headers.setdefault(name, value)
        return response

    def _is_right(self, given: str) -> bool:
        return secrets.compare_digest(given.encode(), self._token.encode())


async def _keep_looking(
    look: Callable[[], list[str]], watch: Watch, listeners: Listeners
) -> None:
    while True:
        begun = time.monotonic()
        try:
            listeners.tell(await to_thread.run_sync(look))
        except (BirthmarkError, OSError):
            pass  # a folder that was just removed: the next look does not see it
        except Exception:  # one run must not keep the page from showing the others
            _log.exception("birthmark serve could not look at the store")
        spent = time.monotonic() - begun
        # a store that was just opened is read without a rest
        rest = max(INTERVAL_S - spent, _SHARE * spent)
        await asyncio.sleep(0.02 if watch.is_new else rest)


async def _tell(
    watch: Watch,
    listeners: Listeners,
    known: str,
    keys: list[str],
    names: list[str] | None,
) -> AsyncIterator[str]:
    """Server-sent events: rows of runs that changed, and curves of those asked for.

    All rows come first, but for a page that knows them: it says their version.
    """
    with listeners.listening() as (event, pending):
        pending.update(keys)
        if known != watch.version:
            yield _event("all", watch.listing())
        while True:
            event.clear()
            changed = set(pending)
            pending.clear()
            told = []
            for key in [key for key in keys if key in changed]:
                with contextlib.suppress(BirthmarkError):
                    curves = await to_thread.run_sync(watch.curves, key, names)
                    told.append(_event("curves", to_text(curves)))
            if changed:
                groups = group_rows(watch.rows(sorted(changed)))
                told.append(_event("runs", to_text(groups)))
                yield "".join(told)  # at once, so that the page draws once
            try:
                await asyncio.wait_for(event.wait(), _HEARTBEAT_S)
            except TimeoutError:
                yield ": still here\n\n"


def _event(name: str, text: str) -> str:
    return f"event: {name}\ndata: {text}\n\n"


async def _answer(read: Any) -> Response:
    try:
        return JSONResponse(await to_thread.run_sync(read))
    except BirthmarkError as error:
        return JSONResponse({"error": str(error)}, 404)


def _listed(request: Request, name: str) -> list[str] | None:
    given = request.query_params.get(name)
    return given.split(",") if given else None


def _read_pages() -> tuple[dict[str, bytes], str]:
    """The page's own files, and the part of their addresses that tells versions apart.

    Nothing of a store is in them, so a browser may keep them.
    """
    folder = files("birthmark.serve") / "page"
    found = [*folder.iterdir(), *(folder / "vendor").iterdir()]
    pages = {
        file.name: file.read_bytes()
        for file in sorted(found, key=lambda file: file.name)
        if file.is_file() and file.name.rpartition(".")[2] in _TYPES
    }
    stamp = hashlib.sha256(b"".join(pages.values())).hexdigest()[:12]
    index = pages["index.html"].replace(b"/page/", b"/page/%b/" % stamp.encode())
    return pages | {"index.html": index}, stamp
