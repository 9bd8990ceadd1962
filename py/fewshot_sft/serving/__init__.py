"""The server: where it is, what it serves, and its prompt."""
