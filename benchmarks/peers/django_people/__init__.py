"""People as a Django application."""
