"""`robosac inspect`: the same as `robosac data inspect`."""

from robosac.cli.data import data_inspect as inspect

__all__ = ["inspect"]
