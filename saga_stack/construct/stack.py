"""The stack of a saga, read top down: table, functions, state machine, stuck sagas, API, events, monitoring."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from lambdas.saga_runtime.names import state_name
from saga_stack.construct import packaging
from saga_stack.construct.api import LOG_PREFIX, SagaApi, variables_of
from saga_stack.construct.automatic_redrives import AutomaticRedrives
from saga_stack.construct.definition import SagaDefinition
from saga_stack.construct.edges import ApiSettings, EventSettings, require_first_step
from saga_stack.construct.encryption import EncryptionKey
from saga_stack.construct.functions import SagaFunctions, allow_to_end_tasks, allow_to_read
from saga_stack.construct.monitoring import Monitoring
from saga_stack.construct.names import require_names
from saga_stack.construct.outcome_events import ExampleSubscriber, OutcomeEvents
from saga_stack.construct.saga import Saga
from saga_stack.construct.secrets import FunctionSecret
from saga_stack.construct.stages import Stage
from saga_stack.construct.state_machine import SagaStateMachine
from saga_stack.construct.steps import (
    InvalidSagaError,
    StepOrGroup,
    answered_within,
    callback_of,
    function_seconds,
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
        if api or events:
            require_first_step(steps)
        super().__init__(scope, id_, description=description, termination_protection=stage.protected)
        timeouts = {
            name: Duration.seconds(function_seconds(step, stage.function_timeout))
            for step in single_steps(steps)
            for name in functions_of(step)
        } | ({receiver: RECEIVER_TIMEOUT} if receiver else {})
        require_names(
            self.stack_name,
            state_machine=state_machine,
            functions=list(timeouts),
            secrets=secrets,
            others=api.functions if api else (),
        )
        self.steps = steps
        self.source = packaging.source_of(packages, root)
        self.settings = environment
        self.handlers: Mapping[str, str] = {name: handler.format(name) for name in timeouts}
        if api:
            self.settings = {**environment, **variables_of(steps, machine="any", failed=failed)}
            self.handlers = {**self.handlers, **{name: api.handler.format(name) for name in api.functions}}

        self._stage = stage
        self._failed = failed
        self._code = packaging.code(self.source)
        self._key = self._encryption_key((LOG_PREFIX,) if api else ()) if stage.customer_managed_key else None
        self._table = SagaTable(
            self, "Table", partition_key=partition_key, stage=stage, key=self._key, has_stream=events is not None
        )
        self.functions: Mapping[str, lambda_.Function] = SagaFunctions(
            self,
            "Functions",
            timeouts=timeouts,
            environment=environment,
            handler=handler,
            code=self._code,
            table=self._table,
            stage=stage,
            key=self._key,
        ).by_name
        self._add_secrets(secrets)
        answers = self.functions[receiver] if receiver else None
        if answers:
            self._allow_answers(answers)
        self._state_machine_name = f"{self.stack_name}-{state_machine}"
        machine_and_log = self._state_machine(state_machine, completion, receiver)
        machine = machine_and_log.state_machine
        stuck = StuckSagas(
            self,
            "StuckSagas",
            state_machine=machine,
            state_machine_name=self._state_machine_name,
            key_field=partition_key,
            failed=failed,
            sensitive_fields=sensitive_fields,
            code=self._code,
            stage=stage,
        )
        Monitoring(
            self,
            "Monitoring",
            stage=stage,
            steps=steps,
            functions=self.functions,
            receiver=receiver,
            state_machine=machine,
            log=machine_and_log.log,
            table=self._table,
            stuck=stuck,
            redrives=self._redrives(stuck) if stage.automatic_redrives else None,
            api=self._api(api, machine, answers) if api else None,
            outcomes=self._outcomes(events, partition_key, stuck) if events else None,
        )
        CfnOutput(self, "StateMachineArn", value=machine.state_machine_arn)
        CfnOutput(self, "TableName", value=self._table.table_name)
        CfnOutput(self, "StuckSagasQueueUrl", value=stuck.queue.queue_url)
        CfnOutput(self, "StuckSagasTableName", value=stuck.table.table_name)

    def _encryption_key(self, log_prefixes: Sequence[str]) -> kms.IKey:
        policy = self._stage.removal_policy
        return EncryptionKey(self, "Encryption", removal_policy=policy, log_prefixes=log_prefixes).key

    def _add_secrets(self, secrets: Mapping[str, Sequence[str]]) -> None:
        for variable, names in secrets.items():
            FunctionSecret(
                self,
                state_name(variable),
                variable=variable,
                readers=[self._reader(name, variable) for name in names],
                key=self._key,
                removal_policy=self._stage.removal_policy,
            )

    def _reader(self, name: str, variable: str) -> lambda_.Function:
        if name not in self.functions:
            raise InvalidSagaError(f"secrets has {variable} for {name}, which is not a function: name one of the steps")
        return self.functions[name]

    def _allow_answers(self, receiver: lambda_.Function) -> None:
        allow_to_read(receiver, self._table)
        allow_to_end_tasks(receiver, "Success", "Failure", "Heartbeat")
        # An action that is redriven finds its answer in the row, and completes its own task.
        for step in single_steps(self.steps):
            if callback_of(step):
                allow_to_end_tasks(self.functions[step.action], "Success")
        CfnOutput(self, "ReceiverName", value=receiver.function_name)

    def _state_machine(self, id_: str, completion: Completion | None, receiver: str | None) -> SagaStateMachine:
        timeout = sfn.Timeout.duration(Duration.seconds(self._stage.task_timeout))
        definition = SagaDefinition(
            self,
            "Saga",
            steps=self.steps,
            functions=self.functions,
            completion=completion(self, table=self._table, timeout=timeout) if completion else None,
            failed=self._failed,
            stage=self._stage,
        )
        return SagaStateMachine(
            self,
            id_,
            name=self._state_machine_name,
            definition=definition.start,
            functions=[function for name, function in self.functions.items() if name != receiver],
            table=self._table if completion else None,
            stage=self._stage,
            key=self._key,
        )

    def _redrives(self, stuck: StuckSagas) -> AutomaticRedrives:
        return AutomaticRedrives(
            self,
            "AutomaticRedrives",
            stuck=stuck,
            state_machine_name=self._state_machine_name,
            failed=self._failed,
            code=self._code,
            stage=self._stage,
        )

    def _api(self, settings: ApiSettings, machine: sfn.StateMachine, receiver: lambda_.Function | None) -> SagaApi:
        return SagaApi(
            self,
            "Api",
            settings=settings,
            steps=self.steps,
            state_machine=machine,
            state_machine_name=self._state_machine_name,
            failed=self._failed,
            table=self._table,
            code=self._code,
            stage=self._stage,
            receiver=receiver,
            key=self._key,
        )

    def _outcomes(self, settings: EventSettings, partition_key: str, stuck: StuckSagas) -> OutcomeEvents:
        outcomes = OutcomeEvents(
            self,
            "Outcomes",
            settings=settings,
            partition_key=partition_key,
            table=self._table,
            stuck=stuck,
            code=self._code,
            stage=self._stage,
            key=self._key,
        )
        ExampleSubscriber(self, "ExampleSubscriber", bus=outcomes.bus)
        return outcomes


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
            api=saga.api,
            events=saga.events,
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
