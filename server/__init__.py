"""Zhihui: the application without HTTP."""

__version__ = "0.1.0"
