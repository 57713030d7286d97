"""The stack of a saga, read top down: table, functions, state machine, stuck sagas, API, events, monitoring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from lambdas.saga_runtime.names import state_name
from saga_stack.construct import packaging
from saga_stack.construct.api import LOG_PREFIX, ApiSettings, SagaApi
from saga_stack.construct.automatic_redrives import AutomaticRedrives
from saga_stack.construct.definition import SagaDefinition
from saga_stack.construct.encryption import EncryptionKey
from saga_stack.construct.functions import SagaFunctions, allow_to_end_tasks, allow_to_read
from saga_stack.construct.monitoring import Monitoring
from saga_stack.construct.names import require_names
from saga_stack.construct.outcome_events import EventSettings, ExampleSubscriber, OutcomeEvents
from saga_stack.construct.saga import Saga
from saga_stack.construct.secrets import FunctionSecret
from saga_stack.construct.stages import Stage
from saga_stack.construct.state_machine import SagaStateMachine
from saga_stack.construct.steps import (
    InvalidSagaError,
    StepOrGroup,
    answered_within,
    callback_of,
    functions_of,
    require_saga,
    single_steps,
)
from saga_stack.construct.stuck_sagas import StuckSagas
from saga_stack.construct.table import SagaTable

# The function that receives answers makes up to six requests: it reads its secret, reads the row, writes it, reads it
# again, and ends the task by the newest token and the one before. Each ends within 7 s (CLIENT_CONFIG).
RECEIVER_TIMEOUT = Duration.seconds(60)


class Completion(Protocol):
    """Makes the state that completes a saga by a write of its own to the table."""

    def __call__(self, scope: Construct, *, table: dynamodb.ITable, timeout: sfn.Timeout) -> sfn.TaskStateBase:
        """Make the state under ``scope``."""
        ...


class SagaStack(Stack):
    """A saga of one stage. Raises InvalidSagaError.

    Its outputs are StateMachineArn, TableName, StuckSagasQueueUrl and StuckSagasTableName, and ReceiverName if a step
    waits.

    ``functions`` has the functions by name, to grant them more permissions. ``steps``, ``handlers``, ``source`` and
    ``settings`` are what they are made of, for checks.

    Args:
        stage: timeouts, retry policies and what differs from stage to stage.
        description: the description of the stack.
        steps: the steps in order.
        state_machine: the end of the state machine's name, after the name of the stack.
        partition_key: the partition key of the table: the field that identifies an input.
        failed: the name of the Fail state, and its error.
        sensitive_fields: fields of the input that never appear in a report of a stuck saga. Default: none.
        completion: makes a state that completes the saga by a write to the table. Default: none.
        packages: folders that are packed with ``lambdas`` into the asset. Default: none.
        root: the folder that ``packages`` are in. Default: that of the library.
        handler: the path of a function in the asset, with ``{}`` for its name. Default: ``lambdas.{}.handler``.
        environment: further environment variables of the functions, such as the URL of a provider. Not for secrets.
            Default: none.
        secrets: environment variables with the ARNs of secrets that the stack makes, each with the names of the
            functions that may read it. Default: none.
        receiver: the name of the function that receives the answers to the steps that wait; ``functions`` has it too.
            Default: none, no step waits.
        api: adds the HTTP API. Default: none.
        events: adds the event bus with the outcomes, and an example of a subscriber. Default: none.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        stage: Stage,
        description: str,
        steps: Sequence[StepOrGroup],
        state_machine: str,
        partition_key: str,
        failed: str,
        sensitive_fields: Sequence[str] = (),
        completion: Completion | None = None,
        packages: Sequence[str] = (),
        root: Path | None = None,
        handler: str = "lambdas.{}.handler",
        environment: Mapping[str, str] = MappingProxyType({}),
        secrets: Mapping[str, Sequence[str]] = MappingProxyType({}),
        receiver: str | None = None,
        api: ApiSettings | None = None,
        events: EventSettings | None = None,
    ) -> None:
        require_saga(steps)
        _require_receiver(steps, receiver)
        super().__init__(scope, id_, description=description, termination_protection=stage.protected)
        self.steps = steps
        self.settings = environment
        self.source = packaging.source_of(packages, root)
        all_names = [name for step in single_steps(steps) for name in functions_of(step)]
        if receiver:
            all_names.append(receiver)
        require_names(
            self.stack_name,
            state_machine=state_machine,
            functions=all_names,
            secrets=secrets,
            others=(api.start, api.outcome, api.cancel) if api else (),
        )
        self.handlers: Mapping[str, str] = {name: handler.format(name) for name in all_names}
        code = packaging.code(self.source)

        key = None
        if stage.customer_managed_key:
            logs = (LOG_PREFIX,) if api else ()
            key = EncryptionKey(self, "Encryption", removal_policy=stage.removal_policy, log_prefixes=logs).key
        table = SagaTable(
            self, "Table", partition_key=partition_key, stage=stage, key=key, has_stream=events is not None
        )
        functions = SagaFunctions(
            self,
            "Functions",
            timeouts={
                name: Duration.seconds(step.function_timeout or stage.function_timeout)
                for step in single_steps(steps)
                for name in functions_of(step)
            }
            | ({receiver: RECEIVER_TIMEOUT} if receiver else {}),
            environment=environment,
            handler=handler,
            code=code,
            table=table,
            stage=stage,
            key=key,
        )
        self.functions: Mapping[str, lambda_.Function] = functions.by_name
        for variable, names in secrets.items():
            readers = [self._reader(name, variable) for name in names]
            FunctionSecret(
                self,
                state_name(variable),
                variable=variable,
                readers=readers,
                key=key,
                removal_policy=stage.removal_policy,
            )
        timeout = sfn.Timeout.duration(Duration.seconds(stage.task_timeout))
        definition = SagaDefinition(
            self,
            "Saga",
            steps=steps,
            functions=functions.by_name,
            completion=completion(self, table=table, timeout=timeout) if completion else None,
            failed=failed,
            stage=stage,
        )
        state_machine_name = f"{self.stack_name}-{state_machine}"
        if receiver:
            self._allow_answers(self.functions[receiver], table)
        machine = SagaStateMachine(
            self,
            state_machine,
            name=state_machine_name,
            definition=definition.start,
            functions=[function for name, function in functions.by_name.items() if name != receiver],
            table=table if completion else None,
            stage=stage,
            key=key,
        ).state_machine
        stuck = StuckSagas(
            self,
            "StuckSagas",
            state_machine=machine,
            state_machine_name=state_machine_name,
            key_field=partition_key,
            failed=failed,
            sensitive_fields=sensitive_fields,
            code=code,
            stage=stage,
        )
        redrives = None
        if stage.automatic_redrives:
            redrives = AutomaticRedrives(
                self,
                "AutomaticRedrives",
                stuck=stuck,
                state_machine_name=state_machine_name,
                failed=failed,
                code=code,
                stage=stage,
            )
        saga_api = outcomes = None
        if api:
            saga_api = SagaApi(
                self,
                "Api",
                settings=api,
                steps=steps,
                state_machine=machine,
                state_machine_name=state_machine_name,
                failed=failed,
                table=table,
                code=code,
                stage=stage,
                receiver=self.functions[receiver] if receiver else None,
                key=key,
            )
        if events:
            outcomes = OutcomeEvents(
                self,
                "Outcomes",
                settings=events,
                partition_key=partition_key,
                table=table,
                stuck=stuck,
                code=code,
                stage=stage,
                key=key,
            )
            ExampleSubscriber(self, "ExampleSubscriber", bus=outcomes.bus)
        Monitoring(
            self,
            "Monitoring",
            stage=stage,
            steps=steps,
            functions=functions.by_name,
            receiver=receiver,
            state_machine=machine,
            table=table,
            stuck=stuck,
            redrives=redrives,
            api=saga_api,
            outcomes=outcomes,
        )

        CfnOutput(self, "StateMachineArn", value=machine.state_machine_arn)
        CfnOutput(self, "TableName", value=table.table_name)
        CfnOutput(self, "StuckSagasQueueUrl", value=stuck.queue.queue_url)
        CfnOutput(self, "StuckSagasTableName", value=stuck.table.table_name)

    def _allow_answers(self, receiver: lambda_.Function, table: dynamodb.ITable) -> None:
        allow_to_read(receiver, table)
        allow_to_end_tasks(receiver, "Success", "Failure", "Heartbeat")
        # An action that is redriven finds its answer in the row, and completes its own task.
        for step in single_steps(self.steps):
            if callback_of(step):
                allow_to_end_tasks(self.functions[step.action], "Success")
        CfnOutput(self, "ReceiverName", value=receiver.function_name)

    def _reader(self, name: str, variable: str) -> lambda_.Function:
        if name not in self.functions:
            raise InvalidSagaError(f"secrets has {variable} for {name}, which is not a function: name one of the steps")
        return self.functions[name]


