"""Language models that a fleet tunes together: a tiny one made here, and any Hugging Face model on disk."""
