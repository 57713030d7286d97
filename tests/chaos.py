"""What the tests sample, in full: every pair of faults, every order of deliveries, and many faults at once.

``python -m tests.chaos [--saga NAME] [--seed N] [--jobs N] [--limit N]``. Exit status: 0 if no invariant was broken,
1 if one was, 2 if it could not run, 130 if interrupted. A finding of a trial is printed with a name, by which
``--finding NAME`` runs it again.
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

# Ctrl-C reaches every process of the terminal: also the workers, and the Node.js that the import of the CDK starts.
# What a thread starts while it blocks the signal stays deaf to it, and is ended by this process. Until `main` listens,
# another thread takes the signal, whose default is to end this process at once.
INTERRUPT = {signal.SIGINT}
signal.signal(signal.SIGINT, signal.SIG_DFL)
threading.Thread(target=threading.Event().wait, daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPT)

# First of all: it sets the environment, and moto must be imported before the functions' client is made.
import tests.conftest  # noqa: F401

# isort: split
from moto import mock_aws

from ops.arguments import ArgumentParser
from tests.orderings import ROWS, Call, Exploration, starts
from tests.saga.faults import Fault, Faults, in_flight, pairs, singles
from tests.saga.interpreter import interpreter
from tests.saga.trial import fresh, trial
from tests.sagas import SAGAS
from tests.shape import Shape
from tests.unit.test_barrier import BOTH_TWICE, THREE_SAGAS

# So many trials share an interpreter: moto keeps every execution, and grows slow.
TRIALS_A_CHUNK = 80
RANDOM_TRIALS = 500
FAULTS_AT_ONCE = (3, 4, 5)
SECONDS_BETWEEN_LINES = 30
FINDINGS_SHOWN_OF_A_PIECE = 5


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An order of a saga under faults; ``backwards`` runs the branches of its groups in the other order."""

    saga: str
    scenario: str
    faults: Faults
    backwards: bool = False

    @property
    def name(self) -> str:
        """Such as ``order:1-success:CreateOrder=LATE+BROKEN,ConfirmOrder=SLOW``."""
        faults = ",".join(
            f"{state}={'+'.join(fault.name for fault in struck)}" for state, struck in self.faults.items()
        )
        return ":".join([self.saga, self.scenario, faults, *(["backwards"] if self.backwards else [])])

    @staticmethod
    def named(name: str, shapes: Mapping[str, Shape]) -> "Trial":
        """The trial of that name. Raises ValueError if there is none."""
        saga, scenario, told, *way = name.split(":")
        struck = [place.split("=") for place in told.split(",") if place]
        faults = {state: tuple(Fault[fault] for fault in several.split("+")) for state, several in struck}
        found = Trial(saga=saga, scenario=scenario, faults=faults, backwards=bool(way))
        if (
            found.name != name
            or scenario not in SAGAS[saga].example.expected
            or not set(faults) <= set(shapes[saga].tasks)
        ):
            raise ValueError(name)
        return found


@dataclass
class Result:
    """What one piece of work did, and every invariant that it found broken."""

    kind: str
    executions: int = 0
    orders: int = 0
    deliveries: int = 0
    broken: list[str] = field(default_factory=list)


def run_trials(kind: str, shape: Shape, trials: Sequence[Trial]) -> Result:
    """Run trials of one saga on an interpreter of their own."""
    result = Result(kind)
    with _silence(), interpreter(shape, SAGAS[trials[0].saga].example) as machine:
        for one in trials:
            order = fresh(SAGAS[one.saga].example.scenario(one.scenario), shape.key)
            _, problems = trial(machine, order, one.faults, backwards=one.backwards)
            result.executions += 1
            result.broken += [f"{one.name}: {problem}" for problem in problems]
    return result


