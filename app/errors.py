"""Every refusal of the service, each with its HTTP status. One handler renders them all."""

from __future__ import annotations


class EmoseekError(Exception):
    """Base of all refusals. `detail` is written for the caller: no path of the server in it."""

    status = 500
    type = "internal"
    title = "The service failed"
    retry_after: int | None = None  # seconds

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class NoAudio(EmoseekError):
    """Nothing to hear: empty, too short, or samples that are not finite."""

    status, type, title = 400, "no-audio", "No usable audio"


class Unauthorised(EmoseekError):
    status, type, title = 401, "unauthorised", "A valid API key is required"


class NotFound(EmoseekError):
    status, type, title = 404, "not-found", "Not found"


class Conflict(EmoseekError):
    status, type, title = 409, "conflict", "Conflicts with an earlier request"


class UnderWay(Conflict):
    """What was asked for is being done already."""

    type, title = "under-way", "Under way already"


class NotIndexed(EmoseekError):
    status, type, title = 409, "not-indexed", "The clip has no embedding of the active model"


class Gone(EmoseekError):
    status, type, title = 410, "gone", "Deleted"


class TooLarge(EmoseekError):
    """More bytes, or more seconds once decoded, than allowed."""

    status, type, title = 413, "too-large", "Larger than allowed"


class UnsupportedAudio(EmoseekError):
    """Not audio, a format that is not accepted, zero channels, or damaged beyond decoding."""

    status, type, title = 415, "unsupported-audio", "Not audio that can be decoded"


class InvalidParameter(EmoseekError):
    """A parameter out of its range. `parameter` names it."""

    status, type, title = 422, "invalid-parameter", "A parameter is not valid"

    def __init__(self, parameter: str, problem: str) -> None:
        super().__init__(f"{parameter}: {problem}")
        self.parameter = parameter


class QueueFull(EmoseekError):
    status, type, title = 429, "queue-full", "Too many recognitions are waiting"
    retry_after = 1


class TooManyTrainings(QueueFull):
    title = "Too many classifiers are being trained"
    retry_after = 30


class ClientGone(EmoseekError):
    """The client hung up before its answer: rendered, but nobody reads it."""

    status, type, title = 499, "client-gone", "The client hung up"


class Unavailable(EmoseekError):
    """Starting, or a dependency is down."""

    status, type, title = 503, "unavailable", "Not available at the moment"
    retry_after = 2


class NotEnoughMemory(Unavailable):
    """To hear audio with a model; another time there may be."""


class SettingsError(EmoseekError):
    """A setting is unknown or impossible; stops the start and names the setting."""

    status, type, title = 500, "settings", "Settings"


class ModelError(EmoseekError):
    """A model directory that cannot be had, or does not fit together."""

    status, type, title = 503, "model", "The model cannot be loaded"


class DataDirInUse(EmoseekError):
    """Another process owns the data directory."""

    status, type, title = 503, "data-dir-in-use", "The data directory has an owner already"
