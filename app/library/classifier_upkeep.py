"""What classifiers need in the background: old clips scored, training anew for another model."""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from app.errors import Conflict, InvalidParameter, NotFound, Unavailable, UnderWay
from app.library.classifiers import Classifiers, Learnt, Live
from app.library.reindex import told
from app.library.spaces import Space
from app.recogniser import Flow
from app.store import classifier_applies, classifier_scores, classifiers
from app.store.classifier_applies import Apply

if TYPE_CHECKING:  # which has this
    from app.library.library import Library

BLOCK = 250  # clips in a transaction
REMOVED = 250  # clips whose scores are removed in a transaction
STOPPED = "It was stopped; the scores so far stay, and the next one goes on with the rest."
ANOTHER_MODEL = "Another model is the active one: clips are scored anew, by its embeddings."

log = logging.getLogger(__name__)


class ClassifierUpkeep:
    """What is to be done is in the database, so that it is gone on with whatever ended it; `work`
    does it in its caller's thread, beside all else."""

    def __init__(self, library: Library, classifiers: Classifiers) -> None:
        self._library = library
        self._classifiers = classifiers
        self._store = library.store
        self._due = threading.Event()
        self._due.set()
        self._roles: tuple[int, ...] = ()  # rows of the models that all was done for
        # Why a classifier cannot be trained for the active model, by id; tried again at the next
        # start, the next change of models, or when somebody wants it applied.
        self._refused: dict[int, str] = {}

    def wake(self) -> None:
        """Something may be to be done."""
        self._due.set()

    def refusal(self, classifier_id: int) -> str | None:
        """Why it cannot be trained for the active model, if that is known."""
        return self._refused.get(classifier_id)

    def apply(self, classifier_id: int) -> Apply:
        """Have it score the stored clips that it has not scored.

        Raises:
            NotFound: there is no such classifier.
            UnderWay: that is being done.
        """
        model_row, total = self._library.model_row, 0
        fit_id = self._classifiers.get(classifier_id).fit_id
        if fit_id is not None:
            with self._store.read() as session:
                total = classifier_scores.count_unscored(session, fit_id, model_row)
        self._refused.pop(classifier_id, None)
        now = dt.datetime.now(dt.UTC)
        try:
            with self._store.write() as session:
                begun = classifier_applies.begin(session, classifier_id, fit_id, total, now)
        finally:  # also a commit that failed may have happened
            self.wake()
        if not begun:
            self._classifiers.get(classifier_id)
            raise UnderWay(f"Classifier {classifier_id} is being applied already.")
        return self.applied(classifier_id)

    def applied(self, classifier_id: int) -> Apply:
        """The apply that is under way, or else the last one.

        Raises:
            NotFound: there is no such classifier, or it was not applied yet.
        """
        found = self._classifiers.get(classifier_id).apply
        if found is None:
            raise NotFound(f"Classifier {classifier_id} was not applied yet.")
        return found

    def stop(self, classifier_id: int) -> Apply:
        """End the apply that is under way; no clip is scored by it when this returns.

        Raises:
            NotFound: as `applied`.
            Conflict: none is.
        """
        self.applied(classifier_id)
        with self._store.write() as session:
            found = classifier_applies.locked(session, classifier_id)
            if found is None or found.state != "running":
                raise Conflict(f"Classifier {classifier_id} is not being applied.")
            now = dt.datetime.now(dt.UTC)
            classifier_applies.finish(session, classifier_id, "stopped", now, STOPPED)
        return self.applied(classifier_id)

    def work(self) -> None:
        """Do what is to be done, if anything may be.

        Raises:
            Unavailable: the service stops or the database does not answer; call it again.
        """
        spaces = self._library.spaces
        roles = tuple(space.model_row for space in spaces)
        if roles == self._roles and not self._due.is_set():
            return
        self._due.clear()
        try:
            if roles != self._roles:
                self._refused = {}
            self._remove_orphans()
            self._train_anew(spaces.active)
            self._apply_all(spaces.active)
            self._roles = roles
        except BaseException:
            self._due.set()
            raise

    def _remove_orphans(self) -> None:
        """What deleted classifiers, and models that were given up, have left."""
        with self._store.read() as session:
            useless = classifiers.without_role(session)
            orphaned = bool(useless or classifiers.orphans(session))
        if useless:
            with self._store.write() as session:
                classifiers.orphan(session, classifiers.without_role(session))
            self._classifiers.reload()
        if not orphaned:
            return
        with self._store.read() as session:
            orphans = classifiers.orphans(session)
        for fit_id in orphans:
            removed = REMOVED
            while removed:
                self._go_on()
                with self._store.write() as session:
                    removed = classifier_scores.remove_block(session, fit_id, REMOVED)
                    if not removed:
                        classifiers.remove_fit(session, fit_id)

    def _train_anew(self, space: Space) -> None:
        """Have every classifier learn from the active model's embeddings."""
        with self._store.read() as session:
            wanted = classifiers.untrained(session, space.model_row)
        for classifier_id in wanted:
            if classifier_id in self._refused:
                continue
            with self._store.read() as session:
                labels = classifiers.labels_of(session, classifier_id)
            try:
                learnt = self._classifiers.learn(space, labels, self._go_on)
            except Unavailable:
                raise
            except Exception as exc:
                if not isinstance(exc, InvalidParameter):
                    log.exception("Classifier %d cannot be trained anew.", classifier_id)
                self._refused[classifier_id] = told(exc)
                continue
            self._keep(classifier_id, space, learnt)

    def _keep(self, classifier_id: int, space: Space, learnt: Learnt) -> None:
        try:
            with self._store.write() as session:
                if classifier_id in classifiers.untrained(session, space.model_row):
                    now = dt.datetime.now(dt.UTC)
                    classifiers.add_fit(
                        session,
                        classifier_id,
                        space.model_row,
                        learnt.parameters,
                        learnt.quality,
                        now,
                    )
        finally:  # also a commit that failed may have happened
            self._classifiers.reload()
        log.info("Classifier %d was trained for %s.", classifier_id, space.model.id)

    def _apply_all(self, space: Space) -> None:
        with self._store.read() as session:
            wanted = classifier_applies.in_use(session)
        live = {one.id: one for one in self._classifiers.live(space.model_row)}
        for apply in wanted:
            one = live.get(apply.classifier_id)
            if one is None:
                refusal = self.refusal(apply.classifier_id)
                if apply.state == "running" and refusal is not None:
                    self._finish(apply.classifier_id, "failed", refusal)
                continue
            if apply.fit_id != one.fit_id:
                self._aim(apply, one, space)
            elif apply.state == "done":
                continue
            try:
                self._apply(one, space)
            except Unavailable:
                raise
            except Exception as exc:
                log.exception("The classifier %r cannot be applied.", one.name)
                self._finish(one.id, "failed", told(exc))

    def _aim(self, apply: Apply, one: Live, space: Space) -> None:
        """What was scored by another fit, or waits for one, is scored by this one."""
        with self._store.read() as session:
            total = classifier_scores.count_unscored(session, one.fit_id, space.model_row)
        waited = apply.fit_id is None and apply.state == "running"
        with self._store.write() as session:
            found = classifier_applies.locked(session, one.id)
            if found is not None and (found.fit_id, found.state) == (apply.fit_id, apply.state):
                message = found.message if waited else ANOTHER_MODEL
                classifier_applies.aim(session, one.id, one.fit_id, total, message)

    def _apply(self, one: Live, space: Space) -> None:
        """Score what it has not scored, until that is done, or it is stopped or deleted, or
        another model is the active one."""
        after = 0
        while self._library.model_row == space.model_row:
            self._go_on()
            with self._store.read() as session:
                clip_ids, vectors = classifier_scores.unscored(
                    session, one.fit_id, space.model_row, after, BLOCK
                )
                left = 0
                if not clip_ids:
                    left = classifier_scores.count_unscored(session, one.fit_id, space.model_row)
            if not clip_ids:
                self._finish(one.id, "done", _unusable(left), fit_id=one.fit_id)
                return
            after = clip_ids[-1]
            usable = np.flatnonzero(np.isfinite(vectors).all(axis=1))
            probabilities = one.classifier.probabilities(vectors[usable])
            ids = [clip_ids[place] for place in usable]
            with self._store.write() as session:
                found = classifier_applies.locked(session, one.id)
                if found is None or (found.fit_id, found.state) != (one.fit_id, "running"):
                    return
                places = classifier_scores.add_block(session, one.fit_id, ids, probabilities)
                top = probabilities[places].argmax(axis=1)
                counts = Counter(found.counts)
                counts.update(one.classifier.classes[number] for number in top)
                done = found.done + len(places)
                total = max(done, found.total)
                classifier_applies.advance(session, one.id, done, total, counts)

    def _finish(
        self,
        classifier_id: int,
        state: classifier_applies.State,
        message: str | None,
        *,
        fit_id: int | None = None,
    ) -> None:
        """Of one that is under way, by this fit if one is named."""
        with self._store.write() as session:
            found = classifier_applies.locked(session, classifier_id)
            if found is None or found.state != "running":
                return
            if fit_id is not None and found.fit_id != fit_id:
                return
            total = found.done if state == "done" else None  # others were deleted meanwhile
            now = dt.datetime.now(dt.UTC)
            classifier_applies.finish(session, classifier_id, state, now, message, total=total)

    def _go_on(self) -> None:
        """Raises Unavailable: the service stops."""
        self._library.gate.check(Flow())


def _unusable(clips: int) -> str | None:
    return f"{clips} clips have no usable embedding and were not scored." if clips else None
