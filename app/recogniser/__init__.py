"""A model directory → a Recogniser: waveforms in, emotion scores and embeddings out."""

from app.recogniser.load import Loaded, Recogniser, load

__all__ = ["Loaded", "Recogniser", "load"]
