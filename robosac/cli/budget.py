"""`robosac budget`: from a question to an answer that is data; `budget_tables` shows it, `--json` prints it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from json import dumps
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from robosac import budget as laws
from robosac.budget import Law, Verifier, as_probability
from robosac.cli.budget_proofs import audits, votes
from robosac.cli.options import Json, command_of
from robosac.errors import InputError
from robosac.files import check_writable_file

MAX_ROWS: Final = 500
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What was asked on the command line; probabilities as they were written."""

    teammates: Annotated[int, typer.Option(help="A: agents other than the ego.")]
    attackers: Annotated[int | None, typer.Option(help="m: how many of them attack.")] = None
    ratio: Annotated[
        str | None, typer.Option(help="m/A instead of --attackers, like 0.4 or 2/5; rounded up to whole attackers.")
    ] = None
    subset: Annotated[int | None, typer.Option(help="s: teammates drawn in a trial.")] = None
    confidence: Annotated[str, typer.Option(help="p: wanted probability of success.")] = "0.99"
    max_trials: Annotated[int | None, typer.Option(help="A given budget: which subset can be the largest?")] = None
    table: Annotated[bool, typer.Option("--table", help="Every number of attackers and subset size.")] = False
    false_accept: Annotated[str, typer.Option(help="a: a contaminated subset is accepted.")] = "0"
    false_reject: Annotated[str, typer.Option(help="b: an attacker-free subset (or a whole frame) is refused.")] = "0"
    certify: Annotated[
        bool,
        typer.Option("--certify", help="What a box's certificate takes; with --max-trials of so many subsets."),
    ] = False
    audit: Annotated[
        str | None, typer.Option(metavar="RATE", help="Frames until an attacker is checked; share checked a frame.")
    ] = None
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Picture of success over trials (.png .pdf .svg).")
    ] = None
    json: Json = False

    @property
    def known_attackers(self) -> int | None:
        """The number of attackers, given or from the ratio; None where it is unknown."""
        if self.attackers is not None and self.ratio is not None:
            raise InputError("expected --attackers or --ratio, got both; drop one of them")
        return self.attackers if self.ratio is None else laws.attackers_of_ratio(self.teammates, self.ratio)

    @property
    def verifiers(self) -> dict[str, Verifier]:
        """The same error rates, read in two ways: refusals fall on trials, or on whole frames."""
        a, b = as_probability(self.false_accept, "false_accept"), as_probability(self.false_reject, "false_reject")
        if not a and not b:
            return {}
        per_trial = {"in each trial": Verifier(a, false_reject=b)}
        return {**per_trial, "whole frames": Verifier(a, frame_reject=b)} if b else per_trial


def show(question: Question) -> None:
    """How many random subsets to try, and how large they may be.

    Without --attackers and --ratio: the probing limits (A2CP) for an unknown number of attackers.
    """
    found = answer(question)
    if question.plot is not None:
        found["plot"] = str(_draw(question, question.plot))
    if question.json:
        print(dumps(found, indent=2, allow_nan=False))
        return
    from robosac.cli.budget_tables import show_answer

    show_answer(found)


def answer(question: Question) -> Row:
    """Everything that the question asks for, as plain data without NaN or infinity.

    Keys that hold lists of rows: `trials`, `outcomes` (imperfect verifier), `largest_subset`, `table`, `a2cp`,
    `certify`, `audit`. A number that does not exist is None, and its row's `reason` says why.
    """
    m = question.known_attackers
    p = as_probability(question.confidence, "confidence")
    verifiers = question.verifiers
    for name in ("teammates", "attackers", "subset", "max_trials"):
        if (value := getattr(question, name)) is not None and value < 0:
            raise InputError(f"expected --{name.replace('_', '-')} >= 0, got {value}; give a whole number")
    asked = {k: v for k, v in asdict(question).items() if k not in ("plot", "json", "certify")} | {"attackers": m}
    asked.update(
        {key: float(as_probability(asked[key], key)) for key in ("confidence", "false_accept", "false_reject")}
    )
    found: Row = {"question": asked}
    if question.audit is not None:
        asked["audit"] = float(as_probability(question.audit, "audit"))
        found["audit"] = audits(question.teammates, 1 if m is None else m, question.audit, p)
    if question.certify:
        sizes = range(1, question.teammates + 1) if question.subset is None else [question.subset]
        found["certify"] = [
            votes(question.teammates, k, s, question.max_trials, p)
            for k in (range(1, min(2, question.teammates) + 1) if m is None else (m,))
            for s in sizes
        ]
    if len(found) > 1:
        return found
    if m is None and question.subset is None and question.max_trials is None and not question.table:
        found["a2cp"] = _a2cp(question.teammates, p)
        return found
    if question.table:
        found["table"] = _grid(question.teammates, m, p)
    elif m is None:
        raise InputError("expected the number of attackers, got none; add --attackers M or --ratio R")
    if m is None:
        return found
    if question.subset is not None:
        found["trials"] = [_trials(question, m, question.subset, p, law) for law in Law]
        if verifiers:
            found["outcomes"] = _outcomes(question, m, question.subset, p, verifiers)
    if question.max_trials is not None:
        found["largest_subset"] = [_size(question, m, question.max_trials, p, law, verifiers) for law in Law]
    if len(found) == 1:
        raise InputError("expected a question, got only a team; add --subset S, --max-trials N or --table")
    return found


