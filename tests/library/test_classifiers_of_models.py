"""Classifiers when another model becomes the active one, or the process ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from app.domain import ClipFields, ClipFilter
from app.errors import (
    Unavailable,
)
from app.library import Library, classifier_upkeep
from app.recogniser import Flow, Source
from app.store import classifiers
from tests.library import classifier_rig as rig
from tests.library import spaces_rig

Open = Callable[..., Library]


def switched(library: Library, second: Source) -> None:
    """The second model hears all kept audio and becomes the active one."""
    spaces_rig.hear_again(library, library.roles.open_beside(second))
    library.roles.switch()


def recorded(library: Library, total: int) -> tuple[list[int], list[tuple[int, str]]]:
    """Clips with audio, and labels for them."""
    ids = [
        spaces_rig.post(library, seed, fields=ClipFields(customer_id=f"c{seed // 2 % 4}"))
        for seed in range(total)
    ]
    return ids, rig.labels(ids)


def test_another_model_is_learnt_from_anew(
    reopen: Open, database: dict[str, str], second: Source
) -> None:
    library = reopen(**database)
    ids, given = recorded(library, 16)
    one = library.classifiers.train("mood", given[:12], ClipFilter(), Flow())
    library.classifier_upkeep.apply(one.id)
    rig.applied(library, one.id)
    bundled = {clip_id: library.classifiers.of_clip(clip_id) for clip_id in ids}
    library.classifiers.train("new clips only", given[:12], ClipFilter(), Flow())
    old_row = library.model_row
    switched(library, second)
    rig.wait_for(lambda: all(trained.fit_id for trained in library.classifiers.every()))
    rig.idle(library)
    assert library.model_row != old_row
    applied = rig.applied(library, one.id)  # by itself, as it was applied before
    assert (applied.done, applied.total) == (16, 16)
    assert applied.message == classifier_upkeep.ANOTHER_MODEL
    rig.check(library, one.id, ids)
    assert library.classifiers.of_clip(ids[0]) != bundled[ids[0]]
    # Both models hear a new clip, and each one's classifier judges what its own model heard.
    answer = spaces_rig.posted(library, 40)
    rig.check(library, one.id, [*ids, answer["clip_id"]])
    assert answer["classifiers"] == library.classifiers.of_clip(answer["clip_id"])
    assert answer["classifiers"].keys() == {"mood", "new clips only"}
    library.roles.switch()
    assert {i: library.classifiers.of_clip(i) for i in ids} == bundled
    assert library.classifiers.of_clip(answer["clip_id"]).keys() == answer["classifiers"].keys()
    rig.idle(library)
    rig.check(library, one.id, [*ids, answer["clip_id"]])
    assert rig.count(library, "classifier_fits") == 4
    library.roles.close_beside()
    rig.wait_for(lambda: rig.count(library, "classifier_fits") == 2)
    rig.check(library, one.id, [*ids, answer["clip_id"]])


def test_between_a_switch_and_the_training_nothing_is_said(
    reopen: Open, second: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = reopen()
    ids, given = recorded(library, 12)
    one = library.classifiers.train("mood", given, ClipFilter(), Flow())
    library.classifier_upkeep.apply(one.id)
    rig.applied(library, one.id)
    go_on, learn = threading.Event(), library.classifiers.learn

    def wait_and_learn(*of: Any) -> Any:
        assert go_on.wait(rig.SECONDS)
        return learn(*of)

    monkeypatch.setattr(library.classifiers, "learn", wait_and_learn)
    switched(library, second)
    told = library.classifiers.get(one.id)
    assert (told.fit_id, told.quality, told.classes) == (None, None, None)
    assert library.classifiers.of_clip(ids[0]) == {}
    answer = spaces_rig.posted(library, 40)
    assert answer["classifiers"] == {}
    go_on.set()
    rig.wait_for(lambda: library.classifier_upkeep.applied(one.id).done == 13)
    rig.check(library, one.id, [*ids, answer["clip_id"]])


def test_one_that_cannot_learn_from_another_model_says_so(reopen: Open, second: Source) -> None:
    library = reopen()
    labelled = rig.import_clips(library, 24)  # which no other model can hear
    spaces_rig.post(library, 1)
    one = rig.train(library, labelled)
    library.classifier_upkeep.apply(one.id)
    rig.applied(library, one.id)
    switched(library, second)
    rig.wait_for(lambda: library.classifier_upkeep.refusal(one.id) is not None)
    refusal = library.classifier_upkeep.refusal(one.id)
    assert refusal is not None
    assert "no labelled clip has an embedding" in refusal
    assert spaces_rig.posted(library, 2)["classifiers"] == {}
    library.classifier_upkeep.apply(one.id)
    failed = rig.applied(library, one.id, "failed")
    assert failed.message == refusal
    library.roles.switch()
    assert library.classifiers.get(one.id).fit_id is not None
    assert library.classifiers.of_clip(labelled[0])
    assert spaces_rig.posted(library, 3)["classifiers"].keys() == {"mood"}


def test_what_was_half_stored_is_gone_with_the_next_start(
    reopen: Open, database: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    library = reopen(**database)
    labelled = rig.import_clips(library, 48)
    monkeypatch.setattr("app.library.classifiers.BLOCK", 10)
    add_labels, blocks = classifiers.add_labels, []

    def fail_at_third(*of: Any) -> None:
        blocks.append(None)
        if len(blocks) == 3:
            raise Unavailable("The database does not answer.")
        add_labels(*of)

    with monkeypatch.context() as broken:
        broken.setattr(classifiers, "add_labels", fail_at_third)
        with pytest.raises(Unavailable):
            rig.train(library, labelled)
        assert rig.count(library, "classifiers") == rig.count(library, "classifier_labels") == 0
        blocks.clear()

        def no_answer(*_: Any) -> None:
            raise Unavailable("The database does not answer.")

        broken.setattr(classifiers, "remove", no_answer)  # nor does the process live for it
        with pytest.raises(Unavailable):
            rig.train(library, labelled)
    assert library.classifiers.every() == []
    assert rig.count(library, "classifiers") == 1
    library = reopen(**database)
    assert rig.count(library, "classifiers") == rig.count(library, "classifier_labels") == 0
    assert rig.train(library, labelled).labels == {"calm": 24, "cross": 24}
