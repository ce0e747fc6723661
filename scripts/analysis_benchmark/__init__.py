"""What scripts/bench_analysis.py measures, one module for each of its parts."""
