"""Runs in full what the tests sample: every pair of faults, every order of deliveries, and many faults at once.

``python -m tests.chaos [--saga NAME | --path FOLDER] [--seed N] [--jobs N] [--limit N]``. Exit status: 0 if no
invariant was violated, 1 if one was, 2 if it could not run, 130 if interrupted. Each finding of a trial is printed with
the name of the trial; ``--finding NAME`` runs that trial again.
"""

import argparse
import concurrent.futures
import contextlib
import io
import logging
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# Ctrl-C reaches every process of the terminal, also the workers and the Node.js that the import of the CDK starts. A
# process that is started by a thread that blocks the signal ignores it, and this process ends it. Until `main` handles
# the signal, another thread receives it, and this process ends at once.
INTERRUPT = {signal.SIGINT}
signal.signal(signal.SIGINT, signal.SIG_DFL)
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPT)

import tests.conftest  # noqa: F401 (it sets the environment)
from local.errors import LocalError
from ops.arguments import ArgumentParser
from tests.fixtures import local_aws
from tests.orderings import ROWS, Delivery, Exploration, start_orders
from tests.saga.faults import FAULTS, Faults, faults_at, in_flight, pairs, singles
from tests.saga.interpreter import interpreter
from tests.saga.trial import fresh, padded, trial
from tests.sagas import SAGAS, SagaUnderTest, saga_in
from tests.shape import Shape
from tests.unit.test_barrier import BOTH_TWICE, THREE_SAGAS

# The trials that share an interpreter: moto stores every execution and becomes slow.
TRIALS_A_CHUNK = 80
RANDOM_TRIALS = 500
FAULTS_AT_ONCE = (3, 4, 5)
SECONDS_BETWEEN_LINES = 30
FINDINGS_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A scenario of a saga under faults.

    Args:
        saga: the saga.
        scenario: the scenario.
        faults: the faults by state.
        backwards: whether the branches of its groups run in the other order.
        padded: whether the input is as large as its schema allows.
    """

    saga: str
    scenario: str
    faults: Faults
    backwards: bool = False
    padded: bool = False

    @property
    def name(self) -> str:
        """Its name, such as ``order:1-success:CreateOrder=LATE+BROKEN,ConfirmOrder=SLOW``."""
        faults = ",".join(
            f"{state}={'+'.join(fault.name for fault in several)}" for state, several in self.faults.items()
        )
        flags = [flag for flag in ("backwards", "padded") if getattr(self, flag)]
        return ":".join([self.saga, self.scenario, faults, *flags])

    @staticmethod
    def named(name: str, shapes: Mapping[str, Shape]) -> "Trial":
        """Return the trial of that name. Raises KeyError or ValueError if there is none."""
        saga, scenario, listed, *flags = name.split(":")
        places = [place.split("=") for place in listed.split(",") if place]
        faults = {state: tuple(FAULTS[fault] for fault in several.split("+")) for state, several in places}
        found = Trial(
            saga=saga, scenario=scenario, faults=faults, backwards="backwards" in flags, padded="padded" in flags
        )
        if (
            found.name != name
            or scenario not in SAGAS[saga].demo.scenarios
            or not set(faults) <= set(shapes[saga].tasks)
        ):
            raise ValueError(name)
        return found


@dataclass
class Result:
    """The result of one piece of work, with every violated invariant."""

    kind: str
    executions: int = 0
    orders: int = 0
    deliveries: int = 0
    violations: list[str] = field(default_factory=list)


def run_trials(kind: str, shape: Shape, trials: Sequence[Trial]) -> Result:
    """Run trials of one saga on an interpreter of their own."""
    result = Result(kind)
    demo = SAGAS[trials[0].saga].demo
    with _silence(), interpreter(shape, demo) as machine:
        for one in trials:
            input_ = demo.input(one.scenario)
            input_ = fresh(padded(input_, demo.schema) if one.padded else input_, shape.key)
            _, problems = trial(machine, input_, one.faults, backwards=one.backwards)
            result.executions += 1
            result.violations += [f"{one.name}: {problem}" for problem in problems]
    return result


def explore(kind: str, row: str, starts: dict[str, str], deliveries: Sequence[Delivery], every_step: bool) -> Result:  # noqa: FBT001 (a pool passes arguments by position)
    """Make the deliveries to one row in every order."""
    with _silence(), local_aws():
        exploration = Exploration(row, starts, every_step=every_step)
        exploration.explore(deliveries)
    found = [f"{row}, started {starts}: {problem}" for problem in exploration.violations]
    return Result(kind, orders=exploration.orders, deliveries=exploration.deliveries, violations=found)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Suppress the logs of the functions and of moto."""
    logging.disable()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


