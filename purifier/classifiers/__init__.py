"""Classifiers: loaded by name, from a folder or from the Hugging Face Hub."""
