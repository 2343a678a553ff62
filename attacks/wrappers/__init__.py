"""Attacks around other attacks: on a schedule, computed on another detector, after warping."""
