"""What made the bundled weights and example pictures, as commands."""
