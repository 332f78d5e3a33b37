"""The peers' own code; it runs in .venv-peers and imports nothing of the project."""
