"""Handlers of projects, student projects, audits and scores."""
