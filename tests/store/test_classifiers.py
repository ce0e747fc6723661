"""Classifiers, their labels, fits and scores on SQLite and Postgres."""

from __future__ import annotations

import dataclasses
import datetime as dt

import numpy as np
import pytest
from sqlalchemy import text, update

from app.domain import ClipFields, ClipFilter, ModelInfo, Recognition
from app.errors import Conflict
from app.store import (
    Session,
    Store,
    classifier_applies,
    classifier_scores,
    classifiers,
    clips,
    models,
)
from app.store.classifiers import FITS, Parameters
from tests.store.test_store import MODEL, NOW, add, new_clip

OTHER = ModelInfo("test/other", "e" * 64, 4, bundled=False)
LATER = NOW + dt.timedelta(minutes=5)


@pytest.fixture
def model_id(store: Store) -> int:
    with store.write() as session:
        return models.activate(session, MODEL, np.ones(4, np.float32))


def parameters(*classes: str) -> Parameters:
    random = np.random.default_rng(len(classes))
    return Parameters(
        classes,
        random.standard_normal(4),
        random.random(4) + 0.1,
        random.standard_normal((len(classes), 4)),
        random.standard_normal(len(classes)),
    )


def new_fit(store: Store, model_id: int, name: str = "n", *classes: str) -> tuple[int, int]:
    """Ids of a classifier and its fit."""
    with store.write() as session:
        classifier_id = classifiers.add(session, name, NOW)
        classifiers.complete(session, classifier_id)
        learnt = parameters(*(classes or ("no", "yes")))
        return classifier_id, classifiers.add_fit(
            session, classifier_id, model_id, learnt, {"clips": 3}, NOW
        )


