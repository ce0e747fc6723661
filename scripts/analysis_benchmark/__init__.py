"""The parts of scripts/bench_analysis.py."""
