"""Parts of `benchmarks/accuracy.py`: what is compared, on what, how it is fitted, and what is told of it."""
