"""The parts of the tab 'Evidence'."""
