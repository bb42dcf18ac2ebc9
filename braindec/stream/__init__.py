"""Decoding while it happens: blocks of M/EEG or a volume at a time, through the same decoder as afterwards."""

from braindec.stream.blocks import Block, from_lsl, play
from braindec.stream.decoding import Decoded, LiveDecoder, class_answer
from braindec.stream.live import Answer, Answered, Live
from braindec.stream.page import LivePage
from braindec.stream.preparing import Preparation
from braindec.stream.volumes import Beta, LiveBetas
from braindec.stream.windows import EventWindows, SlidingWindows, Window

__all__ = [
    "Answer",
    "Answered",
    "Beta",
    "Block",
    "Decoded",
    "EventWindows",
    "Live",
    "LiveBetas",
    "LiveDecoder",
    "LivePage",
    "Preparation",
    "SlidingWindows",
    "Window",
    "class_answer",
    "from_lsl",
    "play",
]
