"""The saga pattern as a construct: a list of steps becomes the states of a state machine.

Every action catches every error into its own compensation, because the outcome of a failed action may be unknown. From
there the compensations of all earlier steps run in reverse, and the execution ends in a Fail state. A compensation has
no Catch: when its retries are exhausted, the execution fails in that very state, and a redrive continues there.

The payloads come from the context object, never from the state's input, and name no field of the execution's input:
a missing path would fail the state with an error that no Catch catches.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from lambdas.saga_runtime.errors import BUSINESS_ERRORS, REJECTIONS
from lambdas.saga_runtime.names import state_name
from saga_stack.construct.stages import Stage
from saga_stack.construct.steps import (
    Callback,
    InvalidSagaError,
    Parallel,
    Pivot,
    Retriable,
    RetryPolicy,
    Step,
    StepOrGroup,
    Task,
    callback_of,
    committed_state,
    complete_state,
    failed_state,
    require_saga,
    undo_state,
)

# The last state of a saga without a write of its own at the end.
COMPLETED = "Completed"
_FAILURE = ("step", "error", "reason")
# Never retried: a retry would wait as long again.
_NO_ANSWER = (sfn.Errors.TIMEOUT, sfn.Errors.HEARTBEAT_TIMEOUT)

Connect: TypeAlias = Callable[[sfn.IChainable], object]


class SagaDefinition(Construct):
    """The states of a saga; ``start`` is the first. Raises InvalidSagaError.

    A compensation receives why it runs under ``failure``, and answers with ``{"failure": {"step", "error",
    "reason"}}``, which becomes the cause of the failed execution. A resolution also answers whether the pivot is
    ``committed``.

    Args:
        steps: the steps in order.
        functions: the function of each name in ``steps``.
        completion: a state that follows the last action. It comes after the point of no return: it is retried as a
            compensation is, never caught. Its input is ``{"answer": ...}``, the answer of the last action; after a
            compensatable group ``{"members": {STATE: {"answer": ...}}}``. Default: none; the output of the execution is
            that answer, of a group that of its first step.
        failed: the name of the Fail state, and its error.
        stage: timeouts and retry policies.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        steps: Sequence[StepOrGroup],
        functions: Mapping[str, lambda_.Function],
        completion: sfn.TaskStateBase | None,
        failed: str,
        stage: Stage,
    ) -> None:
        require_saga(steps, ends=(failed, completion.node.id if completion else COMPLETED))
        if failed in REJECTIONS:
            # A rolled-back saga would look like one that is stuck because a compensation was rejected.
            raise InvalidSagaError(f"{failed} is the name of an exception: give the Fail state another name")
        super().__init__(scope, id_)
        self._functions = functions
        self._stage = stage
        # The first state of the rollback so far; every step puts its compensation in front.
        self._rollback: sfn.IChainable = sfn.Fail(
            self,
            failed,
            error=failed,
            cause_path=sfn.JsonPath.format("{} failed: {}: {}", *(sfn.JsonPath.string_at(f"$.{f}") for f in _FAILURE)),
        )
        self._start: sfn.IChainable | None = None
        # What connects the states so far to the next one, and where their answer is in its input.
        self._ends: Sequence[Connect] = ()
        self._answer = "$.answer"

        for step in steps:
            match step:
                case Step():
                    self._add_step(step)
                case Pivot():
                    self._add_pivot(step)
                case Retriable():
                    self._add_retriable(step)
                case Parallel():
                    self._add_parallel(step)
        self._add_completion(completion)
        assert self._start is not None  # noqa: S101 (require_saga: there is a step)
        self.start: sfn.IChainable = self._start

    def _append(self, state: sfn.IChainable, *ends: Connect, answer: str = "$.answer") -> None:
        for connect in self._ends:
            connect(state)
        self._start = self._start or state
        self._ends = ends
        self._answer = answer

    def _add_step(self, step: Step) -> None:
        compensation = self._compensation(step, step.compensation)
        compensation.next(self._rollback)
        self._rollback = compensation
        action = self._action(step)
        action.add_catch(compensation, errors=[sfn.Errors.ALL])
        self._append(action, action.next)

    def _add_pivot(self, pivot: Pivot) -> None:
        decision = sfn.Choice(self, committed_state(pivot)).otherwise(self._rollback)
        resolution = self._compensation(pivot, pivot.resolution, also={"answer": sfn.JsonPath.object_at("$.Payload")})
        resolution.next(decision)
        action = self._action(pivot)
        action.add_catch(resolution, errors=[sfn.Errors.ALL])
        committed = sfn.Condition.boolean_equals("$.answer.committed", value=True)
        self._append(action, action.next, lambda following: decision.when(committed, following))

    def _add_retriable(self, step: Retriable) -> None:
        action = self._action(step)
        self._append(action, action.next)

    def _add_parallel(self, group: Parallel) -> None:
        if any(isinstance(step, Retriable) for step in group.steps):
            # The answer of a group is that of its first step.
            parallel = sfn.Parallel(self, state_name(group.name), output_path="$[0]")
            parallel.branch(*(self._action(step) for step in group.steps))
            self._append(parallel, parallel.next)
        else:
            self._add_compensatable_group(group, [step for step in group.steps if isinstance(step, Step)])

    def _add_compensatable_group(self, group: Parallel, steps: Sequence[Step]) -> None:
        undo = sfn.Parallel(self, undo_state(group), output_path="$[0]")
        undo.branch(*(self._compensation(step, step.compensation) for step in steps))
        undo.next(self._rollback)
        self._rollback = undo
        names = [state_name(step.action) for step in steps]
        parallel = sfn.Parallel(
            self,
            state_name(group.name),
            # What the compensations need to say which step failed, and why.
            result_selector={
                "members": {name: sfn.JsonPath.object_at(f"$[{index}]") for index, name in enumerate(names)}
            },
        )
        parallel.branch(*(self._member(step) for step in steps))
        failures = [sfn.Condition.boolean_equals(f"$.members.{name}.failed", value=True) for name in names]
        decision = sfn.Choice(self, complete_state(group)).when(sfn.Condition.or_(*failures), undo)
        parallel.next(decision)
        self._append(parallel, decision.otherwise, answer=f"$.members.{names[0]}.answer")

    def _member(self, step: Step) -> sfn.IChainable:
        """Make the action a branch that never fails: a failed branch would stop the others during their calls."""
        action = self._action(step, also={"failed": False})
        record = sfn.Pass(
            self,
            failed_state(step),
            # Not field by field: Amazon States Language does not promise a Cause.
            parameters={"failed": True, "caught": sfn.JsonPath.entire_payload},
        )
        action.add_catch(record, errors=[sfn.Errors.ALL])
        return action

    def _add_completion(self, completion: sfn.TaskStateBase | None) -> None:
        if completion is None:
            self._append(sfn.Succeed(self, COMPLETED, output_path=self._answer))
            return
        _retry(completion, self._stage.compensation_retry)
        self._append(completion)

    def _action(self, step: Task, also: Mapping[str, object] | None = None) -> tasks.LambdaInvoke:
        callback = callback_of(step)
        action = self._invoke(
            step,
            step.action,
            payload={"task_token": sfn.JsonPath.task_token} if callback else {},
            # The result of a task that waits is the answer itself.
            result_selector={
                "answer": sfn.JsonPath.entire_payload if callback else sfn.JsonPath.object_at("$.Payload"),
                **(also or {}),
            },
            callback=callback,
        )
        default = self._stage.compensation_retry if isinstance(step, Retriable) else self._stage.action_retry
        _retry(action, step.retry or default, never=(*REJECTIONS, *_NO_ANSWER) if callback else BUSINESS_ERRORS)
        return action

    def _compensation(self, step: Task, function: str, also: Mapping[str, object] | None = None) -> tasks.LambdaInvoke:
        # Its input is the caught error, the members of a group, or the answer of the compensation before it.
        compensation = self._invoke(
            step,
            function,
            payload={"failure": sfn.JsonPath.entire_payload},
            result_selector={
                **{field: sfn.JsonPath.string_at(f"$.Payload.failure.{field}") for field in _FAILURE},
                **(also or {}),
            },
        )
        _retry(compensation, self._stage.compensation_retry)
        return compensation

    def _invoke(
        self,
        step: Task,
        name: str,
        *,
        payload: Mapping[str, object],
        result_selector: Mapping[str, object],
        callback: Callback | None = None,
    ) -> tasks.LambdaInvoke:
        timeout = Duration.seconds(step.task_timeout or self._stage.task_timeout)
        heartbeat = None
        if callback:
            timeout = _seconds(callback.timeout)
            heartbeat = sfn.Timeout.duration(_seconds(callback.heartbeat)) if callback.heartbeat else None
        # The function must end before the task, and before the first sign of life is due.
        _require_longer(_seconds(callback.shortest) if callback else timeout, self._functions[name], name)
        return tasks.LambdaInvoke(
            self,
            state_name(name),
            lambda_function=self._functions[name],
            payload=sfn.TaskInput.from_object(
                {
                    "saga": {
                        "id": sfn.JsonPath.execution_id,
                        "started_at": sfn.JsonPath.execution_start_time,
                    },
                    "input": sfn.JsonPath.object_at("$$.Execution.Input"),
                    **payload,
                }
            ),
            result_selector=result_selector,
            integration_pattern=(
                sfn.IntegrationPattern.WAIT_FOR_TASK_TOKEN if callback else sfn.IntegrationPattern.REQUEST_RESPONSE
            ),
            task_timeout=sfn.Timeout.duration(timeout),
            heartbeat_timeout=heartbeat,
            # All retries are those of the policies, so one place says how long a state keeps trying.
            retry_on_service_exceptions=False,
        )


def _seconds(time: timedelta) -> Duration:
    return Duration.seconds(int(time.total_seconds()))


def _require_longer(task_timeout: Duration, function: lambda_.Function, name: str) -> None:
    # Otherwise a call that timed out would usually still be running.
    if function.timeout is None or task_timeout.to_seconds() <= function.timeout.to_seconds():
        limit = "none" if function.timeout is None else f"{function.timeout.to_seconds():g} s"
        raise InvalidSagaError(
            f"the task timeout of {name} is {task_timeout.to_seconds():g} s, its function's is {limit}: "
            "make the function's shorter"
        )


def _retry(task: sfn.TaskStateBase, policy: RetryPolicy, *, never: Sequence[str] = BUSINESS_ERRORS) -> None:
    """Never retry a business error; retry all other errors as the policy says."""
    task.add_retry(errors=list(never), max_attempts=0)
    task.add_retry(
        errors=[sfn.Errors.ALL],
        interval=Duration.seconds(policy.interval),
        backoff_rate=policy.backoff_rate,
        max_delay=Duration.seconds(policy.max_delay),
        max_attempts=policy.max_attempts,
        jitter_strategy=sfn.JitterType.FULL,
    )
