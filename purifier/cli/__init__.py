"""The ``purifier`` command."""