class FolderSagaStack(SagaStack):
    """The stack of a saga in a folder of its own.

    Args:
        stage: timeouts, retry policies and what differs from stage to stage.
        saga: the saga.
    """

    def __init__(self, scope: Construct, id_: str, *, stage: Stage, saga: Saga) -> None:
        context = scope.node.try_get_context
        super().__init__(
            scope,
            id_,
            stage=stage,
            description=saga.description,
            steps=answered_within(saga.steps, context("answer_within")),
            state_machine=saga.state_machine,
            partition_key=saga.schema.key,
            failed=saga.failed,
            sensitive_fields=saga.schema.sensitive,
            packages=(saga.functions,),
            root=saga.root,
            handler=saga.handler,
            environment={name: context(name.lower()) or default for name, default in saga.settings.items()},
            secrets=saga.secrets,
            receiver=saga.receiver,
        )


def _require_receiver(steps: Sequence[StepOrGroup], receiver: str | None) -> None:
    """Raise InvalidSagaError unless the saga has a function for answers if and only if one of its steps waits."""
    waiting = [step.action for step in single_steps(steps) if callback_of(step)]
    if waiting and receiver is None:
        raise InvalidSagaError(f"{waiting[0]} waits for an answer: name the function that receives it (receiver=)")
    if receiver is not None and not waiting:
        raise InvalidSagaError(f"no step waits for the answers that {receiver} receives: remove receiver=")
    if receiver in {name for step in single_steps(steps) for name in functions_of(step)}:
        raise InvalidSagaError(f"{receiver} is also the function of a step: give the receiver a name of its own")
