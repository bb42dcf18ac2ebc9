"""From raw recordings to trials, stimuli and splits on disk; light to import, readers load their packages on use."""

from braindec.data.dataset import NeuralDataset, Split

__all__ = ["NeuralDataset", "Split"]