def _trials(question: Question, m: int, s: int, p: Fraction, law: Law) -> Row:
    """One law's trials, what it claims for them and what they truly reach."""
    A, found = question.teammates, laws.trials(question.teammates, m, s, p, law=law)
    row: Row = {"law": law.value, "share": float(laws.share(A, m, s, law=law)), **asdict(found)}
    n = found.count if question.max_trials is None else question.max_trials
    row["at"] = n
    row["claimed"] = None if n is None else laws.success(A, m, s, n, law=law)
    row["with_repeats"] = None if n is None else laws.success(A, m, s, n, law=Law.INDEPENDENT)
    row["without_repeats"] = None if n is None else laws.success(A, m, s, n, law=Law.NO_REPEATS)
    row["expected_trials"] = None if n is None else laws.outcome(A, m, s, n, law=law).expected_trials
    return row


def _outcomes(question: Question, m: int, s: int, p: Fraction, verifiers: dict[str, Verifier]) -> list[Row]:
    """What an imperfect verifier makes of each law's trials, or of the given number."""
    rows = []
    for law in Law:
        for refusals, verifier in verifiers.items():
            wanted = laws.trials(question.teammates, m, s, p, law=law, verifier=verifier)
            n = question.max_trials
            if n is None:
                n = laws.trials(question.teammates, m, s, p, law=law).count
            row: Row = {
                "law": law.value,
                "refusals": refusals,
                "at": n,
                "wanted": wanted.count,
                "reason": wanted.reason,
            }
            values: Row = dict.fromkeys(("clean", "contaminated", "none", "expected_trials"))
            if n is not None:
                try:
                    values = asdict(laws.outcome(question.teammates, m, s, n, law=law, verifier=verifier))
                except InputError as too_many:
                    row["reason"] = str(too_many)
            rows.append({**row, **values})
    return rows


def _size(question: Question, m: int, n: int, p: Fraction, law: Law, verifiers: dict[str, Verifier]) -> Row:
    row: Row = {"law": law.value, **asdict(laws.largest_subset(question.teammates, m, n, p, law=law))}
    row["formula"] = laws.paper_subset_size(question.teammates, m, n, p) if law is Law.PAPER else None
    row["verifier"] = {
        refusals: asdict(laws.largest_subset(question.teammates, m, n, p, law=law, verifier=verifier))
        for refusals, verifier in verifiers.items()
    }
    return row


def _grid(A: int, m: int | None, p: Fraction) -> list[Row]:
    """Every number of attackers (or the given one) and every subset that enough honest teammates exist for."""
    laws.share(A, m or 0, 0)  # complains about a team that cannot be
    cells = [(k, s) for k in (range(A) if m is None else [m]) for s in range(1, A - k + 1)]
    if len(cells) > MAX_ROWS:
        raise InputError(
            f"expected a table of at most {MAX_ROWS} rows, got {len(cells)}; give --attackers or fewer teammates"
        )
    return [_cell(A, k, s, p) for k, s in cells]


def _cell(A: int, m: int, s: int, p: Fraction) -> Row:
    counts = {law: laws.trials(A, m, s, p, law=law).count for law in Law}
    at_paper = counts[Law.PAPER]
    row: Row = {"teammates": A, "attackers": m, "subset": s}
    for law in (Law.PAPER, Law.INDEPENDENT):
        row[f"share_{law.value}"] = float(laws.share(A, m, s, law=law))
    row.update({f"trials_{law.value}": counts[law] for law in Law})
    row["true_success_at_paper"] = None if at_paper is None else laws.success(A, m, s, at_paper, law=Law.INDEPENDENT)
    return row


def _a2cp(A: int, p: Fraction) -> list[Row]:
    by_law = (
        {law: laws.a2cp_limits(A, p, law=law) for law in Law}
        if p < 1
        else {Law.NO_REPEATS: laws.a2cp_limits(A, p, law=Law.NO_REPEATS)}
    )
    return [
        {"subset": size, "attackers": A - size, **{f"tries_{law.value}": by_law.get(law, {}).get(size) for law in Law}}
        for size in by_law[Law.NO_REPEATS]
    ]


def _draw(question: Question, path: Path) -> Path:
    m = question.known_attackers
    if m is None or question.subset is None:
        raise InputError("expected --attackers (or --ratio) and --subset for --plot, got no single curve; add them")
    check_writable_file(path)
    from robosac.viz.budget_plot import plot_budget, save

    p = as_probability(question.confidence, "confidence")
    return save(plot_budget(question.teammates, m, question.subset, p, max_trials=question.max_trials), path)


budget = command_of(Question, show)
