"""Training on features that stay on disk: the same results, little memory, and errors instead of mixtures."""

from __future__ import annotations

import pickle
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from small_bank import SHORT, TRAINED, X_TEST, D, K, N, X, noisy, train

from noisylib import mapped
from noisylib.cross_validation import cross_validate
from noisylib.errors import BankError, NoisylibError
from noisylib.features.bank import BankMeta
from noisylib.features.bank_blocks import write_blocks
from noisylib.heads import HeadBank
from noisylib.lanes import CudaLane
from noisylib.mapped import Scale, SeenRows, Windows, scale_of, source_of
from noisylib.mapped_rows import MappedRows, Piece, bad_rows
from noisylib.recorder import RunResults
from noisylib.samples import moments

LIMIT = 2000  # bytes; the features take 12,600 while they are z-scored
F64, CPU = torch.float64, torch.device("cpu")
SEEDS = [3, 9, 3]
METHODS = ("ce", "gce", "elr", "coteaching", "dividemix", "cufit", "forward", "unicon", "turn")


@pytest.fixture
def on_disk(tmp_path: Path):
    """Write an array to a file and return it mapped, in one piece or in several."""

    def write(values: np.ndarray, cuts: tuple[int, ...] = ()) -> MappedRows:
        flat, pieces = values.reshape(-1, values.shape[-1]), []
        for i, part in enumerate(np.split(flat, cuts)):
            path = tmp_path / f"{len(list(tmp_path.iterdir()))}-{i}.bin"
            path.write_bytes(b"x" * i * 8 + part.tobytes())
            pieces.append(Piece.of(path, i * 8, len(part)))
        return MappedRows(pieces, values.shape[-1], values.dtype, lead=values.shape[:-1])

    return write


def assert_equal(one: RunResults, other: RunResults, atol: float = 0.0) -> None:
    np.testing.assert_allclose(one.test_logits, other.test_logits, rtol=0, atol=atol)
    np.testing.assert_array_equal(one.recall, other.recall)
    assert one.trace.keys() == other.trace.keys()
    for name, values in one.trace.items():
        np.testing.assert_allclose(values, other.trace[name], rtol=0, atol=max(atol, 1e-6 * (atol > 0)))


@pytest.mark.parametrize("head", ["linear", "mlp", "adapter"])
@pytest.mark.parametrize("method", METHODS)
def test_results_are_those_of_features_in_memory(on_disk, method: str, head: str) -> None:
    """Bit for bit, where mean and deviation are: in few samples they are found in the same way."""
    if (method, head) == ("turn", "mlp"):
        return  # a pair that does not exist
    y, more = noisy(3), {"head": head, "seeds": SEEDS, "trace": True}
    there = {"X": on_disk(X, (7, 30)), "X_test": on_disk(X_TEST, (11,))}
    assert_equal(train(y, method, **more), train(y, method, **more, **there, memory_limit=LIMIT))


@pytest.mark.parametrize("method", [name for name in TRAINED if name != "rcal"])
def test_every_method_that_trains_in_batches_can_do_it(method: str) -> None:
    y = noisy(2)
    assert_equal(train(y, method, trace=True), train(y, method, trace=True, memory_limit=1))


@pytest.mark.parametrize("method", ["dividemix", "unicon"])
def test_cached_views_may_lie_on_disk(on_disk, method: str) -> None:
    cached = X + np.random.default_rng(3).normal(size=(4, N, D))
    plain = train(noisy(2), method, views=cached, seeds=[1, 2])
    there = train(
        noisy(2), method, X=on_disk(X), views=on_disk(cached, (50,)), seeds=[1, 2], memory_limit=LIMIT
    )
    assert (plain.views, there.views) == ("cached", "cached")
    assert_equal(plain, there)


