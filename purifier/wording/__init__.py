"""What is said to people, and in which language."""
