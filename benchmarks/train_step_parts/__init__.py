"""What the benchmarks of MindEye2's training step share: the published form, written out plainly."""
