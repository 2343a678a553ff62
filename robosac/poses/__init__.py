"""Claimed poses against what is seen in common: how far one is off, how sure that is, and a message with it mended."""
