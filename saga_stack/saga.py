"""The saga pattern as a construct: a list of steps becomes a state machine. It knows nothing of orders.

Every action catches every error into its own compensation, because the outcome of a failed action may be
unknown; from there the compensations of all steps before it run in reverse, and the execution ends in a Fail
state. A compensation has no Catch: exhausted, the execution fails in that very state, and RedriveExecution
continues right there.

What the functions receive is taken from the context object, never from the state's input, and no field of
the execution's input is named: a path that is missing would fail the state in a way that no Catch catches.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from lambdas.shared.errors import BUSINESS_ERRORS
from saga_stack.settings import RetryPolicy


@dataclass(frozen=True, kw_only=True)
class Step:
    """A compensatable step, by the names of its two functions: ``book_room`` becomes the state BookRoom."""

    action: str
    compensation: str


class Saga(Construct):
    """The chain of states for ``steps``; ``start`` is its first state.

    ``functions`` holds the function of every name in the steps. ``completion`` follows the last action; it
    is past the point of no return, so it is retried like a compensation and never caught. Its input is
    ``{"answer": ...}``, what the last action answered. ``failed`` names the Fail state and its error.

    A compensation is told why it runs under ``failure``, and answers with ``{"failure": {"step", "error",
    "reason"}}``; the three make the cause that the execution fails with.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        steps: Sequence[Step],
        functions: Mapping[str, lambda_.IFunction],
        completion: sfn.TaskStateBase,
        failed: str,
        task_timeout: Duration,
        action_retry: RetryPolicy,
        compensation_retry: RetryPolicy,
    ) -> None:
        super().__init__(scope, id_)
        self._functions = functions
        self._timeout = sfn.Timeout.duration(task_timeout)

        undo: sfn.IChainable = sfn.Fail(
            self,
            failed,
            error=failed,
            cause_path=sfn.JsonPath.format(
                "{} failed: {}: {}",
                *(sfn.JsonPath.string_at(f"$.{field}") for field in ("step", "error", "reason")),
            ),
        )
        actions: list[tasks.LambdaInvoke] = []
        for step in steps:
            compensation = self._compensation(step.compensation)
            _retry(compensation, compensation_retry)
            compensation.next(undo)
            undo = compensation

            action = self._action(step.action)
            _retry(action, action_retry)
            action.add_catch(compensation, errors=[sfn.Errors.ALL])
            actions.append(action)

        _retry(completion, compensation_retry)
        chain = sfn.Chain.start(actions[0])
        for state in (*actions[1:], completion):
            chain = chain.next(state)
        self.start: sfn.IChainable = chain

    def _action(self, function: str) -> tasks.LambdaInvoke:
        return self._invoke(
            function,
            payload={},
            result_selector={"answer": sfn.JsonPath.object_at("$.Payload")},
        )

    def _compensation(self, function: str) -> tasks.LambdaInvoke:
        # Its input is either the error just caught or what the compensation before it answered: nothing else.
        return self._invoke(
            function,
            payload={"failure": sfn.JsonPath.entire_payload},
            result_selector={
                field: sfn.JsonPath.string_at(f"$.Payload.failure.{field}") for field in ("step", "error", "reason")
            },
        )

    def _invoke(
        self, function: str, *, payload: Mapping[str, object], result_selector: Mapping[str, object]
    ) -> tasks.LambdaInvoke:
        return tasks.LambdaInvoke(
            self,
            state_name(function),
            lambda_function=self._functions[function],
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
            task_timeout=self._timeout,
            # The retries are all ours: one place says how long each kind of state keeps trying.
            retry_on_service_exceptions=False,
        )


def state_name(function: str) -> str:
    """``create_order`` -> ``CreateOrder``."""
    return "".join(word.capitalize() for word in function.split("_"))


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
