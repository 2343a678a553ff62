"""Attacks on the attackers' own scans, before they are encoded."""
