"""Break methods and measures on purpose, one small mistake at a time, and see that a test fails each time.

Run on demand, from anywhere: ``python tests/mutations.py`` takes all breaks of ``tests/breaks.py``,
``python tests/mutations.py elr mixtures`` those of some subjects. The checkout is not touched: breaks are
made in a copy in a temporary folder. The exit status is 1 if a break survives or its text is not found in
the source any more.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue

import pytest
from breaks import BREAKS, Break

ROOT = Path(__file__).resolve().parents[1]
TESTS = (
    "tests/methods",
    "tests/test_mixtures.py",
    "tests/test_networks.py",
    "tests/test_neighbours.py",
    "tests/test_confident.py",
    "tests/analysis/test_overlap.py",
    "tests/analysis/test_overlap_bootstrap.py",
    "tests/analysis/test_detection.py",
    "tests/analysis/test_forecast.py",
    "tests/features/test_longtail.py",
    "tests/test_noise.py",
    "tests/test_signals.py",
    "tests/test_detectors.py",
    "tests/test_signal_rows.py",
)
# Imported once, by the process that all others are forked from: they take longer than most tests.
SLOW_TO_IMPORT = [
    "torch._dynamo",
    "sklearn.covariance",
    "sklearn.neighbors",
    "sklearn.mixture",
    "cleanlab.filter",
]
PASSED = "all tests pass"
TOO_LONG = 600  # seconds; a mistake may make a loop endless, which is noticed as well


def main() -> int:
    """Run the breaks that were asked for; return the exit status."""
    subjects = list(dict.fromkeys(b.subject for b in BREAKS))
    parser = argparse.ArgumentParser(
        description="Break methods and measures on purpose and see that some test fails each time.",
        epilog=f"Subjects: {', '.join(subjects)}.",
    )
    parser.add_argument("subject", nargs="*", help="methods, shared parts or measures to break; default: all")
    parser.add_argument("--match", default="", help="only breaks whose description contains this text")
    parser.add_argument("--jobs", type=int, default=2, help="breaks that are tried at once; default: 2")
    parser.add_argument(
        "--list", action="store_true", help="list the breaks and check that their text is found"
    )
    asked = parser.parse_args()
    if unknown := sorted(set(asked.subject) - set(subjects)):
        parser.error(f"unknown subject {', '.join(unknown)}; allowed are {', '.join(subjects)}")
    if asked.jobs < 1:
        parser.error(f"--jobs {asked.jobs}: at least 1 is needed")
    chosen = [b for b in BREAKS if b.subject in (asked.subject or subjects) and asked.match in b.what]
    if not chosen:
        parser.error(f"no break matches {asked.match!r}")
    lost = [b for b in chosen if (ROOT / b.file).read_text().count(b.before) != 1]
    for b in lost:
        say(f"{b.subject:15} {b.what:38} LOST: its text is not found exactly once in {b.file}")
    found = [b for b in chosen if b not in lost]
    if asked.list:
        for b in found:
            say(f"{b.subject:15} {b.what:38} {b.file}")
        return int(bool(lost))
    return int(not report(found, asked.jobs) or bool(lost))


def report(breaks: list[Break], jobs: int) -> bool:
    """Print a line per break and a summary; return whether all were noticed."""
    started, noticed = time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        copies: SimpleQueue[Path] = SimpleQueue()
        for job in range(jobs):
            copies.put(copy_tree(Path(folder) / str(job)))
        with ThreadPoolExecutor(jobs) as pool:
            # One job without a break: a suite that fails anyway would notice everything.
            whole = pool.submit(in_a_copy, copies, None)
            results = pool.map(lambda b: in_a_copy(copies, b), breaks)
            failed, by = whole.result()
            if failed or by != PASSED:
                say(f"The tests fail without any break: {by}")
                pool.shutdown(cancel_futures=True)
                return False
            for b, (failed, by) in zip(breaks, results, strict=True):
                noticed += failed
                say(f"{b.subject:15} {b.what:38} {'' if failed else 'SURVIVED: '}{by}")
    minutes = (time.perf_counter() - started) / 60
    say(f"{noticed} of {len(breaks)} breaks were noticed, in {minutes:.1f} minutes")
    return noticed == len(breaks)


def copy_tree(folder: Path) -> Path:
    """Copy what the tests need into `folder`."""
    for name in ("noisylib", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def in_a_copy(copies: SimpleQueue[Path], b: Break | None) -> tuple[bool, str]:
    """Make the break in a free copy, run the tests there, and undo it; return what `run_tests` does."""
    copy = copies.get()
    try:
        if b is None:
            return run_tests(copy, TESTS)
        path = copy / b.file
        text = path.read_text()
        path.write_text(text.replace(b.before, b.after))
        try:
            noticed, by = run_tests(copy, b.tests)
            return (noticed, by) if noticed else run_tests(copy, TESTS)
        finally:
            path.write_text(text)
    finally:
        copies.put(copy)


def run_tests(copy: Path, tests: tuple[str, ...]) -> tuple[bool, str]:
    """Return whether a test failed, and which one or why not."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(SLOW_TO_IMPORT)
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=pytest_in, args=(copy, tests, sender))
    child.start()
    sender.close()
    if not receiver.poll(TOO_LONG):
        child.kill()
        return True, f"no end within {TOO_LONG} s"
    try:
        status, failed = receiver.recv()
    except EOFError:
        return True, "the process died"
    child.join()
    if status == pytest.ExitCode.TESTS_FAILED:
        return True, failed.removeprefix("tests/")
    # Code that cannot even be imported proves nothing about the tests.
    return False, PASSED if status == pytest.ExitCode.OK else f"pytest stopped with status {status}: {failed}"


def pytest_in(copy: Path, tests: tuple[str, ...], sender: Connection) -> None:
    """Run pytest in a copy up to the first failure; send its status and the name of what failed."""
    os.environ["OMP_NUM_THREADS"] = "1"
    # A file that is changed back within a second could be mistaken for its old bytecode.
    sys.dont_write_bytecode = True
    sys.path[:] = [str(copy), *(path for path in sys.path if Path(path).resolve() != ROOT / "tests")]
    os.chdir(copy)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

    failed = []

    class Watch:
        """Notes what fails."""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            failed.extend([report.nodeid] * report.failed)

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            failed.extend([report.nodeid] * report.failed)

    # `addopts` without the notebooks' plugin.
    options = ["-x", "-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    status = pytest.main([*options, *tests], plugins=[Watch()])
    sender.send((int(status), next(iter(failed), "")))


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
