"""Readers of HR sources: each gives pages of rows as HR has them, one after another, in bounded memory."""
