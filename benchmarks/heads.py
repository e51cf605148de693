"""Times a bank of heads against the peers and the machine, all in one run.

Bank and peers alike train two epochs, of which the second is timed: what is paid once per run is not.
Every round times every case once, in an order that turns from round to round, so that whatever else
the machine does hits all alike. Ratios are ratios of medians over the rounds.

The share of the matrix rate counts every product that a step computes, among them those that fold two layers
into one once per batch; the plain share counts a forward and a backward pass sample by sample. The rate is
that of the fastest square product of the same rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace

import torch

from benchmarks import peers
from benchmarks.processes import Workers
from benchmarks.workload import QUICK, Setting, TimedEpochs, Workload, clock
from noisylib.heads import HeadBank

WIDE = {"n_features": 768, "batch_size": 512}


@dataclass
class Case:
    """One thing to time: `run` returns seconds, which are divided by `units` (head-epochs, products)."""

    title: str
    units: float
    run: Callable[[], float]
    seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Run once and keep the seconds per unit."""
        self.seconds.append(self.run() / self.units)

    @property
    def median(self) -> float:
        """Median seconds per unit."""
        return statistics.median(self.seconds)

    def summary(self) -> dict[str, object]:
        """Return the spread over the rounds, in seconds per unit."""
        return {
            "title": self.title,
            "min": min(self.seconds),
            "median": self.median,
            "max": max(self.seconds),
            "all": self.seconds,
        }


def in_rounds(cases: Collection[Case], rounds: int) -> None:
    """Measure every case once per round, in an order that turns from round to round."""
    cases = list(cases)
    for repeat in range(rounds):
        turn = repeat * len(cases) // rounds
        for case in cases[turn:] + cases[:turn]:
            case.measure()


