"""Classifiers on users' own labels: trained on stored embeddings, asked about new clips."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from app.analysis.classifier import Floats, LinearClassifier
from app.domain import ClipFilter
from app.errors import Conflict, InvalidParameter, NotFound, TooManyTrainings, Unavailable
from app.library.nice import be_nice
from app.library.spaces import Space
from app.recogniser import Flow
from app.store import Session, classifier_scores, classifiers, embeddings
from app.store.classifiers import Classifier, Parameters

if TYPE_CHECKING:  # which has this
    from app.library.library import Library

AT_ONCE = 2  # trainings; each takes a core, and some copies of its embeddings
WAITING = 8  # trainings behind those
MOST = 50  # classifiers: each is asked about every new clip
BLOCK = 500  # labels in a transaction
FEW = 5000  # clips that match a filter; fewer are looked up rather than met along the ranking
MOST_NAMED = 5  # clips in a refusal

GoOn = Callable[[], None]
Embeddings = NDArray[np.float32]  # (n, D)
Said = dict[str, Any]  # {"label", "probability"}: the most probable class of a clip

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Live:
    """A classifier as it is asked about clips of one model."""

    id: int
    fit_id: int
    name: str
    classifier: LinearClassifier


@dataclasses.dataclass(frozen=True, slots=True)
class Scored:
    """What a classifier says of n clips: (n, K), finite."""

    by: Live
    probabilities: Floats

    def said(self, place: int) -> Said:
        """Of one clip."""
        number = int(self.probabilities[place].argmax())
        probability = float(self.probabilities[place, number])
        return {"label": self.by.classifier.classes[number], "probability": probability}


@dataclasses.dataclass(frozen=True, slots=True)
class Learnt:
    """What a classifier learnt from the embeddings of one model, as it is stored."""

    parameters: Parameters
    quality: dict[str, Any]


class Classifiers:
    """Of one library. Those of each model that hears new clips are in memory, and are replaced in
    one assignment."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._store = library.store
        self._live: dict[int, tuple[Live, ...]] = {}  # by the model's row
        self._reading = threading.Lock()
        self._threads = ThreadPoolExecutor(AT_ONCE, "classifiers", initializer=be_nice)
        self._places = threading.BoundedSemaphore(AT_ONCE + WAITING)
        with self._store.write() as session:
            classifiers.remove_unfinished(session)
        self.reload()

    def close(self) -> None:
        """Wait for the trainings under way, which end soon when the gate is closed."""
        self._threads.shutdown()

    def reload(self) -> None:
        """Ask those that are stored now. Raises Unavailable: the database does not answer."""
        with self._reading:
            with self._store.read() as session:
                fits = classifiers.fits(session)
            live: dict[int, list[Live]] = {}
            for fit in fits:
                try:
                    classifier = LinearClassifier(**_fields(fit.parameters()))
                except (ValueError, TypeError, KeyError):
                    log.exception("What the classifier %r learnt is damaged.", fit.name)
                    continue
                live.setdefault(fit.model_id, []).append(
                    Live(fit.classifier_id, fit.id, fit.name, classifier)
                )
            self._live = {row: tuple(its) for row, its in live.items()}

    def live(self, model_row: int) -> tuple[Live, ...]:
        """Those that were trained for a model."""
        return self._live.get(model_row, ())

    def scored(self, model_row: int, vectors: Embeddings) -> list[Scored]:
        """What each says of clips by their embeddings (n, D) of a model. Never raises: one that
        fails is left out."""
        found = []
        for one in self.live(model_row):
            try:
                probabilities = one.classifier.probabilities(vectors)
                if not np.isfinite(probabilities).all():
                    raise ValueError("a probability is not finite")
                found.append(Scored(one, probabilities))
            except Exception:
                log.exception("The classifier %r failed; new clips lack its scores.", one.name)
        return found

    def keep(self, session: Session, clip_ids: Sequence[int], scored: Sequence[Scored]) -> None:
        """Store what was said of clips in the transaction that stores them. Never raises: the
        clips are stored, whatever becomes of this."""
        for one in scored:
            try:
                with session.begin_nested():
                    fit_id = one.by.fit_id
                    classifier_scores.add(session, fit_id, clip_ids, one.probabilities)
            except Exception:
                log.exception("Scores of the classifier %r were not stored.", one.by.name)

    def of_clip(self, clip_id: int) -> dict[str, Said]:
        """What those that were trained for the active model have said of a stored clip, by name,
        as `said` gives it."""
        with self._store.read() as session:
            stored = classifier_scores.of_clip(session, clip_id, self._library.model_row)
        return {
            name: {"label": label, "probability": probability}
            for name, (label, probability) in stored.items()
        }

    def ranked(
        self,
        fit_id: int,
        class_numbers: Sequence[int],
        wanted: ClipFilter,
        limit: int,
        **more: Any,
    ) -> list[classifier_scores.Ranked]:
        """Clips by falling probability; arguments as those of `classifier_scores.ranked`."""
        among = None
        if wanted:
            matching = self._library.filters.ids(wanted)
            among = matching.tolist() if len(matching) <= FEW else None
        with self._store.read() as session:
            return classifier_scores.ranked(
                session, fit_id, class_numbers, wanted, limit, among=among, **more
            )

    def every(self) -> list[Classifier]:
        """By id, as of the active model."""
        with self._store.read() as session:
            return classifiers.every(session, self._library.model_row)

    def get(self, classifier_id: int) -> Classifier:
        """As of the active model. Raises NotFound when there is no such classifier."""
        with self._store.read() as session:
            found = classifiers.get(session, classifier_id, self._library.model_row)
        if found is None:
            raise NotFound(f"There is no classifier {classifier_id}.")
        return found

    def remove(self, classifier_id: int) -> bool:
        """Delete one: gone from every answer when this returns; its scores are removed in the
        background. False: there is no such classifier."""
        try:
            with self._store.write() as session:
                return classifiers.remove(session, classifier_id)
        finally:  # also a commit that failed may have happened
            self.reload()
            self._library.classifier_upkeep.wake()

    def train(
        self, name: str, labels: Sequence[tuple[int, str]], wanted: ClipFilter, flow: Flow
    ) -> Classifier:
        """Train a new one on clips' embeddings of the active model, and keep it. New clips are
        scored by it when this returns.

        Args:
            labels: (clip, what it is).
            wanted: of the labelled clips those that match.

        Raises:
            InvalidParameter: a clip is not stored, has no embedding, or is named twice; or the
                labels are too few or too alike to train with and to measure.
            Conflict: there is one of this name, or there are too many.
            TooManyTrainings: come back later.
            Unavailable: the service stops, or the database does not answer.
            ClientGone: the flow was cancelled; nothing is stored.
        """
        given = dict(labels)
        _refuse_twice([clip_id for clip_id, _ in labels])
        with self._place():
            self._refuse(name)
            space = self._library.spaces.active

            def learn() -> tuple[dict[int, str], Learnt]:
                kept = self._checked(space, given, wanted, go_on)
                return kept, self.learn(space, kept, go_on)

            def go_on() -> None:
                self._library.gate.check(flow)

            kept, learnt = self._threads.submit(learn).result()
            go_on()
            try:
                classifier_id = self._store_new(name, kept, space, learnt)
            finally:  # also a commit that failed may have happened
                self.reload()
                self._library.classifier_upkeep.wake()
        return self.get(classifier_id)

    def _store_new(self, name: str, labels: Mapping[int, str], space: Space, learnt: Learnt) -> int:
        """Returns its id; stored is all of it or, at the next start at the latest, nothing."""
        now = dt.datetime.now(dt.UTC)
        with self._store.write() as session:
            if classifiers.count(session) >= MOST:
                raise _too_many()
            classifier_id = classifiers.add(session, name, now)
        try:
            clip_ids = sorted(labels)
            for start in range(0, len(clip_ids), BLOCK):  # others write in between
                some = {clip_id: labels[clip_id] for clip_id in clip_ids[start : start + BLOCK]}
                with self._store.write() as session:
                    classifiers.add_labels(session, classifier_id, some)
            with self._store.write() as session:
                row = space.model_row
                classifiers.add_fit(
                    session, classifier_id, row, learnt.parameters, learnt.quality, now
                )
                classifiers.complete(session, classifier_id)
        except BaseException:
            with contextlib.suppress(Unavailable), self._store.write() as session:
                classifiers.remove(session, classifier_id)
            raise
        return classifier_id

    def learn(self, space: Space, labels: Mapping[int, str], go_on: GoOn) -> Learnt:
        """Train on those of the clips that have a finite embedding by the model of a space.

        Raises:
            InvalidParameter: they are too few or too alike.
        """
        # A second that most starts do without.
        from app.analysis.classifier_training import train

        clip_ids = sorted(labels)
        vectors, usable = self._embedded(space, clip_ids, go_on)
        if not usable.any():
            raise InvalidParameter(
                "labels", f"no labelled clip has an embedding of {space.model.id}."
            )
        if not usable.all():
            vectors = vectors[usable]
            clip_ids = np.array(clip_ids)[usable].tolist()
        with self._store.read() as session:
            customers = classifiers.customers(session, clip_ids)
        trained = train(
            vectors,
            [labels[clip_id] for clip_id in clip_ids],
            [customers.get(clip_id) for clip_id in clip_ids],
            go_on,
        )
        learnt = Parameters(**_fields(trained.classifier))
        return Learnt(learnt, dataclasses.asdict(trained.quality))

    def _checked(
        self, space: Space, given: dict[int, str], wanted: ClipFilter, go_on: GoOn
    ) -> dict[int, str]:
        """The labels of those of the clips that match, all of which have an embedding."""
        clip_ids = sorted(given)
        with self._store.read() as session:
            known = classifiers.customers(session, clip_ids)
        if unknown := [clip_id for clip_id in clip_ids if clip_id not in known]:
            raise InvalidParameter("labels", f"there are no clips {_named(unknown)}.")
        if wanted:
            matching = np.isin(np.array(clip_ids), self._library.filters.ids(wanted))
            clip_ids = np.array(clip_ids)[matching].tolist()
            if not clip_ids:
                raise InvalidParameter("filters", "no labelled clip matches them.")
        _, usable = self._embedded(space, clip_ids, go_on)
        if not usable.all():
            lacking = np.array(clip_ids)[~usable].tolist()
            raise InvalidParameter(
                "labels", f"clips without an embedding of {space.model.id}: {_named(lacking)}."
            )
        return {clip_id: given[clip_id] for clip_id in clip_ids}

    def _embedded(
        self, space: Space, clip_ids: Sequence[int], go_on: GoOn
    ) -> tuple[Embeddings, NDArray[np.bool_]]:
        """(n, D) embeddings by the model of a space, and which clips have a finite one."""
        vectors = np.zeros((len(clip_ids), space.model.dimension), np.float32)
        usable = np.zeros(len(clip_ids), bool)
        for start in range(0, len(clip_ids), embeddings.CHUNK):
            go_on()
            chunk = clip_ids[start : start + embeddings.CHUNK]
            with self._store.read() as session:
                stored = embeddings.get(session, space.model_row, chunk)
            for place, clip_id in enumerate(chunk, start):
                if (vector := stored.get(clip_id)) is not None and np.isfinite(vector).all():
                    vectors[place], usable[place] = vector, True
        return vectors, usable

    def _refuse(self, name: str) -> None:
        """What would be refused after minutes of training."""
        with self._store.read() as session:
            if classifiers.is_named(session, name):
                raise classifiers.named_already(name)
            if classifiers.count(session) >= MOST:
                raise _too_many()

    @contextlib.contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooManyTrainings(
                f"{AT_ONCE + WAITING} classifiers are being trained or wait for it."
            )
        try:
            yield
        finally:
            self._places.release()


def _fields(of: LinearClassifier | Parameters) -> dict[str, Any]:
    """What both have, by name."""
    return {field.name: getattr(of, field.name) for field in dataclasses.fields(of)}


def _refuse_twice(clip_ids: Sequence[int]) -> None:
    if twice := [clip_id for clip_id, times in Counter(clip_ids).items() if times > 1]:
        raise InvalidParameter("labels", f"name clips more than once: {_named(twice)}.")


def _named(clip_ids: Sequence[int]) -> str:
    first = ", ".join(map(str, clip_ids[:MOST_NAMED]))
    return first if len(clip_ids) <= MOST_NAMED else f"{first}, … ({len(clip_ids)} in all)"


def _too_many() -> Conflict:
    return Conflict(f"There are {MOST} classifiers, as many as are allowed; delete one first.")
