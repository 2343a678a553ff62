"""How a language model learns from instructions, and how it is scored: on logits of the possible answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from robosac.detectors.lora import descend
from robosac.fleet.adapters import Adapter, Shapes
from robosac.fleet.lowrank import LowRankUpdate
from robosac.language.items import Item
from robosac.types import InputError

Forward = Callable[[Tensor], Tensor]
"""Token ids `(N, T)` -> logits of what comes next `(N, T, vocabulary)`."""
_END: Final = "\n"
_CLIP: Final = 1.0  # norm of a gradient


class Tokens(Protocol):
    """Text as numbers."""

    @property
    def context(self) -> int:
        """Longest text that the model can see."""
        ...

    def encode(self, prompt: str, answer: str) -> tuple[list[int], int]:
        """Both as one list, and how many of them are the prompt's."""
        ...


class Tuning(Protocol):
    """A model while its adapter is trained."""

    @property
    def trained(self) -> Sequence[nn.Parameter]: ...
    def forward(self, ids: Tensor) -> Tensor: ...
    def read(self, samples: int) -> dict[str, LowRankUpdate]:
        """The adapter as it is now."""
        ...


class LanguageModel(Protocol):
    """A frozen causal language model that adapters are put on."""

    @property
    def tokens(self) -> Tokens: ...
    @property
    def shapes(self) -> Shapes:
        """The layers that are adapted."""
        ...

    @property
    def identity(self) -> str:
        """Of its weights, for what is kept on disk."""
        ...

    def tuning(self, adapter: Adapter) -> AbstractContextManager[Tuning]:
        """The model with an adapter that is to be trained."""
        ...

    def with_adapter(self, adapter: Adapter) -> AbstractContextManager[Forward]:
        """The model with an adapter of any rank added to its weights."""
        ...


class Bytes:
    """A number a byte of UTF-8."""

    def __init__(self, context: int) -> None:
        self.context = context

    def encode(self, prompt: str, answer: str) -> tuple[list[int], int]:
        before = list(prompt.encode())
        return before + list((answer + _END).encode()), len(before)


def batch_of(items: Sequence[Item], tokens: Tokens) -> tuple[Tensor, Tensor]:
    """Ids `(N, T)`, shorter ones padded at the end, and which of them the model is to foresee: those of the answers."""
    return padded([tokens.encode(item.prompt, item.right) for item in items], tokens.context)


def padded(pairs: Sequence[tuple[list[int], int]], context: int) -> tuple[Tensor, Tensor]:
    """As `batch_of`, of encoded texts.

    Raises:
        InputError: a text is longer than the model can see, or has no prompt or no answer.
    """
    longest = max(len(ids) for ids, _ in pairs)
    if longest > context:
        raise InputError(f"expected instruction and answer of at most {context} tokens, got {longest}")
    ids = torch.zeros(len(pairs), longest, dtype=torch.long)
    wanted = torch.zeros(len(pairs), longest, dtype=torch.bool)
    for row, (text, before) in enumerate(pairs):
        if not 0 < before < len(text):
            raise InputError(f"expected tokens of an instruction and of an answer, got {before} of {len(text)}")
        ids[row, : len(text)] = torch.tensor(text)
        wanted[row, before : len(text)] = True
    return ids, wanted


def loss_of(logits: Tensor, ids: Tensor, wanted: Tensor) -> Tensor:
    """Mean surprise, in nats, by the tokens that were to be foreseen."""
    told, truth = logits[:, :-1][wanted[:, 1:]], ids[:, 1:][wanted[:, 1:]]
    return nn.functional.cross_entropy(told.float(), truth)


@torch.no_grad()
def mean_loss(forward: Forward, items: Sequence[Item], tokens: Tokens) -> float:
    """Mean over items of the surprise by their right answers, a token."""
    ids, wanted = batch_of(items, tokens)
    return float(loss_of(forward(ids), ids, wanted))


@torch.no_grad()
def choice_scores(forward: Forward, items: Sequence[Item], tokens: Tokens, batch: int = 128) -> list[Tensor]:
    """Log probabilities of each item's answers, each `(choices,)`."""
    pairs = [tokens.encode(item.prompt, choice) for item in items for choice in item.choices]
    sums: list[Tensor] = []
    for k in range(0, len(pairs), batch):
        ids, wanted = padded(pairs[k : k + batch], tokens.context)
        logs = torch.log_softmax(forward(ids)[:, :-1].float(), dim=-1)
        each = logs.gather(-1, ids[:, 1:, None])[..., 0]
        sums.append((each * wanted[:, 1:]).sum(dim=1))
    found = torch.cat(sums)
    return list(torch.split(found, [len(item.choices) for item in items]))


def local_update(
    model: LanguageModel,
    adapter: Adapter,
    items: Sequence[Item],
    *,
    steps: int,
    lr: float,
    batch: int,
    rng: np.random.Generator,
) -> dict[str, LowRankUpdate]:
    """The adapter after `steps` steps of Adam from `adapter` on a client's own instructions; the model stays as it is.

    The same arguments give the same adapter.

    Raises:
        InputError: there are no items, or one is longer than the model can see.
    """
    if not items:
        raise InputError("expected instructions to learn from, got none")
    with model.tuning(adapter) as tuning:
        train(tuning.forward, tuning.trained, items, model.tokens, steps=steps, lr=lr, batch=batch, rng=rng)
        return tuning.read(next(iter(adapter.values())).samples)


def train(
    forward: Forward,
    trained: Sequence[nn.Parameter],
    items: Sequence[Item],
    tokens: Tokens,
    *,
    steps: int,
    lr: float,
    batch: int,
    rng: np.random.Generator,
) -> None:
    """Steps of Adam on some of a model's parameters, in place."""

    def drawn() -> Tensor:
        ids, wanted = batch_of([items[int(k)] for k in rng.integers(len(items), size=batch)], tokens)
        return loss_of(forward(ids), ids, wanted)

    descend(trained, drawn, steps=steps, lr=lr, clip=_CLIP)


def accuracy(forward: Forward, items: Sequence[Item], tokens: Tokens) -> float:
    """Share of items whose right answer is the most probable one. What is not finite is wrong."""
    return share_right(choice_scores(forward, items, tokens), items)


def share_right(scores: Sequence[Tensor], items: Sequence[Item]) -> float:
    """As `accuracy`, of scores."""
    right = [bool(torch.isfinite(s).all()) and int(s.argmax()) == i.answer for s, i in zip(scores, items, strict=True)]
    return sum(right) / len(right)