def bank_cases(work: Workload) -> dict[str, Case]:
    """The runs in the banks that a study trains them in, and single banks of several widths."""
    s, chunks = work.setting, work.chunks()
    widths = [len(seeds) * s.runs_per_seed for seeds in chunks]
    sizes = f"{len(widths)} x {widths[0]}" if len(set(widths)) == 1 else " + ".join(map(str, widths))
    cases = {"bank": Case(f"noisylib, banks of {sizes}", s.runs, lambda: sum(work.train(c) for c in chunks))}
    grids = [(1, s.runs_per_seed // 2), *((S, s.runs_per_seed) for S in range(1, s.seeds + 1))]
    for S, H in grids:
        cases[f"bank_{S * H}"] = Case(
            f"  one bank of {S * H} ({S} x {H})", S * H, lambda S=S, H=H: work.train_at_once(range(S), H)
        )
    return cases


def peer_cases(work: Workload) -> dict[str, Case]:
    """The peers. Those that train all runs at once are given one batch for all, which helps them."""
    s, recipe, device = work.setting, work.recipe, work.device
    X, Y = torch.as_tensor(work.X, device=device), torch.as_tensor(work.Y, device=device)
    few = slice(s.loop_runs)

    def timed(train: Callable, X: torch.Tensor, Y: torch.Tensor, **more) -> float:
        bank = HeadBank(s.head, [0], s.n_features, s.n_classes, runs_per_seed=len(Y), device=device)
        heads = peers.heads_like(bank)
        epochs = TimedEpochs(s.n_samples, device)
        train(heads, X, Y, epochs, recipe, **more)
        return epochs.seconds

    X_host, Y_host = X.cpu(), Y[few].cpu()

    def through_loader(workers: int) -> float:
        return timed(peers.dataloader_loop, X_host, Y_host, workers=workers)

    loop, loader = "tight loop, one run at a time", "DataLoader loop, one run at a time"
    return {
        "tight": Case(loop, s.loop_runs, lambda: timed(peers.tight_loop, X, Y[few])),
        "dataloader": Case(loader, s.loop_runs, lambda: through_loader(0)),
        "dataloader_workers": Case("  with 2 loader processes", s.loop_runs, lambda: through_loader(2)),
        "vmap": Case("torch.func vmap, all runs", s.runs, lambda: timed(peers.vmap_ensemble, X, Y)),
        "moduledict": Case("ModuleDict, all runs", s.runs, lambda: timed(peers.module_dict, X, Y)),
    }


def gemm_cases(work: Workload) -> dict[str, Case]:
    """Square float32 products, a few of each per round; one product is the unit."""
    sizes = work.setting.gemm_sizes if work.device.type == "cpu" else (1024, 2048, 4096, 8192)
    return {f"gemm_{n}": gemm_case(n, work.device) for n in sizes}


def gemm_case(n: int, device: torch.device) -> Case:
    a, b = torch.randn(2, n, n, device=device)
    out = torch.empty_like(a)
    # About 0.1 s at 100 GFLOP/s: long enough to see the machine that the bank sees.
    products = max(2, round(5e9 / n**3))

    def run() -> float:
        torch.mm(a, b, out=out)  # warm
        start = clock(device)
        for _ in range(products):
            torch.mm(a, b, out=out)
        return clock(device) - start

    return Case(f"product of {n} x {n}", products, run)


def best_rate(gemms: dict[str, Case]) -> tuple[float, int]:
    """Return the highest rate of the products, in floating-point operations per second, and its edge."""
    rates = {int(name.removeprefix("gemm_")): case.median for name, case in gemms.items()}
    size = min(rates, key=lambda n: rates[n] / n**3)
    return 2 * size**3 / rates[size], size


def run(quick: bool, device: torch.device) -> dict[str, object]:
    """Measure this part of ``python -m benchmarks``; on a GPU also at a size that fills it."""
    setting = QUICK if quick else Setting()
    results = measure(setting, device)
    if device.type != "cpu":
        results |= measure_wide(replace(setting, **({} if quick else WIDE)), device)
    return results


def measure(setting: Setting, device: torch.device) -> dict[str, object]:
    """Return ratios, raw seconds and setting, under keys that start with ``heads.``."""
    work = Workload(setting, device)
    with Workers(2, setting, device) as workers:
        gemms, peer = gemm_cases(work), peer_cases(work)
        banks = bank_cases(work)
        processes = {
            f"{name}_process": Case(f"{name} process(es)", 1, lambda n=n: workers.seconds(n))
            for n, name in ((1, "one"), (2, "two"))
        }
        in_rounds((gemms | banks | peer | processes).values(), setting.repeats)
    bank, (rate, size) = banks["bank"].median, best_rate(gemms)
    return {
        **{f"heads.speedup_{name}": case.median / bank for name, case in peer.items()},
        "heads.gemm_fraction": work.flops_per_head_epoch() / bank / rate,
        "heads.gemm_fraction_plain": work.plain_flops_per_head_epoch() / bank / rate,
        "heads.two_process_speedup": 2 * processes["one_process"].median / processes["two_process"].median,
        "heads.gemm_gflops": rate / 1e9,
        "heads.gemm_size": size,
        "heads.seconds_per_head_epoch": {name: c.summary() for name, c in (banks | peer).items()},
        "heads.seconds_per_product": {name: c.summary() for name, c in gemms.items()},
        "heads.seconds_of_processes": {name: c.summary() for name, c in processes.items()},
        "heads.setting": {**asdict(setting), "runs": setting.runs},
    }


def measure_wide(setting: Setting, device: torch.device) -> dict[str, object]:
    """Return the share of the matrix rate that the same bank reaches at another size, and its setting."""
    work = Workload(setting, device)
    gemms = gemm_cases(work)
    bank = Case("noisylib, wide", setting.runs, lambda: sum(work.train(c) for c in work.chunks()))
    in_rounds([*gemms.values(), bank], setting.repeats)
    return {
        "heads.gemm_fraction_wide": work.flops_per_head_epoch() / bank.median / best_rate(gemms)[0],
        "heads.seconds_per_head_epoch_wide": bank.summary(),
        "heads.setting_wide": {**asdict(setting), "runs": setting.runs},
    }


def table(results: dict[str, object]) -> str:
    """Return the measurements as text, one way to train per line."""
    s = results["heads.setting"]
    lines = [
        f"{s['runs']} {s['head']} heads, D={s['n_features']}, K={s['n_classes']}, N={s['n_samples']}, "
        f"batch {s['batch_size']}: milliseconds per head and epoch over {s['repeats']} rounds",
        "",
        f"{'':36}{'median':>9}{'min':>9}{'max':>9}{'bank is faster':>17}",
    ]
    rows = results["heads.seconds_per_head_epoch"]
    for row in rows.values():
        spread = "".join(f"{row[key] * 1e3:9.2f}" for key in ("median", "min", "max"))
        lines.append(f"{row['title']:36}{spread}{row['median'] / rows['bank']['median']:15.2f} x")
    n, rate = results["heads.gemm_size"], results["heads.gemm_gflops"]
    lines += [
        "",
        f"{results['heads.gemm_fraction']:.0%} of the machine's matrix-product rate, {rate:.1f} GFLOP/s at "
        f"{n} x {n}; {results['heads.gemm_fraction_plain']:.0%} without the products that fold layers",
        f"two processes do {results['heads.two_process_speedup']:.2f} x the work of one",
    ]
    if "heads.gemm_fraction_wide" in results:
        s = results["heads.setting_wide"]
        lines.append(
            f"{results['heads.gemm_fraction_wide']:.0%} of it at D={s['n_features']}, batch {s['batch_size']}"
        )
    return "\n".join(lines)
