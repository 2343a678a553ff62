"""Adapters to models of other frameworks; they import the user's own copy and carry nothing of it."""