def test_windows_of_several_batches_change_nothing(on_disk, monkeypatch) -> None:
    """5 numbers of 8 + 8 bytes, 32 rows a step: 2,560 bytes. Of four steps, windows hold 1, 2, 2 and 4."""
    monkeypatch.setattr("noisylib.samples.PREPARING", 10**6)  # so that a limit of 10 MB is too little
    y, more = noisy(3), {"seeds": SEEDS, "head": "linear"}
    expected = train(y, "elr", **more)
    for window, steps in ((1, 1), (2 * 2560, 2), (3 * 2560 - 1, 2), (10**6, 4)):
        monkeypatch.setattr(mapped, "WINDOW_BYTES", window)
        seen = SeenRows(source_of(X), Scale(), CPU, F64, 10**9)
        assert min(4, Windows(seen, HeadBank("linear", [0], D, K))._batches_of_a_window(32)) == steps
        assert_equal(expected, train(y, "elr", **more, X=on_disk(X), memory_limit=10**7))


def test_a_window_takes_no_more_than_a_quarter_of_the_limit() -> None:
    seen, heads = SeenRows(source_of(X), Scale(), CPU, F64, 4 * 3 * 2560), HeadBank("linear", [0], D, K)
    assert Windows(seen, heads)._batches_of_a_window(32) == 3
    assert Windows(seen, HeadBank("adapter", [0], D, K))._batches_of_a_window(32) == 2  # 8 + 16 bytes
    assert Windows(seen, heads)._batches_of_a_window(10**6) == 1, "there is always one"


def test_a_window_stays_while_other_rows_are_read() -> None:
    """As by a method that looks at all samples, or at some out of turn, in mid-epoch."""
    heads = HeadBank("linear", [0, 1], D, K, dtype=F64)
    windows = SeenRows(source_of(X), Scale(), CPU, F64, 10**9).prepared(heads)
    indices = torch.stack([torch.randperm(N), torch.randperm(N)]).split(16, dim=1)
    windows.begin(indices)
    for index in indices:
        np.testing.assert_array_equal(windows.gather(index), X[index])
        np.testing.assert_array_equal(torch.cat([rows.clone() for rows in windows.split(7)]), X)
        other = torch.tensor([[5, 3, 5], [59, 0, 1]])
        np.testing.assert_array_equal(windows.gather(other), X[other])
        np.testing.assert_array_equal(windows.plain(index), X[index])
    np.testing.assert_array_equal(windows.gather(indices[0]), X[indices[0]])


def test_in_many_samples_moments_differ_by_rounding_only(monkeypatch, on_disk) -> None:
    """Blocks of 8 rows: the mean is right to 1e-14 deviations, and results to 1e-10."""
    monkeypatch.setattr(mapped, "MOMENT_NUMBERS", 8 * D)
    far = X * [1, 1e-3, 1e3, 1, 1] + [0, 0, 0, 1e6, -5]
    scale = scale_of(source_of(far), moments)
    mean, std = moments(torch.as_tensor(far))
    assert ((scale.mean - mean).abs() <= 1e-14 * std + 1e-15 * mean.abs()).all()
    torch.testing.assert_close(scale.std, std, rtol=1e-10, atol=0)
    plain = train(noisy(2), "ce", trace=True)
    assert_equal(plain, train(noisy(2), "ce", trace=True, X=on_disk(X), memory_limit=LIMIT), atol=1e-10)


def test_a_constant_feature_is_zero_whatever_its_value(monkeypatch) -> None:
    """0.1 has no exact mean; the deviation must be exactly 0, or rounding would be z-scored."""
    monkeypatch.setattr(mapped, "MOMENT_NUMBERS", 8)
    values = np.hstack([np.full((61, 1), 0.1), np.arange(61.0)[:, None]])
    scale = scale_of(source_of(values), moments)
    assert scale.std[0] == 1
    assert scale(torch.as_tensor(values), F64)[:, 0].tolist() == [0.0] * 61
    assert scale.mean[1] == 30
    assert scale.std[1].item() == pytest.approx(np.sqrt((61**2 - 1) / 12), rel=1e-15)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4", np.int16])
def test_rows_of_any_dtype_are_seen_as_in_memory(on_disk, dtype) -> None:
    values = (X * 100).astype(dtype)
    plain = train(noisy(1), X=values, X_test=values[:30], dtype=torch.float32)
    there = train(noisy(1), X=on_disk(values), X_test=values[:30], dtype=torch.float32, memory_limit=LIMIT)
    assert_equal(plain, there)


