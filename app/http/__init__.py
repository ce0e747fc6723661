"""The HTTP contract: routes, schemas, and the one place that turns an error into a response."""
