"""Attacks on links and on time: messages dropped, doubled, made up, stale."""
