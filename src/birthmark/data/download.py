"""One file from the first mirror that gives it, going on where a transfer broke off.

Pooch downloads too, but neither from mirrors nor from the middle of a file, so this
asks requests, which pooch builds on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from birthmark.errors import DataError

if TYPE_CHECKING:
    import requests

# Zenodo refuses clients without a name; packed answers would spoil the count of bytes
HEADERS = {"User-Agent": "birthmark (Python requests)", "Accept-Encoding": "identity"}
TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
PIECE = 1024  # bytes: the most that a broken transfer loses


def download(
    urls: Sequence[str],
    part: Path,
    accept: Callable[[Path], None],
    *,
    progress: bool = False,
) -> None:
    """Fetch a file into `part` and hand it to `accept`; then `part` is removed.

    A broken transfer leaves `part` behind, and the next one, now or in another process,
    goes on from there. A mirror is asked again as long as it gives something new.

    Args:
        urls: Addresses of the same file, tried in this order.
        part: Where the bytes are gathered; its folder exists.
        accept: Takes what is good out of the file; raises DataError for a wrong one.
        progress: Whether to draw a bar on standard error.

    Raises:
        DataError: No mirror gave a good file; the message has the reason of each.
        OSError: The part cannot be written.
    """
    from requests import RequestException  # a tenth of a second: only when needed

    failures = []
    for url in urls:
        while True:
            begun_with = _size(part)
            try:
                _transfer(url, part, progress=progress)
                accept(part)
            except RequestException as error:
                if _size(part) > begun_with:
                    continue
                failures.append(f"{url}: {_reason(error)}")
            except DataError as error:
                part.unlink(missing_ok=True)
                if begun_with:  # perhaps it began as another mirror's packing
                    continue
                failures.append(f"{url}: {error}")
            else:
                part.unlink(missing_ok=True)
                return
            break
    raise DataError("; ".join(failures))


def _transfer(url: str, part: Path, *, progress: bool) -> None:
    import requests
    from tqdm import tqdm

    have = _size(part)
    headers = {**HEADERS, "Range": f"bytes={have}-"} if have else HEADERS
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            return  # nothing follows: what is there is whole, or not this file
        answer.raise_for_status()
        resumed = answer.status_code == requests.codes.partial_content
        begin = have if resumed else 0
        length = answer.headers.get("Content-Length")
        with (
            part.open("ab" if resumed else "wb") as file,
            tqdm(
                desc=part.stem,
                initial=begin,
                total=begin + int(length) if length else None,
                unit="B",
                unit_scale=True,
                disable=not progress,
            ) as bar,
        ):
            for piece in answer.iter_content(PIECE):
                file.write(piece)
                bar.update(len(piece))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"HTTP status {error.response.status_code}"
    return type(error).__name__
