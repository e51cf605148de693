"""Finding weights: the cache first, and a clear word within a second when there are none."""

from __future__ import annotations

import pickle
import threading
import time

import pytest
import torch
from _tiny_extraction import TINY, tiny_weights

from noisylib.errors import MissingDataError, NoisylibError
from noisylib.features import weights as weights_module
from noisylib.features.backbones import load_backbone
from noisylib.features.weights import find_weights, read_checkpoint


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    """A hub cache without files, and no proxy or offline switch from outside."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "https_proxy",
        "HTTPS_PROXY",
        "http_proxy",
        "HTTP_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "cache"


def test_offline_switch_is_obeyed_within_a_second(empty_cache, monkeypatch):
    import huggingface_hub  # noqa: F401

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    start = time.perf_counter()
    with pytest.raises(MissingDataError) as caught:
        load_backbone("dinov2_vits14")
    assert time.perf_counter() - start < 1
    text = str(caught.value)
    for part in (
        "dinov2_vits14",
        "HF_HUB_OFFLINE=1",
        "model.safetensors",
        "https://huggingface.co/timm/vit_small_patch14_dinov2.lvd142m",
        "--weights",
    ):
        assert part in text


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:9",  # refused at once
        "https://hub.invalid",  # a name that cannot be resolved
    ],
)
def test_unreachable_hub_is_noticed_within_a_second(empty_cache, monkeypatch, endpoint):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    start = time.perf_counter()
    with pytest.raises(MissingDataError, match=r"does not answer within.*--weights FILE"):
        find_weights(TINY)
    assert time.perf_counter() - start < 1


def test_slow_name_lookup_does_not_hang(empty_cache, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.invalid")
    release = threading.Event()

    def look_up(*args, **kwargs):
        release.wait(10)
        raise OSError("no such name")

    monkeypatch.setattr(weights_module.socket, "create_connection", look_up)
    start = time.perf_counter()
    with pytest.raises(MissingDataError, match=r"hub\.invalid:443 does not answer"):
        find_weights(TINY)
    assert time.perf_counter() - start < 1
    release.set()


def test_proxy_is_asked_in_place_of_the_hub(empty_cache, monkeypatch):
    asked = []
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setattr(weights_module, "_opens", lambda host, port: asked.append((host, port)))
    with pytest.raises(MissingDataError, match=r"proxy\.example:3128"):
        find_weights(TINY)
    assert asked == [("proxy.example", 3128)]


def test_cached_weights_need_no_network(empty_cache, monkeypatch):
    monkeypatch.setattr(weights_module, "_opens", lambda host, port: pytest.fail("looked at the network"))
    snapshot = empty_cache / "models--timm--test_vit.r160_in1k" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    cached = tiny_weights(snapshot / "model.safetensors")
    assert find_weights(TINY) == cached
    assert load_backbone(TINY).preprocessing["weights"] == "timm/test_vit.r160_in1k/model.safetensors"


def test_download_is_asked_of_the_hub_and_its_refusal_is_told(empty_cache, monkeypatch, tmp_path):
    monkeypatch.setattr(weights_module, "_opens", lambda host, port: True)
    asked = []

    def download(repo, file, etag_timeout):
        asked.append((repo, file))
        return str(tmp_path / "fetched")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert find_weights(TINY) == tmp_path / "fetched"
    assert asked == [("timm/test_vit.r160_in1k", "model.safetensors")]

    def refuse(repo, file, etag_timeout):
        raise OSError("401 Unauthorized")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(MissingDataError, match=r"the hub answered: 401 Unauthorized"):
        find_weights(TINY)


def test_absent_local_file_and_local_only_backbone(tmp_path):
    with pytest.raises(
        MissingDataError, match=r"weights='.*absent\.pth' is not a file\. Fetch model\.safetensors"
    ):
        find_weights(TINY, tmp_path / "absent.pth")
    with pytest.raises(
        MissingDataError, match=r"msn_vitb16.*vitb16_600ep\.pth\.tar.*target_encoder.*--weights"
    ):
        load_backbone("msn_vitb16")


class Malicious:
    """Unpickling this would raise, so a test that passes has not unpickled it."""

    def __reduce__(self):
        return (pytest.fail, ("code of the checkpoint was run",))


def test_pickles_are_not_run(tmp_path):
    path = tmp_path / "bad.pth"
    torch.save({"state_dict": {}, "extra": Malicious()}, path)
    with pytest.raises(NoisylibError, match="more than tensors"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(NoisylibError, match="more than tensors"):
        read_checkpoint(path)


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.pth"])
@pytest.mark.parametrize("kept", [0, 7, 1000])
def test_truncated_checkpoints_are_named(tmp_path, name, kept):
    whole = tiny_weights(tmp_path / "whole.safetensors")
    path = tmp_path / name
    if name.endswith(".pth"):
        torch.save({"a": torch.zeros(1000)}, path)
        whole = path
    path.write_bytes(whole.read_bytes()[:kept])
    with pytest.raises(NoisylibError, match=rf"{name}.*etch it again"):
        read_checkpoint(path)
