"""Tables and every query. The library layer opens a transaction and passes it to a query."""

from app.store.engine import Session, Store

__all__ = ["Session", "Store"]
