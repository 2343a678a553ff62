"""What a fleet is asked to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from robosac.experiments.fleet.domains import DOMAINS
from robosac.experiments.fleet.poisoning import DATA_ATTACKS
from robosac.fleet.aggregation import AGGREGATIONS
from robosac.fleet.attackers import POISONS
from robosac.fleet.robust import ROBUST
from robosac.language.domains import DOMAINS as TEXTS
from robosac.randomness import keyed_rng
from robosac.types import InputError

ATTACKS: Final = (*POISONS, *DATA_ATTACKS)
CONSENSUS: Final = "consensus"
DEFENSES: Final = (*ROBUST, CONSENSUS)
LORA: Final = {  # method -> rule, and which rank all have; None: each its own
    "lowest": ("fedavg-factors", min),
    "highest": ("fedavg-factors", max),
    "hetlora": ("hetlora", None),
    "flexlora": ("flexlora", None),
    "rank-weighted": ("rank-weighted", None),
}
DENSE: Final = ("batch-norm", "full")
METHODS: Final = ("base", "local", "lowest", "highest", "hetlora", "flexlora", "rank-weighted", *DENSE, "centralised")
VEHICLES: Final = tuple(zip(DOMAINS, (8, 16, 2, 4, 4, 8), strict=True))
TINY: Final = "tiny-lm"
HUB: Final = "hf:"
LANGUAGE: Final = tuple(
    (d, r) for d, ranks in zip(TEXTS, ((2, 8), (2, 16), (4, 8), (2, 16)), strict=True) for r in ranks
)
"""Who tunes a language model: two clients of each domain, a slow link and a fast one."""


@dataclass(frozen=True, kw_only=True)
class FleetSettings:
    """A row's settings; everything that decides its figures.

    Attributes:
        detector: shipped name or file of the detector that all begin with.
        language: a language model in its place, `tiny-lm` or `hf:PATH`; "" for none.
        data: a folder of recordings or of instructions, a part of it a domain; "" for what is made here.
        content: a fingerprint of the files that these names lead to, so that others are another run.
        vehicles: a domain and a rank each.
        method: of `METHODS`.
        attack, attackers: what so many of the vehicles do, drawn by the seed among those that are not odd.
        defense: of `DEFENSES`.
        rounds, steps, lr: rounds, and steps of Adam of each vehicle in each.
        frames: scenes of each vehicle, or instructions of each domain: to learn from, held out for the verifier, to
            report on. All that there are, at most.
        seed: of every draw of a run and of who attacks; the vehicles' scenes are the same for all.
        budget_mb: of all messages of a run, 10^6 bytes each; a run that needs more is marked.
    """

    detector: str = "mean"
    language: str = ""
    data: str = ""
    content: str = ""
    vehicles: tuple[tuple[str, int], ...] = VEHICLES
    method: str = "flexlora"
    attack: str = ""
    attackers: int = 0
    defense: str = "none"
    rounds: int = 30
    steps: int = 8
    lr: float = 5e-4
    frames: tuple[int, int, int] = (12, 2, 8)
    seed: int = 0
    budget_mb: float = 100.0

    def __post_init__(self) -> None:
        for name, value, known in (
            ("method", self.method, METHODS),
            ("defense", self.defense, DEFENSES),
            ("attack", self.attack, ("", *ATTACKS)),
        ):
            if value not in known:
                raise InputError(f"expected {name} among {', '.join(filter(None, known))}, got {value!r}")
        if not self.vehicles:
            raise InputError("expected vehicles, DOMAIN:RANK each, got none")
        if bool(self.attack) != bool(self.attackers) or not 0 <= self.attackers < len(self.vehicles):
            raise InputError(
                f"expected an attack and a number of attackers below {len(self.vehicles)}, or neither; got "
                f"{self.attack!r} and {self.attackers}"
            )
        kind, _, path = self.language.partition(":")
        if self.language != TINY and (kind not in ("", TINY, HUB[:-1]) or (kind and not path)):
            raise InputError(f"expected {TINY}, {TINY}:FILE or hf:PATH, got {self.language!r}")
        known = self.domains
        for domain, rank in self.vehicles:
            if (known and domain not in known) or rank < 1:
                raise InputError(f"expected DOMAIN:RANK of {', '.join(known)} and rank >= 1, got {domain}:{rank}")
        able = sum(domain not in self.odd for domain, _ in self.vehicles)
        if self.attackers > able:
            raise InputError(
                f"expected at most {able} attackers, since {', '.join(sorted(self.odd))} never attacks; got "
                f"{self.attackers}"
            )
        if self.language and (self.attack == "backdoor" or self.method == "batch-norm"):
            raise InputError(f"expected what a language model has, got {self.attack or self.method}")
        if self.language.startswith(HUB) and self.method in DENSE:
            raise InputError(f"expected {TINY} with the method {self.method}, got {self.language}")
        if min(self.frames) < 1 or self.rounds < 1 or self.steps < 1 or not 0 < self.lr < float("inf") or self.seed < 0:
            raise InputError("expected frames, rounds and steps >= 1, a finite lr > 0 and a seed >= 0")
        if not self.budget_mb >= 0:
            raise InputError(f"expected a budget of 0 MB or more, got {self.budget_mb:g}")
        if self.method not in LORA and (self.attack or self.defense != "none"):
            raise InputError(
                f"expected a method among {', '.join(LORA)} with an attack or a defence, got {self.method}"
            )

    @property
    def domains(self) -> tuple[str, ...]:
        """What vehicles may be of; empty where `data` says."""
        if self.data:
            return ()
        return tuple(TEXTS) if self.language else tuple(DOMAINS)

    @property
    def odd(self) -> frozenset[str]:
        """Domains unlike all others."""
        return frozenset() if self.language or self.data else frozenset(n for n, d in DOMAINS.items() if d.odd)

    @property
    def rule(self) -> Any:
        """How updates are merged."""
        return AGGREGATIONS[LORA[self.method][0]]

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of each vehicle."""
        own = tuple(rank for _, rank in self.vehicles)
        pick = LORA[self.method][1] if self.method in LORA else None
        return own if pick is None else (pick(own),) * len(own)

    @property
    def title(self) -> str:
        """The row's name in tables."""
        attack = f", {self.attackers} x {self.attack}" if self.attack else ""
        return f"{self.method}{attack}" + ("" if self.defense == "none" else f", {self.defense}")

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def ids_of(settings: FleetSettings) -> list[str]:
    """Names of the vehicles: of their domain, with a number where several share it."""
    names = [domain for domain, _ in settings.vehicles]
    return [n if names.count(n) == 1 else f"{n}-{names[:k].count(n) + 1}" for k, n in enumerate(names)]


def attackers_of(settings: FleetSettings) -> tuple[str, ...]:
    """Who attacks: drawn by the seed among those that are not odd."""
    able = [i for i, (d, _) in zip(ids_of(settings), settings.vehicles, strict=True) if d not in settings.odd]
    order = keyed_rng(settings.seed, "attackers").permutation(len(able))
    return tuple(able[int(k)] for k in order[: settings.attackers])


def vehicles_of(text: str) -> tuple[tuple[str, int], ...]:
    """`city:8,fog:2` as vehicles.

    Raises:
        InputError: it is not of that form.
    """
    found = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        domain, _, rank = part.partition(":")
        if not rank.isdigit():
            raise InputError(f"expected vehicles like city:8,fog:2, got {part!r}")
        found.append((domain, int(rank)))
    return tuple(found)
