"""How the shipped detector is trained; what runs at inference imports none of it."""
