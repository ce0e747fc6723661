"""The routes that `emoseek import-vectors` uses: what they refuse, and say of it."""

from __future__ import annotations

import json
import secrets
from typing import Any

import numpy as np
import pytest
import requests

from tests.cli.test_import_vectors import DIMENSION
from tests.service import Service

VECTORS = np.random.default_rng(2).standard_normal((4, DIMENSION)).astype("<f4")


class Import:
    """One import of `rows` rows."""

    def __init__(self, service: Service, rows: int = 8) -> None:
        self.url = f"{service.url}/api/v1/admin/imports/{secrets.token_hex(32)}"
        self.begun = self.begin(rows)

    def begin(self, rows: int, dimension: int = DIMENSION, **more: Any) -> requests.Response:
        return requests.put(self.url, json={"rows": rows, "dimension": dimension, **more})

    def send(
        self, first: int, vectors: np.ndarray = VECTORS, rows: Any = None, **params: str
    ) -> requests.Response:
        files = {"vectors": ("v", vectors.tobytes())}
        if rows is not None:
            files["rows"] = ("r", json.dumps(rows).encode())
        return requests.post(f"{self.url}/rows", params={"first": first, **params}, files=files)


def test_blocks_are_stored_in_order_and_once(service: Service) -> None:
    one = Import(service)
    assert one.begun.json()["done"] == 0
    assert one.send(4).status_code == 409
    assert one.send(0).json()["done"] == 4
    assert one.send(0).status_code == 409
    assert requests.get(one.url).json()["done"] == one.begin(8).json()["done"] == 4
    assert one.begin(9).status_code == 409
    assert one.send(4).json()["done"] == 8
    assert one.send(8).status_code == 409
    assert requests.delete(one.url).status_code == 204
    assert requests.get(one.url).status_code == 404
    assert one.send(0).status_code == 404


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{}] * 3, "3 for 4"),
        ([{"id": 10**7}, {}, {}, {}], "all have an id"),
        ([{"id": 10**7}] * 4, "all have an id"),
        ([{"mood": "x"}, {}, {}, {}], "mood"),
        ([{"emotion": "x"}, {}, {}, {}], "emotion"),
        ({"id": 5}, "array"),
    ],
)
def test_rows_that_are_refused(service: Service, rows: Any, told: str) -> None:
    one = Import(service)
    answer = one.send(0, rows=rows)
    assert answer.status_code == 422
    assert told in answer.json()["detail"]
    assert requests.get(one.url).json()["done"] == 0


def test_vectors_and_models_that_are_refused(service: Service) -> None:
    one = Import(service)
    assert one.send(0, VECTORS[:, :-1].copy()).status_code == 422
    assert one.send(0, VECTORS[:0]).status_code == 422
    assert one.send(0, np.full_like(VECTORS, np.nan)).status_code == 422
    assert one.send(0, model="none").status_code == 404
    assert one.begin(8, DIMENSION + 1).status_code == 422
    assert one.begin(0).status_code == 422
    assert one.begin(8, highest_id=2**53).status_code == 422
    assert requests.get(one.url).json()["done"] == 0


def test_an_id_that_was_taken_since_refuses_the_block(service: Service) -> None:
    one = Import(service)
    rows = [{"id": 10**6 + i} for i in range(4)]
    assert one.send(0, rows=rows).status_code == 200
    other = Import(service)
    answer = other.send(0, rows=[{"id": 10**6 - 3 + i} for i in range(4)])
    assert (answer.status_code, str(10**6) in answer.json()["detail"]) == (409, True)
    asked = np.array([10**6 - 1, 10**6 + 3], "<i8").tobytes()
    url = f"{service.url}/api/v1/admin/imports/ids"
    assert requests.post(url, files={"ids": ("i", asked)}).json() == {"taken": [10**6 + 3]}
    assert requests.post(url, files={"ids": ("i", asked[:-1])}).status_code == 422
