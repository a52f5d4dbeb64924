"""What a comparison of initializations shows, in plain words; and what it does not."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from birthmark.analysis.comparisons import GUESS, METHOD, Comparison
from birthmark.analysis.words import say_interval, say_list, say_number
from birthmark.shapes import Finding
from birthmark.statistics import POWER, Outcome, PairedDifference, Ranking, Standing

FEW = 5  # replicas, below which only very large differences are seen


def find_differences(comparison: Comparison) -> list[Finding]:
    """State who leads in each outcome, who fails, and where no difference is seen."""
    found = [
        _state_ranking(ranking)
        for ranking in comparison.rankings
        if ranking.outcome.better
    ]
    found += [
        _state_sizes(ranking)
        for ranking in comparison.rankings
        if ranking.outcome.unit in ("weight", "AUC")
    ]
    return [
        *found,
        *_state_units(comparison),
        *_state_failures(comparison),
        *_warn(comparison),
    ]


def _state_ranking(ranking: Ranking) -> Finding:
    outcome, best = ranking.outcome, ranking.standings[0]
    if all(one.num_censored == one.n for one in ranking.standings):
        what = f"None of the initializations comes to {outcome.title[9:]}."
        return _finding(ranking, what, "info")
    if ranking.sees_no_difference:
        return _finding(ranking, _say_nothing(ranking), "info")
    leaders = [one.name for one in ranking.leaders]
    what = f"{_upper(outcome.title)}: {_say_best(outcome, best)}"
    others = leaders[1:] if leaders[0] == best.name else leaders
    if others:
        what += f"; {say_list(others)} {_be(others)} not told apart from the best"
    for one in ranking.standings:
        if one.best_rank > 1:
            what += f"; {_say_behind(ranking, best, one)}"
    return _finding(ranking, f"{what}.", "good")


def _say_nothing(ranking: Ranking) -> str:
    least = min(pair.p_holm for pair in ranking.pairs)
    seen = [pair.detectable for pair in ranking.pairs if pair.detectable > 0]
    means = [one.mean for one in ranking.standings if one.n]
    if not means:
        return f"{_upper(ranking.outcome.title)}: not known of any replica."
    unknown = len(ranking.standings) - len(means)
    said = f"; of {unknown} more it is not known" if unknown else ""
    what = (
        f"{_upper(ranking.outcome.title)}: no difference is seen between the "
        f"{len(means)} initializations{said} (means {say_number(min(means))} to "
        f"{say_number(max(means))}; smallest adjusted p "
        f"{say_number(least, 2)})"
    )
    if seen:
        what += (
            f"; a difference of {say_number(float(np.median(seen)), 2)} would have "
            f"been seen with a power of {100 * POWER:.0f} % (median over the pairs)"
        )
    return f"{what}."


def _say_best(outcome: Outcome, best: Standing) -> str:
    word = {"high": "highest", "low": "lowest", "": "largest"}[outcome.better]
    unit = f" {outcome.unit}" if outcome.unit == "steps" else ""
    return f"{word} for {best.name} ({say_number(best.mean)}{unit}{_say_never(best)})"


def _say_never(one: Standing) -> str:
    return f", {one.num_censored} of {one.n} never" if one.num_censored else ""


def _say_behind(ranking: Ranking, best: Standing, one: Standing) -> str:
    """Against the best where that tells them apart, else against one that does."""
    for ahead in (best, *ranking.standings):
        pair = None if ahead.name == one.name else ranking.pair(ahead.name, one.name)
        if pair is not None and pair.is_distinguished:
            break
    assert pair is not None
    word = {"high": "lower", "low": "higher", "": "smaller"}[ranking.outcome.better]
    against = "" if ahead is best else f" than {ahead.name}"
    return f"{one.name} is {word}{against} by {_say_pair(pair)}{_say_never(one)}"


def _say_pair(pair: PairedDifference) -> str:
    low, high = sorted((abs(pair.low), abs(pair.high)))
    return f"{say_number(abs(pair.difference))} ({say_interval(low, high)})"


def _state_sizes(ranking: Ranking) -> Finding:
    if ranking.sees_no_difference:
        return _finding(ranking, _say_nothing(ranking), "info")
    parts = [
        f"{one.name} {say_number(one.mean)} ({one.letters}{_say_missing(ranking, one)})"
        for one in ranking.standings
    ]
    what = (
        f"{_upper(ranking.outcome.title)}, the largest first: {', '.join(parts)}; no "
        "difference is seen between those that share a letter."
    )
    return _finding(ranking, what, "info")


def _say_missing(ranking: Ranking, one: Standing) -> str:
    total = ranking.outcome.values_AR.shape[1]
    return f"; {one.n} of {total} replicas" if one.n < total else ""


def _state_units(comparison: Comparison) -> Iterator[Finding]:
    rankings = [
        one for one in comparison.rankings if one.outcome.name == "distinct_units"
    ]
    for ranking in rankings:
        lost = [one for one in ranking.standings if not one.mean >= 1]
        if not lost:
            what = "Every unit is distinct at the end, for all initializations."
            yield _finding(ranking, what, "info")
            continue
        parts = [f"{one.name} ({_say_percent(one.mean)})" for one in lost]
        yield Finding(
            what="Units that are copies of each other remain to the end; distinct in "
            f"the worst hidden layer: {say_list(parts)}.",
            why="Copies get equal gradients: such a layer computes no more than its "
            "distinct units do, however wide it is.",
            how=ranking.outcome.how,
            source="Blumenfeld et al., arXiv 2007.01038",
            level="warning",
            values={one.name: one.mean for one in ranking.standings},
            name="distinct_units",
        )


def _say_percent(share: float) -> str:
    return f"{say_number(100 * share)} %" if np.isfinite(share) else "not known"


def _state_failures(comparison: Comparison) -> Iterator[Finding]:
    parts = []
    for one in comparison.failures:
        words = [
            f"{count} of {one.n} {word}"
            for count, word in (
                (one.num_nonfinite, "stopped by NaN or Inf"),
                (one.num_diverged, "diverged"),
                (one.num_guessing, "no better than a guess at the end"),
            )
            if count
        ]
        if words:
            parts.append(f"{one.name}: {', '.join(words)}")
    if parts:
        yield Finding(
            what=f"Replicas that failed: {'; '.join(parts)}.",
            why="A start from which training fails now and then costs the whole run.",
            how="NaN or Inf in loss or weights; diverged: the clipped train loss "
            "reached its plateau, any other rose from half that of a guess to above "
            "it; no better than a guess: final "
            f"test accuracy at most {GUESS:g} times the share of the largest class; "
            "with a loss of one's own the median loss at the start stands for that of "
            "a guess",
            level="warning",
            values={one.name: one.num_guessing for one in comparison.failures},
            name="failures",
        )


def _warn(comparison: Comparison) -> Iterator[Finding]:
    if comparison.num_replicas < FEW:
        yield Finding(
            what=f"With {comparison.num_replicas} replicas only very large differences "
            "are told apart.",
            why="No difference seen is not the same as no difference.",
            how=METHOD,
            level="note",
            name="few_replicas",
            advice=f"Take {FEW} replicas at least, better 10.",
        )


def _finding(ranking: Ranking, what: str, level: str) -> Finding:
    values = {one.name: one.mean for one in ranking.standings}
    return Finding(
        what=f"{what} {ranking.outcome.caveat}".strip(),
        why=_WHY[ranking.outcome.unit],
        how=f"{ranking.outcome.how}; {METHOD}",
        source="Holm, Scand. J. Stat. 6, 65 (1979)",
        level=level,  # type: ignore[arg-type]
        values=values,
        name=ranking.outcome.name,
    )


_WHY = {
    "steps": "Fewer steps to the same loss is what a quick start means.",
    "share": "What is left of the start after the whole budget.",
    "loss": "One number for the whole course: early progress and the end count alike.",
    "weight": "How far training had to go from this start.",
    "AUC": "How much of the start is still there.",
}


def _upper(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def _be(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
