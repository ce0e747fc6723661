"""What scripts/bench_analysis.py measures, a module for each subcommand."""
