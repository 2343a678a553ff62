"""What a detector or a session may offer beyond the protocols in `robosac.types`; each is optional."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, runtime_checkable

from robosac.types import (
    Array,
    Bool,
    Detections,
    Detector,
    Float32,
    Float64,
    Id,
    Message,
    Request,
    Session,
    Subset,
    View,
)

Outputs: TypeAlias = Mapping[str, Array]  # a model's raw outputs by name


@dataclass(frozen=True, eq=False)
class Contribution:
    """What one agent shows by itself, in the ego's frame: features, boxes or points, whichever the detector sends.

    Attributes:
        features: name -> map `(C, H, W)`, as it is just before fusion. Rows run along +y and columns along +x over the
            area of the detector's grid; a map may have coarser cells than the grid, or finer ones.
        valid: `(H, W)`, where the maps hold what the agent sent and not filling; None where this is not known.
        detections: boxes and scores, where agents send boxes.
        points: `(N, 4)` `[x y z intensity]`, where they send points.
    """

    features: Mapping[str, Float32] = field(default_factory=dict)
    valid: Bool | None = None
    detections: Detections | None = None
    points: Float32 | None = None


@runtime_checkable
class Contributing(Session, Protocol):
    """A session that shows what each agent contributes by itself, before anything is fused."""

    def contribution(self, teammate: Id | None) -> Contribution:
        """What the message of one teammate shows; None: what the ego itself does, to compare with.

        It depends on nobody else's message.

        Raises:
            InputError: nothing came from that teammate, or the model fuses what is not in the ego's frame.
        """
        ...


@dataclass(frozen=True, eq=False)
class Claim:
    """What a message claims beside its payload.

    Attributes:
        ego_T_payload: `(4, 4)`, the frame of the payload in the ego's.
        age_s: seconds between its scan and the ego's.
    """

    ego_T_payload: Float64
    age_s: float


@runtime_checkable
class Solo(Session, Protocol):
    """A session that tells what each teammate's message shows by itself, as if its sender were the ego."""

    def solo(self, teammates: Sequence[Id]) -> list[Detections]:
        """What the messages of these teammates show, each for itself: boxes and scores in the ego's frame, best first.

        The detector runs on the message alone, in the frame that its payload is in, and the boxes are brought over by
        the pose that the message claims. Nothing else of the sender is known, and nothing of the ego is mixed in. What
        holds the ego's own sensor is the ego and left out. Where the detector has score maps these are brought over,
        too, and are 0 where the message does not reach.

        No content of a message makes it raise.

        Raises:
            InputError: nothing came from one of the teammates.
        """
        ...

    def claim(self, teammate: Id) -> Claim:
        """The pose that the message's boxes are brought over by, and its age.

        Raises:
            InputError: nothing came from that teammate.
        """
        ...


@runtime_checkable
class OfBoxes(Session, Protocol):
    """A session of late fusion: its results are made of the boxes that agents sent, and of nothing else."""

    def sent(self, teammates: Sequence[Id]) -> list[Detections]:
        """What these teammates sent, in the ego's frame, best first.

        Raises:
            InputError: nothing came from one of the teammates.
        """
        ...


@runtime_checkable
class Differentiable(Session, Protocol):
    """A session whose logits can be differentiated with respect to the messages' payloads."""

    def logits(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> Any:
        """Class logits `(S, H, W)` as torch; gradients flow to the torch tensors in `payloads`, which replace
        the messages' own. The encoder is not in the loop."""
        ...


@runtime_checkable
class BoxDifferentiable(Differentiable, Protocol):
    """A session whose boxes can be differentiated, too, before anything is thresholded or suppressed."""

    def logits_and_boxes(self, payloads: Mapping[Id, Any], subsets: Sequence[Subset]) -> tuple[Any, Any]:
        """Class logits `(S, H, W)` and the box that each cell would give, `(S, H, W, 7)` in the ego frame, as torch;
        gradients flow as in `logits`."""
        ...


@runtime_checkable
class SoloDifferentiable(BoxDifferentiable, Protocol):
    """A session whose solo results can be differentiated as well."""

    def solo_logits_and_boxes(self, payloads: Mapping[Id, Any], teammates: Sequence[Id]) -> tuple[Any, Any]:
        """What messages show by themselves (`Solo`): class logits `(T, H, W)` and the box that each cell would give,
        `(T, H, W, 7)`, each in the frame that it is decoded in; gradients flow as in `logits`."""
        ...


@runtime_checkable
class Reporting(Protocol):
    """A detector that says from which score on it reports a box.

    Attacks read their pseudo-labels at it: a cell above it is an object. A fixed 0.5 would find nothing in a model
    whose scores peak below.
    """

    @property
    def reporting_threshold(self) -> float: ...


@runtime_checkable
class Labelling(Protocol):
    """A detector whose cells are to count as objects from another score on than that from which it reports boxes."""

    @property
    def label_score(self) -> float: ...


@runtime_checkable
class Verifiable(Detector, Protocol):
    """A detector that can also run as if it were not wrapped, so that what is cached can be checked against it."""

    def full(self, ego: View, others: Sequence[View], to: Request, tampered: Sequence[Message] = ()) -> Outputs:
        """Raw outputs of one unwrapped forward with the ego and these agents only, from their points.

        Nothing cached is used. Each message in `tampered` takes the place of what its sender sends.
        """
        ...


@runtime_checkable
class RawSession(Session, Protocol):
    """A session that shows the model's raw outputs beside its boxes."""

    def outputs(self, subset: Subset) -> Outputs:
        """Raw outputs of a subset, from what the session computed once; the names are those of `Verifiable.full`."""
        ...
