"""The saga pattern as a construct: a list of steps becomes a state machine. It knows nothing of what they do.

Every compensatable action catches every error into its own compensation, because the outcome of a failed action
may be unknown; from there the compensations of all steps before it run in reverse, and the execution ends in a
Fail state. A compensation has no Catch: exhausted, the execution fails in that very state, and RedriveExecution
continues right there.

What the functions receive is taken from the context object, never from the state's input, and no field of
the execution's input is named: a path that is missing would fail the state in a way that no Catch catches.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from lambdas.shared.errors import BUSINESS_ERRORS
from saga_stack.settings import RetryPolicy
from saga_stack.steps import (
    InvalidSagaError,
    Parallel,
    Part,
    Pivot,
    Retriable,
    Step,
    Task,
    committed_name,
    complete_name,
    failed_name,
    require_saga,
    state_name,
    undo_name,
)

_FAILURE = ("step", "error", "reason")

Connect: TypeAlias = Callable[[sfn.IChainable], object]


class Saga(Construct):
    """The states for ``steps``; ``start`` is the first of them. Raises InvalidSagaError.

    ``functions`` holds the function of every name in the steps. ``completion`` follows the last action; it
    is past the point of no return, so it is retried like a compensation and never caught. Its input is
    ``{"answer": ...}``, what the last action answered; after a compensatable group, ``{"members": {<state>:
    {"answer": ...}}}``. Without a completion the execution's output is that answer, of a group its first step's.
    ``failed`` names the Fail state and its error.

    A compensation is told why it runs under ``failure``, and answers with ``{"failure": {"step", "error",
    "reason"}}``; the three make the cause that the execution fails with. A resolution does so too, and says whether
    the pivot is ``committed``.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        steps: Sequence[Part],
        functions: Mapping[str, lambda_.Function],
        completion: sfn.TaskStateBase | None,
        failed: str,
        task_timeout: Duration,
        action_retry: RetryPolicy,
        compensation_retry: RetryPolicy,
    ) -> None:
        require_saga(steps)
        if failed in BUSINESS_ERRORS:
            # Nobody could tell a saga that is rolled back from one that a refused compensation has left stuck.
            raise InvalidSagaError(f"{failed} is the name of an exception: give the Fail state one that nothing raises")
        super().__init__(scope, id_)
        self._functions = functions
        self._task_timeout = task_timeout
        self._action_retry = action_retry
        self._compensation_retry = compensation_retry
        self._undo: sfn.IChainable = sfn.Fail(
            self,
            failed,
            error=failed,
            cause_path=sfn.JsonPath.format("{} failed: {}: {}", *(sfn.JsonPath.string_at(f"$.{f}") for f in _FAILURE)),
        )
        self._start: sfn.IChainable | None = None
        self._ends: Sequence[Connect] = ()
        self._answer = "$.answer"

        for part in steps:
            match part:
                case Step():
                    self._add_step(part)
                case Pivot():
                    self._add_pivot(part)
                case Retriable():
                    self._add_retriable(part)
                case Parallel():
                    self._add_parallel(part)
        self._add_completion(completion)
        assert self._start is not None  # noqa: S101 (a saga has a step)
        self.start: sfn.IChainable = self._start

    def _append(self, state: sfn.IChainable, *ends: Connect, answer: str = "$.answer") -> None:
        """Make the state follow what is there; ``ends`` connect it to what will follow, ``answer`` is in its output."""
        for connect in self._ends:
            connect(state)
        self._start = self._start or state
        self._ends = ends
        self._answer = answer

    def _add_step(self, step: Step) -> None:
        compensation = self._compensation(step)
        compensation.next(self._undo)
        self._undo = compensation
        action = self._action(step)
        action.add_catch(compensation, errors=[sfn.Errors.ALL])
        self._append(action, action.next)

    def _add_pivot(self, pivot: Pivot) -> None:
        decision = sfn.Choice(self, state_name(committed_name(pivot))).otherwise(self._undo)
        resolution = self._undoing(pivot, pivot.resolution, also={"answer": sfn.JsonPath.object_at("$.Payload")})
        resolution.next(decision)
        action = self._action(pivot)
        action.add_catch(resolution, errors=[sfn.Errors.ALL])
        done = sfn.Condition.boolean_equals("$.answer.committed", value=True)
        self._append(action, action.next, lambda following: decision.when(done, following))

    def _add_retriable(self, step: Retriable) -> None:
        action = self._action(step)
        self._append(action, action.next)

    def _add_parallel(self, group: Parallel) -> None:
        if any(isinstance(step, Retriable) for step in group.steps):
            # The answer of a group is that of its first step.
            at_once = sfn.Parallel(self, state_name(group.name), output_path="$[0]")
            at_once.branch(*(self._action(step) for step in group.steps))
            self._append(at_once, at_once.next)
        else:
            self._add_compensatable_group(group, [step for step in group.steps if isinstance(step, Step)])

    def _add_compensatable_group(self, group: Parallel, steps: Sequence[Step]) -> None:
        undo = sfn.Parallel(self, state_name(undo_name(group)), output_path="$[0]")
        undo.branch(*(self._compensation(step) for step in steps))
        undo.next(self._undo)
        self._undo = undo
        names = [state_name(step.action) for step in steps]
        at_once = sfn.Parallel(
            self,
            state_name(group.name),
            # What the compensations need to say which of the steps failed, and why.
            result_selector={
                "members": {name: sfn.JsonPath.object_at(f"$[{index}]") for index, name in enumerate(names)}
            },
        )
        at_once.branch(*(self._member(step) for step in steps))
        failures = [sfn.Condition.boolean_equals(f"$.members.{name}.failed", value=True) for name in names]
        decision = sfn.Choice(self, state_name(complete_name(group))).when(sfn.Condition.or_(*failures), undo)
        at_once.next(decision)
        self._append(at_once, decision.otherwise, answer=f"$.members.{names[0]}.answer")

    def _member(self, step: Step) -> sfn.IChainable:
        """The action as a branch that never fails, so that no other branch is stopped while its call goes on."""
        action = self._action(step, also={"failed": False})
        note = sfn.Pass(
            self,
            state_name(failed_name(step)),
            # Not field by field: Amazon States Language promises an Error, but a Cause only as a rule.
            parameters={"failed": True, "caught": sfn.JsonPath.entire_payload},
        )
        action.add_catch(note, errors=[sfn.Errors.ALL])
        return action

    def _add_completion(self, completion: sfn.TaskStateBase | None) -> None:
        if completion is None:
            self._append(sfn.Succeed(self, "Completed", output_path=self._answer))
            return
        _retry(completion, self._compensation_retry)
        self._append(completion)

    def _action(self, step: Task, also: Mapping[str, object] | None = None) -> tasks.LambdaInvoke:
        action = self._invoke(
            step,
            step.action,
            payload={},
            result_selector={"answer": sfn.JsonPath.object_at("$.Payload"), **(also or {})},
        )
        patient = isinstance(step, Retriable)
        _retry(action, step.retry or (self._compensation_retry if patient else self._action_retry))
        return action

    def _compensation(self, step: Step) -> tasks.LambdaInvoke:
        return self._undoing(step, step.compensation)

    def _undoing(self, step: Task, function: str, also: Mapping[str, object] | None = None) -> tasks.LambdaInvoke:
        # Its input is the error just caught, the members of a group, or what the compensation before it answered.
        task = self._invoke(
            step,
            function,
            payload={"failure": sfn.JsonPath.entire_payload},
            result_selector={
                **{field: sfn.JsonPath.string_at(f"$.Payload.failure.{field}") for field in _FAILURE},
                **(also or {}),
            },
        )
        _retry(task, self._compensation_retry)
        return task

    def _invoke(
        self, step: Task, name: str, *, payload: Mapping[str, object], result_selector: Mapping[str, object]
    ) -> tasks.LambdaInvoke:
        function = self._functions[name]
        timeout = self._task_timeout if step.task_timeout is None else Duration.seconds(step.task_timeout)
        _require_longer(timeout, function, name)
        return tasks.LambdaInvoke(
            self,
            state_name(name),
            lambda_function=function,
            payload=sfn.TaskInput.from_object(
                {
                    "saga": {
                        "id": sfn.JsonPath.execution_id,
                        "started_at": sfn.JsonPath.execution_start_time,
                    },
                    "order": sfn.JsonPath.object_at("$$.Execution.Input"),
                    **payload,
                }
            ),
            result_selector=result_selector,
            task_timeout=sfn.Timeout.duration(timeout),
            # The retries are all ours: one place says how long each kind of state keeps trying.
            retry_on_service_exceptions=False,
        )


def _require_longer(task_timeout: Duration, function: lambda_.Function, name: str) -> None:
    # Else a call that is given up may still be at work, as a rule and not as the exception.
    if function.timeout is None or task_timeout.to_seconds() <= function.timeout.to_seconds():
        limit = "none" if function.timeout is None else f"{function.timeout.to_seconds():g} s"
        raise InvalidSagaError(
            f"the task timeout of {name} is {task_timeout.to_seconds():g} s, its function's {limit}: "
            "the function's must be the shorter one"
        )


def _retry(task: sfn.TaskStateBase, policy: RetryPolicy) -> None:
    """Never a business error, whose answer stays the same; anything else as the policy says."""
    task.add_retry(errors=list(BUSINESS_ERRORS), max_attempts=0)
    task.add_retry(
        errors=[sfn.Errors.ALL],
        interval=Duration.seconds(policy.interval),
        backoff_rate=policy.backoff_rate,
        max_delay=Duration.seconds(policy.max_delay),
        max_attempts=policy.max_attempts,
        jitter_strategy=sfn.JitterType.FULL,
    )
