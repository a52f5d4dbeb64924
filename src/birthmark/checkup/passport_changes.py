"""Two passports side by side: which tensors are not what they were, and what they are.

A fingerprint leaves the name out, so a tensor under another name is found again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from birthmark.checkup.passport import BUFFER, Entry, Passport


@dataclass(frozen=True)
class Change:
    """One tensor that is not what it was."""

    name: str
    # missing, new, renamed, tied, untied, shape, shard, dtype, trainable, numbers,
    # materialized or emptied
    what: str
    words: str


def compare_passports(before: Passport, after: Passport) -> tuple[Change, ...]:
    """The tensors that are not what they were, in the order of the first passport."""
    if not any(entry.role == BUFFER for entry in before.values()):
        # of an earlier birthmark, or of a model without any
        after = {n: entry for n, entry in after.items() if entry.role != BUFFER}
    gone = [name for name in before if name not in after]
    come = [name for name in after if name not in before]
    renamed = _find_renamed(before, after, gone, come)
    changes = []
    for name, then in before.items():
        now = after.get(name)
        if now is not None:
            changes += _compare(name, then, now, before)
        elif name in renamed:
            words = f"is called {renamed[name]} now, with the same numbers"
            changes.append(Change(name, "renamed", words))
        else:
            changes.append(_lost(name, after))
    taken = set(renamed.values())
    changes += [_came(name, before, after) for name in come if name not in taken]
    return tuple(changes)


def group_changes(changes: Iterable[Change]) -> list[tuple[tuple[str, ...], str]]:
    """Names of those of which the same is said, and what."""
    groups: dict[str, list[str]] = {}
    for change in changes:
        groups.setdefault(change.words, []).append(change.name)
    return [(tuple(names), words) for words, names in groups.items()]


def _find_renamed(
    before: Passport, after: Passport, gone: list[str], come: list[str]
) -> dict[str, str]:
    """By former name; of several with equal numbers the one whose name ends alike."""
    tied_now = {alias for entry in after.values() for alias in entry.tied}
    tied_then = {alias for entry in before.values() for alias in entry.tied}
    places: dict[str, list[str]] = {}
    for name in come:
        mark = after[name].fingerprint
        if mark is not None and name not in tied_then:
            places.setdefault(mark, []).append(name)
    found = {}
    for name in gone:
        mark = before[name].fingerprint
        free = places.get(mark, []) if mark is not None and name not in tied_now else []
        if free:
            best = max(free, key=lambda one: _count_alike(one, name))
            free.remove(best)
            found[name] = best
    return found


def _count_alike(one: str, two: str) -> int:
    """Parts of two dotted names that are alike, from the end."""
    pairs = zip(reversed(one.split(".")), reversed(two.split(".")), strict=False)
    count = 0
    for first, second in pairs:
        if first != second:
            break
        count += 1
    return count


def _lost(name: str, after: Passport) -> Change:
    for other, entry in after.items():
        if name in entry.tied:
            return Change(name, "tied", f"is the same tensor as {other} now")
    return Change(name, "missing", "is not there any more")


def _came(name: str, before: Passport, after: Passport) -> Change:
    now = after[name]
    for other, entry in before.items():
        if name in entry.tied:
            same = entry.fingerprint == now.fingerprint
            has = "the same numbers" if same else now.law
            return Change(name, "untied", f"was the same tensor as {other}; has {has}")
    of = _find_owner(now, before)
    has = f"has the numbers that {of} had" if of else now.law
    return Change(name, "new", f"was not there: {has}")


def _find_owner(entry: Entry, others: Mapping[str, Entry]) -> str:
    """Who had these numbers; none of what all have, as zeros."""
    if entry.fingerprint is None or entry.low == entry.high:
        return ""
    found = (n for n, one in others.items() if one.fingerprint == entry.fingerprint)
    return next(found, "")


def _compare(name: str, then: Entry, now: Entry, before: Passport) -> list[Change]:
    if then.shard != now.shard:
        return [Change(name, "shard", _say_shards(then, now))]
    if then.shape != now.shape:
        words = f"was {list(then.shape)}, is {list(now.shape)}"
        return [Change(name, "shape", words)]
    if then.dtype != now.dtype:
        return [Change(name, "dtype", _say_types(then, now))]
    if then.fingerprint != now.fingerprint:
        return [_other_numbers(name, then, now, before)]
    if then.trainable != now.trainable:
        verb = "is trained now" if now.trainable else "is not trained any more"
        return [Change(name, "trainable", f"{verb}; the same numbers")]
    return []


def _say_shards(then: Entry, now: Entry) -> str:
    was, is_ = (one.shard or "whole" for one in (then, now))
    return (
        f"was {was}, is {is_}: each rank has a passport of its own, or make_passport("
        "..., whole=True) one for all"
    )


def _say_types(then: Entry, now: Entry) -> str:
    words = f"was {then.dtype}, is {now.dtype}"
    if now.fingerprint and then.rounded.get(now.dtype) == now.fingerprint:
        return f"{words}: the same numbers, rounded"
    if then.fingerprint and now.rounded.get(then.dtype) == then.fingerprint:
        same = then.dtype in now.fits
        return f"{words}: the same numbers" + ("" if same else f" in {then.dtype}")
    return f"{words}: other numbers, too"


def _other_numbers(name: str, then: Entry, now: Entry, before: Passport) -> Change:
    if then.fingerprint is None:
        return Change(name, "materialized", f"had no numbers, and is {now.law}")
    if now.fingerprint is None:
        return Change(name, "emptied", f"was {then.law}, and has no numbers")
    for dtype, mark in then.rounded.items():
        if now.rounded.get(dtype) == mark:
            words = (
                f"the same numbers, rounded to {dtype} in between"
                if dtype in now.fits
                else f"differs by less than {dtype} tells"
            )
            return Change(name, "numbers", words)
    owner = _find_owner(now, before)
    if owner:
        return Change(name, "numbers", f"has the numbers that {owner} had")
    same_law = then.law == now.law or (then.rules and then.rules == now.rules)
    words = f"other numbers of the same law: {now.law}"
    if not same_law:
        words = f"was {then.law}, is {now.law}"
    if now.role == BUFFER:
        words = f"other numbers: {_say_numbers(then)}, now {_say_numbers(now)}"
    return Change(name, "numbers", words)


def _say_numbers(entry: Entry) -> str:
    if entry.mean is None or entry.std is None:
        return "no finite mean"
    return f"mean {entry.mean:.3g}, std {entry.std:.3g}"
