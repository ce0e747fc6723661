"""Vector index: ids and embeddings in, nearest ids with their similarities out.

It knows vectors only; what an id stands for is its caller's business. `contract` says what
every engine does, `exact` is the reference, `flat` the engine in use, `mean` decides what is
removed before the cosine and builds an index, `snapshot` keeps one on disk.
"""
