"""A data set as OpenCOOD itself reads it, as frames: what the model was trained on is what it is calibrated on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from robosac.detectors.adapters.opencood.folder import BridgedDataset
from robosac.types import Frame


class DatasetFrames(Sequence[Frame]):
    """The frames of OpenCOOD's own dataset, each read and collated by it when it is asked for.

    OpenCOOD shuffles points by numpy's global generator; it is seeded with the index while a frame is read and put
    back afterwards, so that a frame is the same whenever it is read.
    """

    def __init__(self, make: Callable[..., Frame], dataset: BridgedDataset, name: str) -> None:
        """`make(batch, scenario=..., index=...)` gives the frame of a collated batch; `name` that of the data set."""
        self._make, self._dataset, self._name = make, dataset, name

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._make(self.batch(index), scenario=self._scenario(index), index=index)

    def batch(self, index: int) -> Mapping[str, Any]:
        """One frame as OpenCOOD's own test loader hands it to a model."""
        state = np.random.get_state()  # noqa: NPY002 (OpenCOOD's, not ours)
        np.random.seed(index)  # noqa: NPY002
        try:
            batch: Mapping[str, Any] = self._dataset.collate_batch_test([self._dataset[index]])
        finally:
            np.random.set_state(state)  # noqa: NPY002
        return batch

    def _scenario(self, index: int) -> str:
        """A name for the drive that a frame belongs to; OpenCOOD keeps the numbers of frames before each one's end."""
        ends = getattr(self._dataset, "len_record", None)
        return self._name if ends is None else f"{self._name}/{bisect_right(ends, index)}"
