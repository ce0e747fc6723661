"""Methods: arrays in, dataclasses out. They know neither the store nor HTTP."""
