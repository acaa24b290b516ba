"""What tools/benchmark.py measures: ways to the same result, in turns, beside a baseline and a floor."""