def test_a_memory_map_of_numpy_stays_on_disk(tmp_path) -> None:
    np.save(tmp_path / "X.npy", X)
    X_there = np.load(tmp_path / "X.npy", mmap_mode="r")
    assert_equal(train(noisy(1)), train(noisy(1), X=X_there, memory_limit=LIMIT))
    source_of(np.asarray(X_there)).release()


def test_folds_can_be_read_in_batches() -> None:
    """The same probabilities as `cross_validate`, whose features are in memory."""
    from noisylib.methods.out_of_fold import held_out_probabilities

    y = noisy(2)
    expected = cross_validate(X, y, n_classes=K, seeds=[1, 2], folds=3, recipe=SHORT, device="cpu", dtype=F64)
    scale = scale_of(source_of(X), moments)
    P = held_out_probabilities(
        SeenRows(source_of(X), scale, CPU, F64, 500),
        torch.as_tensor(y)[:, None],
        (1, 2),
        K,
        folds=3,
        recipe=SHORT,
    )
    np.testing.assert_array_equal(P[:, 0].numpy(), expected)


def test_bad_values_on_disk_are_found(on_disk) -> None:
    wrong = X.copy()
    wrong[[17, 40], 2] = np.nan
    there = on_disk(wrong, (20,))
    assert bad_rows(wrong) == bad_rows(there) == (2, 17)
    assert bad_rows(there.take(np.arange(17))) == (0, -1)
    assert bad_rows(there.take(np.arange(30, 50))) == (1, 10)
    with pytest.raises(NoisylibError, match="X has NaN or infinite values in 2 rows, first in row 17"):
        train(noisy(1), X=on_disk(wrong), memory_limit=LIMIT)
    with pytest.raises(NoisylibError, match=r"X has shape \(4, 15, 5\)"):
        train(noisy(1), X=on_disk(X.reshape(4, 15, 5)), memory_limit=LIMIT)


def changing(rows: MappedRows, change) -> None:
    """Train, and change the first file after the first epoch."""
    path = rows.pieces[0].path

    def after(done: int, of: int) -> None:
        if done == 1:
            change(path)

    train(noisy(1), X=rows, memory_limit=LIMIT, progress=after)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: path.write_bytes(b"y" + path.read_bytes()[1:]), "was changed"),
        (lambda path: path.unlink(), "is gone"),
        (lambda path: path.write_bytes(path.read_bytes()[:-8]), "was changed"),
    ],
)
def test_a_file_that_changes_during_training_ends_it(on_disk, change, words: str) -> None:
    with pytest.raises(BankError, match=rf"{words} while it was read: results would mix two versions"):
        changing(on_disk(X), change)


def test_a_file_that_is_cut_off_before_it_is_mapped_is_named(on_disk) -> None:
    rows = on_disk(X)
    path = rows.pieces[0].path
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BankError, match=rf"{path.name} is cut off: {N * D * 8} bytes are needed"):
        rows[:3]
    path.unlink()
    with pytest.raises(BankError, match=rf"{path.name} cannot be read \(No such file"):
        rows[:3]


def test_rows_travel_to_other_processes_as_the_names_of_files(on_disk) -> None:
    rows = on_disk(X).take(np.arange(5, 20))
    rows[:2]
    sent = pickle.dumps(rows)
    assert len(sent) < 1200
    np.testing.assert_array_equal(np.asarray(pickle.loads(sent)), X[5:20])


class Event:
    """Ends what was queued on a stream before it, when somebody waits for it."""

    def record(self, stream: Stream) -> None:
        self.queue = list(stream.queue)

    def synchronize(self) -> None:
        for copy in self.queue:
            copy()


