"""Picture files, of all kinds, to batches and back."""
