"""Where published models are downloaded from, and the caches that keep them."""

from app.recogniser.hubs.contract import CannotDownload, Hub
from app.recogniser.hubs.huggingface import REPOSITORIES, HuggingFace
from app.recogniser.hubs.modelscope import ModelScope
from app.recogniser.hubs.progress import Progress

HUBS: dict[str, Hub] = {hub.setting: hub for hub in (ModelScope(), HuggingFace())}
MODELSCOPE_IDS = {repository: model_id for model_id, repository in REPOSITORIES.items()}

__all__ = ["HUBS", "MODELSCOPE_IDS", "CannotDownload", "Hub", "Progress"]
