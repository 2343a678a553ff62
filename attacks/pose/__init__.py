"""Attacks on the claimed pose."""
