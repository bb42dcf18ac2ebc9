"""The nouns: data without behaviour, which every other room speaks."""

from braindec.types.recording import Continuous, Recording
from braindec.types.score import Report, Score
from braindec.types.signal import SignalInfo, SubjectSignal, signal_key
from braindec.types.space import ArraySpace, SensorSpace, Space, VertexSpace, VoxelSpace
from braindec.types.stimuli import Embeddings, EmbeddingsInfo, StimulusSet
from braindec.types.table import Table
from braindec.types.trials import UNKNOWN, Trials

__all__ = [
    "UNKNOWN",
    "ArraySpace",
    "Continuous",
    "Embeddings",
    "EmbeddingsInfo",
    "Recording",
    "Report",
    "Score",
    "SensorSpace",
    "SignalInfo",
    "Space",
    "StimulusSet",
    "SubjectSignal",
    "Table",
    "Trials",
    "VertexSpace",
    "VoxelSpace",
    "signal_key",
]