def explore(kind: str, row: str, begun: dict[str, str], calls: Sequence[Call], every_step: bool) -> Result:  # noqa: FBT001 (a pool passes arguments by position)
    """Walk every order of the calls at one row."""
    with _silence(), mock_aws():
        exploration = Exploration(row, begun, every_step=every_step)
        exploration.walk(calls)
    broken = [f"{row}, begun {begun}: {problem}" for problem in exploration.broken]
    return Result(kind, orders=exploration.orders, deliveries=exploration.deliveries, broken=broken)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Neither the functions' logs nor moto's."""
    logging.disable()
    with contextlib.redirect_stdout(io.StringIO()):
        yield


Work = tuple[Callable[..., Result], tuple[object, ...]]


def all_work(shapes: Mapping[str, Shape], seed: int, limit: int | None) -> list[Work]:
    """Everything there is to do, in pieces; with a limit, evenly thinned out to about so many trials and walks."""
    trials: dict[tuple[str, str], list[Trial]] = {}
    for saga, shape in shapes.items():
        trials |= {(saga, f"{saga}: {kind}"): found for kind, found in _trials(saga, shape, seed).items()}
    walks: list[list[Work]] = [
        [(explore, ("two sagas, 8 calls", row, begun, BOTH_TWICE, True)) for row in ROWS for begun in starts("AB")],
        # Walked in every step these would take 48 minutes of one core, and show the same.
        [
            (explore, ("three sagas, 8 calls", row, begun, THREE_SAGAS, False))
            for row in ("PAYMENT", "PIVOT")
            for begun in starts("ABC")
        ],
    ]
    step = 1 if limit is None else max(1, sum(map(len, trials.values())) // limit)
    work: list[Work] = [walk for those in walks for walk in those[::step]]
    for (saga, kind), several in trials.items():
        some = several[::step]
        chunks = [some[start : start + TRIALS_A_CHUNK] for start in range(0, len(some), TRIALS_A_CHUNK)]
        work += [(run_trials, (kind, shapes[saga], chunk)) for chunk in chunks]
    return work


def _trials(saga: str, shape: Shape, seed: int) -> dict[str, list[Trial]]:
    scenarios = list(SAGAS[saga].example.expected)
    both = (False, True) if shape.groups else (False,)
    chance = random.Random(seed)
    return {
        "single faults": [
            Trial(saga=saga, scenario=name, faults=faults, backwards=backwards)
            for faults in singles(shape.tasks)
            for name in scenarios
            for backwards in both
        ],
        "faults in flight": [
            Trial(saga=saga, scenario=name, faults=faults, backwards=backwards)
            for _, faults in in_flight(shape)
            for name in scenarios
            for backwards in both
        ],
        # These in one order of the branches each, in turn.
        "pairs of faults": [
            Trial(saga=saga, scenario=name, faults=faults, backwards=both[number % len(both)])
            for number, faults in enumerate(pairs(shape.tasks))
            for name in scenarios
        ],
        "3 to 5 random faults": [
            Trial(saga=saga, scenario=chance.choice(scenarios), faults=faults, backwards=chance.choice(both))
            for faults in _random_faults(shape, chance)
        ],
    }


def _random_faults(shape: Shape, chance: random.Random) -> list[Faults]:
    places = [(task, fault) for task in shape.tasks for fault in Fault]
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
    sagas = SAGAS if options.saga is None else {options.saga: SAGAS[options.saga]}
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
            # Those still at work; if all is done, they end by themselves.
            for process in multiprocessing.active_children() if left else ():
                process.terminate()
    status = _report(results, time.monotonic() - began)
    return 130 if interrupted else status


def _run_again(name: str, shapes: Mapping[str, Shape]) -> int:
    try:
        again = Trial.named(name, shapes)
    except (KeyError, ValueError):
        print(f"error: there is no trial {name!r}: use a name as a finding is printed with", file=sys.stderr)
        return 2
    result = run_trials(f"{again.saga}: one finding", shapes[again.saga], [again])
    print("\n".join(result.broken) or f"{name}: no invariant is broken")
    return 1 if result.broken else 0


def _options() -> argparse.Namespace:
    parser = ArgumentParser(prog="python -m tests.chaos", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--saga", choices=SAGAS, help="one saga instead of all")
    parser.add_argument("--finding", metavar="NAME", help="run one trial again, by the name that it was printed with")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="of the random faults")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--limit", type=int, help="run about so many trials, evenly chosen, instead of all")
    return parser.parse_args()


_last_line = 0.0


def _progress(results: Sequence[Result], pieces: int, began: float) -> None:
    global _last_line  # noqa: PLW0603 (the time of the last line is the terminal's, of which there is one)
    now = time.monotonic()
    if not sys.stdout.isatty() and now - max(_last_line, began) < SECONDS_BETWEEN_LINES and len(results) < pieces:
        return
    _last_line = now
    broken = sum(len(result.broken) for result in results)
    end = "\r" if sys.stdout.isatty() else "\n"
    print(f"{now - began:6.0f} s  {len(results)} of {pieces} pieces done, {broken} broken", end=end, flush=True)


def _report(results: Sequence[Result], seconds: float) -> int:
    print(f"\n{'':<28}{'executions':>12}{'orders':>12}{'deliveries':>12}{'broken':>12}")
    for kind in dict.fromkeys(result.kind for result in results):
        those = [result for result in results if result.kind == kind]
        _row(kind, those)
    _row("in all", results)
    print(f"{seconds:.0f} s")
    for result in results:
        for problem in result.broken[:FINDINGS_SHOWN_OF_A_PIECE]:
            print(problem)
        if len(result.broken) > FINDINGS_SHOWN_OF_A_PIECE:
            print(f"and {len(result.broken) - FINDINGS_SHOWN_OF_A_PIECE:,} more of these {result.kind}")
    return 1 if any(result.broken for result in results) else 0


def _row(kind: str, results: Sequence[Result]) -> None:
    counts = [
        sum(result.executions for result in results),
        sum(result.orders for result in results),
        sum(result.deliveries for result in results),
        sum(len(result.broken) for result in results),
    ]
    print(f"{kind:<28}" + "".join(f"{count:>12,}" for count in counts))


if __name__ == "__main__":
    sys.exit(main())
