"""Model directories are read and checked before anything of them is run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.errors import ModelError
from app.recogniser.model_dir import BUNDLED, parse_conv_spec, read, receptive_field

LARGE_SPEC = "[(512, 10, 5)] + [(512, 3, 2)] * 4 + [(512,2,2)] + [(512,2,2)]"


def test_the_published_spec() -> None:
    spec = parse_conv_spec(LARGE_SPEC)
    assert spec == ((512, 10, 5), *[(512, 3, 2)] * 4, (512, 2, 2), (512, 2, 2))
    assert receptive_field(spec) == 400


layers = st.tuples(st.integers(1, 4096), st.integers(1, 999), st.integers(1, 999))
terms = st.lists(st.tuples(st.lists(layers, min_size=1, max_size=3), st.integers(1, 3)), min_size=1)


@given(terms.filter(lambda t: sum(len(part) * times for part, times in t) <= 32))
def test_specs_mean_what_python_makes_of_them(parts: list[tuple[list[Any], int]]) -> None:
    text = " + ".join(f"{part} * {times}" if times > 1 else str(part) for part, times in parts)
    assert parse_conv_spec(text) == tuple(layer for part, times in parts for layer in part * times)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "[(512, 10, 5)] + exit()",
        "[(512, 10, 5)] * 10 ** 10",
        "[(512, 10)]",
        "[(512, 0, 5)]",
        "[(-1, 10, 5)]",
        "[]",
        "",
        "[(512, 10, 5)] [(512, 10, 5)]",
        "[(512, 10, 5)] +",
        "[(1,1,1)]" + "+[(1,1,1)]" * 40,
        None,
        [[512, 10, 5]],
    ],
)
def test_specs_that_are_none(text: object) -> None:
    with pytest.raises(ModelError, match="feature_encoder_spec"):
        parse_conv_spec(text)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A copy of the bundled model."""
    return Path(shutil.copytree(BUNDLED, tmp_path / "model"))


def change_config(directory: Path, **changes: Any) -> None:
    path = directory / "config.yaml"
    config = yaml.safe_load(path.read_text())
    for name, value in changes.items():
        *parents, last = name.split("__")
        where = config
        for parent in parents:
            where = where[parent]
        where[last] = value
    path.write_text(yaml.safe_dump(config))


def test_the_bundled_model() -> None:
    found = read(BUNDLED)
    assert found.columns == (0, 1, 2, 3, 4, 5, 6, 7, 8)
    assert sum(path.stat().st_size for path in BUNDLED.iterdir()) <= 12 * 2**20
    assert {path.name for path in BUNDLED.iterdir()} >= {"configuration.json", "MODEL_CARD.md"}


@pytest.mark.parametrize("name", ["config.yaml", "model.pt", "tokens.txt"])
def test_a_missing_file_is_named(directory: Path, name: str) -> None:
    (directory / name).unlink()
    with pytest.raises(ModelError, match=name):
        read(directory)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"model": "Paraformer"}, "Emotion2vec"),
        ({"model_conf": None}, "model_conf"),
        ({"model_conf__embed_dim": "wide"}, "embed_dim"),
        ({"model_conf__modalities__audio": []}, "audio"),
        ({"model_conf__modalities__audio__feature_encoder_spec": "[(8, 10, 5)]"}, "400 every 320"),
        ({"model_conf__modalities__audio__feature_encoder_spec": "exit()"}, "feature_encoder_spec"),
    ],
    ids=str,
)
def test_a_config_that_does_not_fit(directory: Path, changes: dict[str, Any], problem: str) -> None:
    change_config(directory, **changes)
    with pytest.raises(ModelError, match=problem):
        read(directory)


def test_config_tags_are_not_constructed(directory: Path) -> None:
    (directory / "config.yaml").write_text("model: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ModelError, match="YAML"):
        read(directory)


@pytest.mark.parametrize("text", ["d: 2024-99-99", "[" * 5000], ids=["no date", "deep"])
def test_a_config_that_cannot_be_read(directory: Path, text: str) -> None:
    (directory / "config.yaml").write_text(text)
    with pytest.raises(ModelError, match="YAML"):
        read(directory)


def test_tokens_that_are_not_text(directory: Path) -> None:
    (directory / "tokens.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="tokens"):
        read(directory)


@pytest.mark.parametrize("line", ["愤怒/furious", "生气/angry"])
def test_tokens_that_are_no_labels_or_twice(directory: Path, line: str) -> None:
    path = directory / "tokens.txt"
    lines = path.read_text("utf-8").splitlines()
    lines[4] = line
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(ModelError, match=line):
        read(directory)


def test_the_digest_covers_weights_config_tokens_and_dtype(directory: Path) -> None:
    digests = {read(directory).digest("fp32"), read(directory).digest("bf16")}
    change_config(directory, model_conf__norm_eps=1e-6)
    digests.add(read(directory).digest("fp32"))
    with (directory / "model.pt").open("ab") as file:
        file.write(b"\0")
    digests.add(read(directory).digest("fp32"))
    assert len(digests) == 4
    (directory / "MODEL_CARD.md").write_text("other words")
    assert read(directory).digest("fp32") in digests
