"""Fleets that adapt one model: their vehicles' worlds, the runs, the board."""
