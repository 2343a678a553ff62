"""What a fleet learns together: low-rank updates of unequal ranks, their merging, and who is kept out of it."""
