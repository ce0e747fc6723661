"""Emoseek: a self-hosted service that recognises, embeds and searches speech emotion."""

__version__ = "0.1.0"
