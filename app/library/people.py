"""Customers and agents: lists kept up in the background, one's timeline from the clips."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Mapping

from app.analysis import drift as drifts
from app.analysis.timeline import Span, Timeline, timeline
from app.domain import LABELS, PersonKind
from app.errors import NotFound
from app.store import Session, Store, people, people_marks
from app.store.people import Counts, Person, PersonDrift

BLOCK = 200  # marks brought in by one transaction
PAGE = 50  # persons counted anew by one transaction
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
        # Of a count of everybody: the marks that asked for it, and the last one who was counted.
        self._counting: dict[PersonKind, tuple[list[int], str | None]] = {}

    def close(self) -> None:
        """Have `work` return soon, and do nothing any more."""
        self._closing.set()

    def work(self) -> None:
        """Bring the table to what the clips are. What is left by an end of the process is done by
        the next one: a mark goes in the transaction that brings it in.

        Raises:
            Unavailable: the database does not answer; call it again.
        """
        while not self._closing.is_set():
            began = time.monotonic()
            if not (self._work_off_marks() | self._count_page()):
                break
            self._learnt = False
            # Half of the time, at most: requests take the interpreter and the disk too.
            self._closing.wait(time.monotonic() - began)
        self._refit()

    def history(self, kind: PersonKind, id: str, span: Span, half_life: float) -> History:
        """Raises NotFound: there is no clip of them. `half_life` is in days."""
        with self._store.read() as session:
            days = people.days(session, kind, id)
            counts = people.count(session, kind, [id])
            baseline = _baseline(session, kind)
            person = _person(session, kind, id, counts.get(id, {}), baseline)
        if person is None:
            raise NotFound(f"There is no clip of {kind} {id!r}.")
        return History(person, baseline, timeline(*days, span, half_life))

    def _work_off_marks(self) -> bool:
        """Some of the marks that name somebody. False: there are none."""
        done: list[int] = []
        changed: list[tuple[PersonKind, list[str], list[Person]]] = []
        with self._store.read() as session:
            marks = people_marks.oldest(session, BLOCK)
            for kind in people_marks.KINDS:
                own = [mark for mark in marks if mark.kind == kind]
                if not own:
                    continue
                ids = list(dict.fromkeys(mark.person for mark in own))
                known = people.get(session, kind, ids)
                changes: dict[str, collections.Counter[str | None]] = {
                    id: collections.Counter(known[id].counts() if id in known else {}) for id in ids
                }
                for mark in own:
                    changes[mark.person][mark.emotion] += mark.change
                done += [mark.id for mark in own]
                # While everybody is to be counted, what is known of one may be of another model;
                # and no number of clips is below 0.
                anew = ids
                if not people_marks.of_all(session, kind):
                    anew = [id for id in ids if min(changes[id].values()) < 0]
                if anew:
                    done += people_marks.of(session, kind, anew)
                    counted = people.count(session, kind, anew)
                    changes |= {id: collections.Counter(counted.get(id, {})) for id in anew}
                found = _people(session, kind, changes)
                # Who has no clip now has none whatever more marks of theirs say.
                gone = set(ids) - {person.id for person in found}
                done += people_marks.of(session, kind, list(gone))
                changed.append((kind, ids, found))
        if marks:
            with self._store.write() as session:
                for kind, ids, found in changed:
                    people.replace(session, kind, ids, found)
                people_marks.remove(session, list(dict.fromkeys(done)))
        return bool(marks)

    def _count_page(self) -> bool:
        """The next ones where everybody of a kind is to be counted. False: nobody is."""
        for kind in people_marks.KINDS:
            with self._store.read() as session:
                everybody = people_marks.of_all(session, kind)
                if not everybody:
                    continue
                # Asked for once more meanwhile it is done once more: other clips have changed.
                asked, last = self._counting.get(kind, (everybody, None))
                ids = people.persons(session, kind, last, PAGE)
                counted = people.count(session, kind, ids)
                done = people_marks.of(session, kind, ids)
                found = _people(session, kind, {id: counted.get(id, {}) for id in ids})
            with self._store.write() as session:
                people.replace(session, kind, ids, found)
                people_marks.remove(session, done if ids else asked)
            if ids:
                self._counting[kind] = asked, ids[-1]
            else:
                self._counting.pop(kind, None)
            return True
        return False

    def _refit(self) -> None:
        """Learn the baselines from the table, now and then; one that moved is brought to all."""
        if self._learnt or time.monotonic() - self._fitted < REFIT_SECONDS:
            return
        for kind in people_marks.KINDS:
            with self._store.read() as session:
                used = _baseline(session, kind)
                learnt = drifts.fit_baseline(drifts.Sums(*people.sums(session, kind)))
            if _moved(used, learnt):
                with self._store.write() as session:
                    people.set_baseline(session, kind, learnt.mean, learnt.concentration)
                    people_marks.all_changed(session, [kind])
        self._learnt, self._fitted = True, time.monotonic()


def _moved(used: drifts.Baseline, learnt: drifts.Baseline) -> bool:
    ratio = learnt.concentration / used.concentration
    return abs(learnt.mean - used.mean) > MEAN_MOVED or not (
        1 / CONCENTRATION_MOVED < ratio < CONCENTRATION_MOVED
    )


def _baseline(session: Session, kind: PersonKind) -> drifts.Baseline:
    kept = people.baseline(session, kind)
    return drifts.UNKNOWN if kept is None else drifts.Baseline(*kept)


def _people(session: Session, kind: PersonKind, counts: Mapping[str, Counts]) -> list[Person]:
    """Those who have clips, by what these come to."""
    baseline = _baseline(session, kind)
    found = (_person(session, kind, id, of_one, baseline) for id, of_one in counts.items())
    return [person for person in found if person is not None]


def _person(
    session: Session, kind: PersonKind, id: str, counts: Counts, baseline: drifts.Baseline
) -> Person | None:
    first, last = people.bounds(session, kind, id)
    if first is None or last is None:
        return None
    emotions = tuple(counts.get(label, 0) for label in LABELS)
    heard = sum(emotions)
    return Person(
        kind=kind,
        id=id,
        clips=sum(counts.values()),
        emotions=emotions,
        first=first,
        last=last,
        level=baseline.share(people.negative_of(counts), heard),
        drift=_drift(session, kind, id, baseline) if heard >= drifts.FEWEST else None,
    )


def _drift(
    session: Session, kind: PersonKind, id: str, baseline: drifts.Baseline
) -> PersonDrift | None:
    negative, instants = people.latest(session, kind, id, drifts.HISTORY)
    found = drifts.drift(negative, baseline)
    if found is None:
        return None
    return PersonDrift(
        evidence=found.evidence,
        before=found.before,
        since=found.since,
        clips_before=found.clips_before,
        clips_since=found.clips_since,
        changed_at=instants[found.change],
    )
