"""Modules, workflows, runs: the component dispatch wing."""
