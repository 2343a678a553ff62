"""The shipped detector: intermediate fusion in bird's-eye view."""
