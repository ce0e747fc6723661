"""Customers and agents: a table kept up in the background, one's timeline from the clips."""

from __future__ import annotations

import dataclasses
import threading
import time

from app.analysis import drift as drifts
from app.analysis.timeline import Span, Timeline, timeline
from app.domain import PersonKind
from app.errors import NotFound
from app.store import Session, Store, people, people_marks
from app.store.people import Person, PersonDrift

PAGE = 50  # persons brought in by one transaction; twice as many while everybody is
REFIT_SECONDS = 60.0
MEAN_MOVED = 0.01  # of a baseline; less changes no list that a reader would notice
CONCENTRATION_MOVED = 1.5  # times


@dataclasses.dataclass(frozen=True, slots=True)
class History:
    """What all clips of a customer or agent say, as they are."""

    person: Person
    baseline: drifts.Baseline
    timeline: Timeline


class People:
    """The table `people` of a store. What changes clips leaves marks; `work` brings them in."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._closing = threading.Event()
        self._fitted = -REFIT_SECONDS
        self._learnt = False  # the baselines, since anything was brought in

    def close(self) -> None:
        """Have `work` return soon, and do nothing any more."""
        self._closing.set()

    def work(self) -> None:
        """Bring the table to what the clips are. What is left by an end of the process is done by
        the next one: a mark goes in the transaction that brings its person in.

        Raises:
            Unavailable: the database does not answer; call it again.
        """
        while not self._closing.is_set():
            began = time.monotonic()
            worked = [self._bring_in(kind) for kind in people_marks.KINDS]
            if any(worked):
                self._learnt = False
            elif not self._refit():
                return
            # Half of the time, at most: requests take the interpreter and the disk too.
            self._closing.wait(time.monotonic() - began)

    def history(self, kind: PersonKind, id: str, span: Span, half_life: float) -> History:
        """Raises NotFound: there is no clip of them. `half_life` is in days."""
        with self._store.read() as session:
            baseline = _baseline(session, kind)
            person = _person(session, kind, id, baseline)
            if person is None:
                raise NotFound(f"There is no clip of {kind} {id!r}.")
            days = people.days(session, kind, id)
        return History(person, baseline, timeline(*days, span, half_life))

    def _bring_in(self, kind: PersonKind) -> bool:
        """Some of those who are behind. False: nobody is."""
        with self._store.read() as session:
            # Read before the clips: what changes these later has a mark that is not among them.
            behind = people_marks.behind(session, kind, PAGE)
            if behind is None:
                return False
            baseline = _baseline(session, kind)
            found = [_person(session, kind, id, baseline) for id in behind.persons]
        with self._store.write() as session:
            there = [person for person in found if person is not None]
            people.replace(session, kind, behind.persons, there)
            people.forget_gone(session, kind, behind.persons)  # whose clips went meanwhile
            people_marks.brought_in(session, kind, behind)
        return True

    def _refit(self) -> bool:
        """Learn the baselines from the table, now and then; one that moved is brought to all."""
        if self._learnt or time.monotonic() - self._fitted < REFIT_SECONDS:
            return False
        moved = False
        for kind in people_marks.KINDS:
            with self._store.read() as session:
                used = _baseline(session, kind)
                learnt = drifts.fit_baseline(drifts.Sums(*people.sums(session, kind)))
            if _moved(used, learnt):
                with self._store.write() as session:
                    people.set_baseline(session, kind, learnt.mean, learnt.concentration)
                    people_marks.everybody(session, [kind])
                moved = True
        self._learnt, self._fitted = True, time.monotonic()
        return moved


def _moved(used: drifts.Baseline, learnt: drifts.Baseline) -> bool:
    ratio = learnt.concentration / used.concentration
    return abs(learnt.mean - used.mean) > MEAN_MOVED or not (
        1 / CONCENTRATION_MOVED < ratio < CONCENTRATION_MOVED
    )


def _baseline(session: Session, kind: PersonKind) -> drifts.Baseline:
    kept = people.baseline(session, kind)
    return drifts.UNKNOWN if kept is None else drifts.Baseline(*kept)


def _person(
    session: Session, kind: PersonKind, id: str, baseline: drifts.Baseline
) -> Person | None:
    """What the clips of a customer or agent come to; None without clips."""
    span = people.span(session, kind, id)
    if span is None:
        return None
    clips, first, last = span
    negative, instants = people.latest(session, kind, id, drifts.HISTORY)
    found = drifts.drift(negative, baseline)
    return Person(
        kind=kind,
        id=id,
        clips=clips,
        first=first,
        last=last,
        heard=len(negative),
        negative=int(negative.sum()),
        level=baseline.share(int(negative.sum()), len(negative)),
        drift=None
        if found is None
        else PersonDrift(
            evidence=found.evidence,
            before=found.before,
            since=found.since,
            clips_before=found.clips_before,
            clips_since=found.clips_since,
            changed_at=instants[found.change],
        ),
    )