Work = tuple[Callable[..., Result], tuple[object, ...]]


def all_work(shapes: Mapping[str, Shape], seed: int, limit: int | None) -> list[Work]:
    """Return all work in pieces; with a limit, an even sample of about so many trials and explorations.

    A single saga is not explored: deliveries concern the library.
    """
    trials: dict[tuple[str, str], list[Trial]] = {}
    for saga, shape in shapes.items():
        trials |= {(saga, f"{saga}: {kind}"): found for kind, found in _trials(saga, shape, seed).items()}
    explorations: list[list[Work]] = [
        [
            (explore, ("two sagas, 8 calls", row, starts, BOTH_TWICE, True))
            for row in ROWS
            for starts in start_orders("AB")
        ],
        # With every order explored to its end these would take 48 minutes of one core, and find the same.
        [
            (explore, ("three sagas, 8 calls", row, starts, THREE_SAGAS, False))
            for row in ("PAYMENT", "PIVOT")
            for starts in start_orders("ABC")
        ],
    ]
    step = 1 if limit is None else max(1, sum(map(len, trials.values())) // limit)
    work: list[Work] = []
    if len(shapes) > 1:
        work += [exploration for several in explorations for exploration in several[::step]]
    for (saga, kind), all_trials in trials.items():
        some = all_trials[::step]
        chunks = [some[start : start + TRIALS_A_CHUNK] for start in range(0, len(some), TRIALS_A_CHUNK)]
        work += [(run_trials, (kind, shapes[saga], chunk)) for chunk in chunks]
    return work


def _trials(saga: str, shape: Shape, seed: int) -> dict[str, list[Trial]]:
    scenarios = list(SAGAS[saga].demo.scenarios)
    both = (False, True) if shape.groups else (False,)
    chance = random.Random(seed)
    return {
        "single faults": [
            Trial(saga=saga, scenario=name, faults=faults, backwards=backwards)
            for faults in singles(shape)
            for name in scenarios
            for backwards in both
        ],
        "faults in flight": [
            Trial(saga=saga, scenario=name, faults=faults, backwards=backwards)
            for _, faults in in_flight(shape)
            for name in scenarios
            for backwards in both
        ],
        "limits": [
            Trial(saga=saga, scenario=name, faults=faults, padded=True)
            for faults in singles(shape)
            for name in scenarios
        ],
        # Each with one order of the branches, in turn.
        "pairs of faults": [
            Trial(saga=saga, scenario=name, faults=faults, backwards=both[number % len(both)])
            for number, faults in enumerate(pairs(shape))
            for name in scenarios
        ],
        "3 to 5 random faults": [
            Trial(saga=saga, scenario=chance.choice(scenarios), faults=faults, backwards=chance.choice(both))
            for faults in _random_faults(shape, chance)
        ],
    }


def _random_faults(shape: Shape, chance: random.Random) -> list[Faults]:
    places = [(task, fault) for task in shape.tasks for fault in faults_at(shape, task)]
    found: list[Faults] = []
    for _ in range(RANDOM_TRIALS):
        chosen = chance.sample(places, chance.choice(FAULTS_AT_ONCE))
        found.append({task: tuple(fault for at, fault in chosen if at == task) for task, _ in chosen})
    return found


def _do(work: Work) -> Result:
    function, arguments = work
    return function(*arguments)


def main() -> int:
    """Run the command line; returns the exit status."""
    options = _options()
    began = time.monotonic()
    try:
        sagas = _sagas(options)
    except LocalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shapes = {name: saga.shape() for name, saga in sagas.items()}
    if options.finding:
        return _run_again(options.finding, shapes)
    print(f"seed {options.seed}, {options.jobs} processes", flush=True)
    work = all_work(shapes, options.seed, options.limit)
    results: list[Result] = []
    interrupted = False
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(options.jobs, context) as pool:
        left = {pool.submit(_do, piece) for piece in work}
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            while left:
                done, left = concurrent.futures.wait(left, 1, concurrent.futures.FIRST_COMPLETED)
                results += [piece.result() for piece in done]
                _progress(results, len(work), began)
        except KeyboardInterrupt:
            interrupted = True
            print("\nInterrupted.", file=sys.stderr)
        finally:
            # Idle workers end by themselves.
            for process in multiprocessing.active_children() if left else ():
                process.terminate()
    status = _report(results, time.monotonic() - began)
    return 130 if interrupted else status


def _sagas(options: argparse.Namespace) -> Mapping[str, SagaUnderTest]:
    """Return the chosen sagas. One in a folder becomes known to the workers too. Raises LocalError."""
    if options.path:
        os.environ["SAGA_UNDER_TEST"] = str(options.path.resolve())
        saga = saga_in(options.path)
        SAGAS[saga.name] = saga
        return {saga.name: saga}
    return {options.saga: SAGAS[options.saga]} if options.saga else SAGAS


def _run_again(name: str, shapes: Mapping[str, Shape]) -> int:
    try:
        again = Trial.named(name, shapes)
    except (KeyError, ValueError):
        print(f"error: unknown trial {name!r}: use the name that a finding was printed with", file=sys.stderr)
        return 2
    result = run_trials(f"{again.saga}: one finding", shapes[again.saga], [again])
    print("\n".join(result.violations) or f"{name}: no invariant was violated")
    return 1 if result.violations else 0


def _options() -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0] if __doc__ else "")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--saga", choices=SAGAS, help="one saga instead of all")
    which.add_argument("--path", metavar="FOLDER", type=Path, help="the folder of a saga outside of the project")
    parser.add_argument("--finding", metavar="NAME", help="run the trial of this name again")
    parser.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(10**6), help="seed of the random faults"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--limit", type=int, help="run an even sample of about N trials")
    return parser.parse_args()


