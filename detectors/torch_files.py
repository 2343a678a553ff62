"""What torch says of a file that is no checkpoint, in words that send nobody to execute it."""

from __future__ import annotations


def why_unread(error: Exception) -> str:
    """A line about an error of `torch.load(..., weights_only=True)`.

    Torch's own advice on files that hold more than tensors is to load them all the same, which executes what they hold.
    """
    said = (str(error).splitlines() or [""])[0].strip()
    if said.startswith("Weights only load failed"):
        return "it holds more than tensors and plain data, which is not executed"
    return f"{type(error).__name__}{': ' if said else ''}{said}"
