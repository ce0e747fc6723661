"""A model directory → a Recogniser: waveforms in, emotion scores and embeddings out."""

from app.recogniser.clip import recognise_clip
from app.recogniser.fair_queue import Flow
from app.recogniser.load import Loaded, load
from app.recogniser.recogniser import Recogniser

__all__ = ["Flow", "Loaded", "Recogniser", "load", "recognise_clip"]