_last_line = 0.0


def _progress(results: Sequence[Result], pieces: int, began: float) -> None:
    global _last_line  # noqa: PLW0603 (there is one terminal)
    now = time.monotonic()
    if not sys.stdout.isatty() and now - max(_last_line, began) < SECONDS_BETWEEN_LINES and len(results) < pieces:
        return
    _last_line = now
    violations = sum(len(result.violations) for result in results)
    end = "\r" if sys.stdout.isatty() else "\n"
    print(f"{now - began:6.0f} s  {len(results)} of {pieces} pieces done, {violations} violations", end=end, flush=True)


def _report(results: Sequence[Result], seconds: float) -> int:
    print(f"\n{'':<28}{'executions':>12}{'orders':>12}{'deliveries':>12}{'violations':>12}")
    for kind in dict.fromkeys(result.kind for result in results):
        _print_line(kind, [result for result in results if result.kind == kind])
    _print_line("total", results)
    print(f"{seconds:.0f} s")
    for result in results:
        for problem in result.violations[:FINDINGS_SHOWN]:
            print(problem)
        if len(result.violations) > FINDINGS_SHOWN:
            print(f"and {len(result.violations) - FINDINGS_SHOWN:,} more of these {result.kind}")
    return 1 if any(result.violations for result in results) else 0


def _print_line(kind: str, results: Sequence[Result]) -> None:
    counts = [
        sum(result.executions for result in results),
        sum(result.orders for result in results),
        sum(result.deliveries for result in results),
        sum(len(result.violations) for result in results),
    ]
    print(f"{kind:<28}" + "".join(f"{count:>12,}" for count in counts))


if __name__ == "__main__":
    sys.exit(main())
