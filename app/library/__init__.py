"""What the service does with clips: recognise and index, search, forget."""

from app.library.library import Library

__all__ = ["Library"]
