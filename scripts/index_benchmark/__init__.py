"""Parts of scripts/bench_index.py, the comparison of the index with its peers."""
