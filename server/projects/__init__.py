"""Projects: proposed, reviewed and scored, run, and told about."""
