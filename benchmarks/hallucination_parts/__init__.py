"""Parts of the benchmark of the hallucination meter."""