class Stream:
    """A stream of a GPU that is as late as can be: it copies only once somebody waits."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.queue: list = []

    def wait_event(self, event: Event) -> None:
        event.synchronize()


class LateGPU:
    """What stands for torch.cuda."""

    Event, Stream = Event, Stream

    def __init__(self) -> None:
        self.caller, self.inside = Stream(), None

    def is_available(self) -> bool:
        return False

    def current_stream(self, device: torch.device) -> Stream:
        return self.caller

    @contextmanager
    def stream(self, stream: Stream):
        self.inside = stream
        yield
        self.inside = None


class LateLane(CudaLane):
    """A lane to that GPU; what is made of the rows is made when they arrive."""

    def send(self, slot: int, raw: torch.Tensor) -> torch.Tensor:
        there = torch.full_like(raw, float("nan"))
        self._cuda.inside.queue.append(lambda: there.isnan().all() and there.copy_(raw))
        super().send(slot, raw)
        return there


def test_a_slot_is_filled_again_only_when_its_rows_have_left() -> None:
    """The copy to the GPU happens at the last moment: too early a write to the buffer would be copied."""
    lane = LateLane(CPU, LateGPU())
    sent = []
    for number in range(6):
        with lane.open(number % 2):
            buffer = lane.buffer(number % 2, (4, 3), np.dtype(np.float32))
            buffer[:] = number
            sent.append(lane.send(number % 2, torch.from_numpy(buffer)))
        if number:
            lane.arrived((number - 1) % 2, ())
            assert (sent[number - 1] == number - 1).all(), "the caller waits for the rows"
    late = []
    for number in range(3):  # one slot, and nobody waits
        with lane.open(0):
            buffer = lane.buffer(0, (4, 3), np.dtype(np.float32))
            buffer[:] = number
            late.append(lane.send(0, torch.from_numpy(buffer)))
    lane.arrived(0, ())
    assert [rows.unique().tolist() for rows in late] == [[0], [1], [2]]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_reads_the_same_batches() -> None:
    more = {"device": "cuda", "seeds": [1, 2], "trace": True}
    for method in ("ce", "dividemix"):
        plain, there = (train(noisy(2), method, **more, memory_limit=m) for m in (None, 100))
        assert_equal(plain, there, atol=1e-9)


CHILD = """
import sys
import numpy as np, torch
from noisylib.features.bank import FeatureBank
from noisylib.recipe import Recipe
from noisylib.training import train_bank

torch.set_num_threads(1)
K, rng = 3, np.random.default_rng(0)
def run(X, X_test, **more):
    y = rng.integers(0, K, (2, len(X)))
    recipe = Recipe(epochs=1, score_epochs=1, batch_size=256)
    train_bank(X, y, X_test, np.arange(K), n_classes=K, head="linear", recipe=recipe, device="cpu", **more)
small = rng.standard_normal((2000, 1024)).astype(np.float32)
run(small, small[:K])
run(small, small[:K], memory_limit=2**20)
def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024
open("/proc/self/clear_refs", "w").write("5")  # the peak of before does not count
before = status("VmRSS")
bank = FeatureBank.load(sys.argv[1], mapped=True)
run(bank.part("train")[0], np.asarray(bank.part("test")[0]), memory_limit=2**24)
print(status("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads Linux's account of memory")
def test_memory_stays_far_below_the_features(tmp_path) -> None:
    """205 MB on disk, 2.9 GB while z-scored in memory. All that is done here takes less than 60 MB."""
    N, block = 100_003, np.random.default_rng(0).standard_normal((10_000, 1024)).astype(np.float16)
    path, labels = tmp_path / "made-wide.safetensors", np.arange(N) % 3
    split = np.r_[np.zeros(N - 3), [2, 2, 2]].astype(np.uint8)
    blocks = (block[: min(len(block), N - start)] for start in range(0, N, len(block)))
    write_blocks(path, blocks, labels, split, ["a", "b", "c"], BankMeta("made", "wide"))
    size = sum(file.stat().st_size for file in tmp_path.rglob("*.safetensors"))
    done = subprocess.run([sys.executable, "-c", CHILD, path], capture_output=True, text=True, check=True)
    assert size > 200e6
    assert int(done.stdout) < 60e6


@pytest.mark.parametrize("mode", ["c", "r+"])
def test_what_was_written_to_a_map_is_not_lost(tmp_path, mode: str) -> None:
    """A map that copies on writing holds numbers that its file does not have."""
    path = tmp_path / "x.npy"
    np.save(path, np.zeros((600, 4), dtype=np.float32))
    X = np.load(path, mmap_mode=mode)
    X[:] = 7
    source_of(X[100:]).release()
    assert (X == 7).all()
