"""A model directory → a Recogniser: waveforms in, emotion scores and embeddings out."""

from app.recogniser.clip import recognise_clip
from app.recogniser.fair_queue import Flow
from app.recogniser.load import Loaded, is_model, is_pinned, load, load_from, load_stored
from app.recogniser.recogniser import Recogniser
from app.recogniser.sources import Source

__all__ = [
    "Flow",
    "Loaded",
    "Recogniser",
    "Source",
    "is_model",
    "is_pinned",
    "load",
    "load_from",
    "load_stored",
    "recognise_clip",
]
