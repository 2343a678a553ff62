"""Attacks on boxes as sent, for late fusion."""
