"""Driving data on disk <-> `Frame` and `Truth`: readers of the field's layouts, a writer, and what they share."""