def yes(*probabilities: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(n, 2) of the classes no and yes."""
    return np.array([[1 - one, one] for one in probabilities])


def test_what_was_learnt_comes_back_to_the_last_bit(store: Store, model_id: int) -> None:
    classifier_id, fit_id = new_fit(store, model_id, "ä name", "b", "a", "c")
    with store.read() as session:
        [fit] = classifiers.fits(session)
        [told] = classifiers.every(session, model_id)
        kept = session.execute(text("SELECT weights, dtype FROM classifier_fits")).one()
    assert (fit.id, fit.classifier_id, fit.name) == (fit_id, classifier_id, "ä name")
    assert fit.model_id == model_id
    learnt, given = fit.parameters(), parameters("b", "a", "c")
    assert learnt.classes == given.classes
    for name in classifiers.ARRAYS:
        np.testing.assert_array_equal(getattr(learnt, name), getattr(given, name))
        assert getattr(learnt, name).dtype == np.float64
    assert bytes(kept[0]) == given.weights.astype("<f8").tobytes()
    assert kept[1] == "<f8"
    assert (told.name, told.classes, told.quality) == ("ä name", ("b", "a", "c"), {"clips": 3})
    assert (told.created_at, told.trained_at, told.apply) == (NOW, NOW, None)


@pytest.mark.parametrize(
    "damage",
    [
        {"weights": b"1234567"},
        {"shapes": {"mean": [5], "scale": [4], "weights": [2, 4], "bias": [2]}},
        {"dtype": "<i8"},
    ],
)
def test_damaged_parameters_are_noticed(
    store: Store, model_id: int, damage: dict[str, object]
) -> None:
    new_fit(store, model_id)
    with store.write() as session:
        session.execute(update(FITS).values(**damage))
    with store.read() as session:
        [fit] = classifiers.fits(session)
    with pytest.raises(ValueError, match=r"size|reshape|type"):
        fit.parameters()


def test_names_are_taken_once(store: Store, model_id: int) -> None:
    new_fit(store, model_id)
    with store.write() as session:
        assert classifiers.is_named(session, "n")
        with pytest.raises(Conflict, match="'n'"):
            classifiers.add(session, "n", NOW)
        half = classifiers.add(session, "m", NOW)  # the transaction is as good as before
    with store.read() as session:
        assert [one.name for one in classifiers.every(session, model_id)] == ["n"]
        assert classifiers.get(session, half, model_id) is None
        assert classifiers.untrained(session, model_id) == []
        assert classifiers.count(session) == 2
    with store.write() as session:
        classifiers.remove_unfinished(session)
        assert not classifiers.is_named(session, "m")
        assert classifiers.is_named(session, "n")


def test_a_deleted_clip_takes_its_label_and_scores_along(store: Store, model_id: int) -> None:
    ids = [add(store, model_id) for _ in range(3)]
    classifier_id, fit_id = new_fit(store, model_id)
    with store.write() as session:
        labels = {ids[0]: "yes", ids[1]: "no", ids[2]: "no", 99: "no"}
        classifiers.add_labels(session, classifier_id, labels)
        assert classifier_scores.add(session, fit_id, ids, yes(0.9, 0.2, 0.6))
    with store.read() as session:
        assert classifiers.labels_of(session, classifier_id) == {
            ids[0]: "yes",
            ids[1]: "no",
            ids[2]: "no",
        }
        assert classifier_scores.of_clip(session, ids[1], model_id) == {"n": ("no", 0.8)}
    with store.write() as session:
        clips.remove(session, [ids[1]])
    with store.read() as session:
        assert set(classifiers.labels_of(session, classifier_id)) == {ids[0], ids[2]}
        [told] = classifiers.every(session, model_id)
        assert told.labels == {"no": 1, "yes": 1}
        assert session.scalar(text("SELECT count(*) FROM classifier_scores")) == 4
        assert classifier_scores.of_clip(session, ids[1], model_id) == {}


def test_a_deleted_classifier_leaves_nothing(store: Store, model_id: int) -> None:
    ids = [add(store, model_id) for _ in range(3)]
    classifier_id, fit_id = new_fit(store, model_id)
    with store.write() as session:
        classifiers.add_labels(session, classifier_id, {ids[0]: "yes"})
        classifier_scores.add(session, fit_id, ids, yes(0.9, 0.2, 0.6))
        classifier_applies.begin(session, classifier_id, fit_id, 3, NOW)
    with store.write() as session:
        assert classifiers.remove(session, classifier_id)
        assert not classifiers.remove(session, classifier_id)
    with store.write() as session:
        assert classifiers.fits(session) == []
        assert classifiers.every(session, model_id) == []
        assert classifier_scores.of_clip(session, ids[0], model_id) == {}
        assert not classifier_scores.add(session, fit_id, [add_in(session, model_id)], yes(0.5))
        assert classifier_scores.add_block(session, fit_id, ids, yes(0.9, 0.2, 0.6)) == []
        assert classifiers.orphans(session) == [fit_id]
        removed = [classifier_scores.remove_block(session, fit_id, 2) for _ in range(4)]
        assert (removed[0] in (2, 4), sum(removed), removed[-1]) == (True, 6, 0)
        classifiers.remove_fit(session, fit_id)
    with store.read() as session:
        for table in ("classifiers", *(f"classifier_{n}" for n in ("fits", "labels", "scores"))):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
        assert classifier_applies.of(session, [classifier_id]) == {}


def add_in(session: Session, model_id: int) -> int:
    return clips.add(session, new_clip(model_id))


def test_what_is_unscored_is_found_and_only_once(store: Store, model_id: int) -> None:
    with store.write() as session:
        other = models.place_beside(session, OTHER, np.ones(4, np.float32))
    vectors = np.arange(24, dtype=np.float32).reshape(6, 4)
    scores = np.full(9, 1 / 9, np.float32)
    ids = [
        add(store, other if i == 3 else model_id, recognition=Recognition(scores, vectors[i]))
        for i in range(5)
    ]
    ids.append(add(store, model_id, recognition=Recognition(scores, vectors[5]), indexable=False))
    _, fit_id = new_fit(store, model_id)
    ours = [ids[0], ids[1], ids[2], ids[4], ids[5]]
    with store.write() as session:
        assert classifier_scores.count_unscored(session, fit_id, model_id) == 5
        found, read = classifier_scores.unscored(session, fit_id, model_id, 0, 3)
        assert found == ours[:3]
        np.testing.assert_array_equal(read, vectors[:3])
        clips.remove(session, [ids[1]])
        assert classifier_scores.add_block(session, fit_id, found, yes(0.1, 0.2, 0.3)) == [0, 2]
        assert classifier_scores.add_block(session, fit_id, [ids[0], ids[4]], yes(0.1, 0.7)) == [1]
    with store.read() as session:
        found, _ = classifier_scores.unscored(session, fit_id, model_id, 0, 10)
        assert found == [ids[5]]
        assert classifier_scores.count_unscored(session, fit_id, model_id) == 1
        assert classifier_scores.unscored(session, fit_id, model_id, ids[5], 9)[1].shape == (0, 0)
        assert classifier_scores.of_clip(session, ids[0], model_id) == {"n": ("no", 0.9)}
        assert classifier_scores.of_clip(session, ids[4], model_id) == {"n": ("yes", 0.7)}
        assert classifier_scores.of_clip(session, ids[0], other) == {}


def test_ranks_page_by_page(store: Store, model_id: int) -> None:
    ids = [
        add(store, model_id, fields=ClipFields(customer_id="c" if i % 2 else "d"))
        for i in range(12)
    ]
    _, fit_id = new_fit(store, model_id, "n", "a", "b", "c")
    random = np.random.default_rng(0)
    given = random.dirichlet(np.ones(3), 12).round(1)  # with ties
    given[:, 0] = 1 - given[:, 1] - given[:, 2]
    with store.write() as session:
        classifier_scores.add(session, fit_id, ids, given)

    def ranked(
        *numbers: int, top: bool, customer: str | None = None, least: float = 0.0
    ) -> list[tuple[int, int, float]]:
        found: list[classifier_scores.Ranked] = []
        before, where = None, ClipFilter(customer_id=customer)
        with store.read() as session:
            while page := classifier_scores.ranked(
                session, fit_id, numbers, where, 5, top_only=top, least=least, before=before
            ):
                some = classifier_scores.ranked(
                    session,
                    fit_id,
                    numbers,
                    where,
                    5,
                    top_only=top,
                    least=least,
                    before=before,
                    among=clips.matching_ids(session, where).tolist(),
                )
                assert some == page
                found += page
                before = page[-1].probability, page[-1].clip_id
        return [(one.clip_id, one.class_number, one.probability) for one in found]

    def expected(
        number: int | None, some: list[int], least: float = 0.0
    ) -> list[tuple[int, int, float]]:
        of = [
            (ids[i], k, given[i, k])
            for i in some
            for k in [int(given[i].argmax()) if number is None else number]
            if given[i, k] >= least
        ]
        return sorted(of, key=lambda one: (-one[2], -one[0]))

    everyone = list(range(12))
    assert ranked(1, top=False) == expected(1, everyone)
    assert ranked(0, 1, 2, top=True) == expected(None, everyone)
    assert ranked(2, top=False, least=0.3) == expected(2, everyone, 0.3)
    assert ranked(1, top=False, customer="c") == expected(1, everyone[1::2])
    assert ranked(0, 1, 2, top=True, customer="c") == expected(None, everyone[1::2])


def test_fits_of_models_without_a_role_are_given_up(store: Store, model_id: int) -> None:
    with store.write() as session:
        other = models.place_beside(session, OTHER, np.ones(4, np.float32))
    classifier_id, fit_id = new_fit(store, other)
    with store.write() as session:
        assert classifiers.untrained(session, model_id) == [classifier_id]
        assert classifiers.untrained(session, other) == []
        assert classifiers.without_role(session) == []
        models.remove_beside(session)
        assert classifiers.without_role(session) == [fit_id]
        classifiers.orphan(session, [fit_id])
        assert classifiers.without_role(session) == []
        assert classifiers.orphans(session) == [fit_id]
        assert classifiers.untrained(session, other) == [classifier_id]


def test_applies_are_told_as_they_were_left(store: Store, model_id: int) -> None:
    classifier_id, fit_id = new_fit(store, model_id)
    with store.write() as session:
        assert classifier_applies.begin(session, classifier_id, None, 0, NOW)
        assert not classifier_applies.begin(session, classifier_id, fit_id, 9, LATER)
        assert not classifier_applies.begin(session, classifier_id + 1, fit_id, 9, LATER)
        [one] = classifier_applies.in_use(session)
        assert (one.state, one.fit_id, one.started, one.finished) == ("running", None, NOW, None)
        classifier_applies.aim(session, classifier_id, fit_id, 9, "why")
        classifier_applies.advance(session, classifier_id, 4, 9, {"yes": 3, "no": 1})
    with store.write() as session:
        one = classifier_applies.of(session, [classifier_id])[classifier_id]
        assert (one.done, one.total, one.counts, one.message) == (4, 9, {"yes": 3, "no": 1}, "why")
        classifier_applies.finish(session, classifier_id, "done", LATER, None, total=4)
        done = classifier_applies.locked(session, classifier_id)
        assert done == dataclasses.replace(one, state="done", total=4, finished=LATER)
        assert classifier_applies.in_use(session) == [done]
        assert classifier_applies.begin(session, classifier_id, fit_id, 2, LATER)
        classifier_applies.finish(session, classifier_id, "stopped", LATER, "stop")
        assert classifier_applies.in_use(session) == []
