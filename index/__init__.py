"""Vector index: ids and embeddings in, nearest ids with their similarities out.

It knows vectors only; what an id stands for is its caller's business. `contract` says what
every engine does, `exact` is the reference, `flat` serves small libraries and `graph_index` large
ones, `gpu_search` keeps a copy of a large one on a GPU, `mean` decides what is removed before the
cosine, `build` makes an index of a library, `snapshot` keeps one on disk.
"""
