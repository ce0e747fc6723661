"""`emoseek models` as a user runs it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
import yaml

from app.domain import LABELS
from app.recogniser.model_dir import BUNDLED, read
from app.recogniser.sources import LARGE, PUBLISHED
from tests.cli.test_cli import run
from tests.recogniser.conftest import caches, server
from tests.recogniser.hub_server import HubServer

__all__ = ["caches", "server"]  # fixtures

BASE = "iic/emotion2vec_plus_base"


def test_pull_list_and_check(server: HubServer, tmp_path: Path) -> None:
    listed = run("models", "list", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[0] for line in listed.stdout.splitlines()[:4]] == [
        *PUBLISHED,
        "emoseek/bundled",
    ]
    assert listed.stdout.count("not cached") == 3
    assert "which ModelScope would give" in listed.stdout
    listed = run("models", "list", "--revision", "v9", cwd=tmp_path)
    assert "because ModelScope has no such model or revision." in listed.stdout
    pulled = run("models", "pull", cwd=tmp_path)
    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stdout.startswith(f"{LARGE} is in ")
    pulled = run("models", "pull", "--hub", "huggingface", BASE, cwd=tmp_path)
    assert pulled.returncode == 0, pulled.stderr
    server.stop()
    listed = run("models", "list", cwd=tmp_path)
    large, base, seed, bundled, choice = listed.stdout.splitlines()
    assert "modelscope: " in large
    assert "huggingface: " in base
    assert "not cached" in seed
    assert " 7 MB " in large
    assert " 7 MB " in bundled
    assert f"{LARGE}, which is cached" in choice
    checked = run("models", "check", LARGE, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    lines = dict(line.split(maxsplit=1) for line in checked.stdout.splitlines())
    assert lines["id"] == LARGE
    assert lines["labels"] == ", ".join(LABELS)
    assert int(lines["parameters"].replace(",", "")) > 1_000_000
    of_bundled = run("models", "check", "bundled", cwd=tmp_path).stdout.splitlines()
    for dtype in ("fp32", "bf16", "int8"):
        assert f"digest {dtype} {read(BUNDLED).digest(dtype)}" in of_bundled
        assert f"digest {dtype} {read(BUNDLED).digest(dtype)}" in checked.stdout.splitlines()
    assert run("models", "check", BASE, cwd=tmp_path).returncode == 1
    assert run("models", "check", BASE, cwd=tmp_path, EMOSEEK_HUB="huggingface").returncode == 0


def test_check_compares_a_cached_model_with_its_download(server: HubServer, tmp_path: Path) -> None:
    """Also where a damaged file has the size and the time of the good one."""
    import os

    assert run("models", "pull", cwd=tmp_path).returncode == 0
    [weights] = (tmp_path / "modelscope").rglob("model.pt")
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    checked = run("models", "check", LARGE, cwd=tmp_path)
    assert checked.returncode == 1
    assert "model.pt is not as it was downloaded" in checked.stderr
    assert f"emoseek models pull {LARGE}" in checked.stderr
    assert run("models", "pull", cwd=tmp_path).returncode == 0
    assert run("models", "check", LARGE, cwd=tmp_path).returncode == 0


def test_check_says_which_key_or_shape_is_wrong(caches: dict[str, str], tmp_path: Path) -> None:
    directory = Path(shutil.copytree(BUNDLED, tmp_path / "model"))

    def told() -> str:
        done = run("models", "check", directory, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stdout == ""
        [line] = done.stderr.splitlines()
        return line

    config = (directory / "config.yaml").read_text()
    smaller = yaml.safe_load(config)
    smaller["model_conf"]["embed_dim"] //= 2
    (directory / "config.yaml").write_text(yaml.safe_dump(smaller))
    assert "config.yaml" in told()
    (directory / "config.yaml").write_text(config)
    tokens = (directory / "tokens.txt").read_text()
    (directory / "tokens.txt").write_text("\n".join(tokens.split()[:-1]))
    assert "proj" in told()
    (directory / "tokens.txt").write_text(tokens)
    weights = torch.load(directory / "model.pt", weights_only=True)
    found = weights
    for nesting in ("state_dict", "model_state_dict", "model"):
        found = found.get(nesting, found)
    name = next(iter(found))
    del found[name]
    torch.save(weights, directory / "model.pt")
    assert name in told()
    (directory / "model.pt").unlink()
    assert "no model.pt" in told()
    shutil.rmtree(directory)
    assert "neither a directory nor a model id" in told()


@pytest.mark.parametrize("hub", ["modelscope", "huggingface"])
def test_pull_without_a_network(caches: dict[str, str], tmp_path: Path, hub: str) -> None:
    environment = {"MODELSCOPE_REPO_TREE_PAGE_MAX_ATTEMPTS": "1", "EMOSEEK_HUB": hub}
    done = run("models", "pull", cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert "does not answer" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    done = run("models", "pull", "bundled", cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert "model id" in done.stderr
    done = run("models", "pull", "--revision", "../../up", cwd=tmp_path, **environment)
    assert done.returncode == 1
    assert "EMOSEEK_MODEL_REVISION" in done.stderr
