"""The stack, read top down: a table, the functions, the saga over them, and the watch on its outcome."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack import fulfilment, packaging
from saga_stack.encryption import EncryptionKey
from saga_stack.functions import SagaFunctions
from saga_stack.monitoring import Monitoring
from saga_stack.saga import Saga
from saga_stack.settings import Settings
from saga_stack.state_machine import SagaStateMachine
from saga_stack.steps import Part, functions_of, require_saga, tasks_of
from saga_stack.storage import Storage
from saga_stack.stuck_sagas import StuckSagas
from saga_stack.table import SagaTable


class Completion(Protocol):
    """Makes the state that completes a saga by a write of its own to the table."""

    def __call__(self, scope: Construct, *, table: dynamodb.ITable, timeout: sfn.Timeout) -> sfn.TaskStateBase:
        """Make it under ``scope``."""
        ...


class SagaStack(Stack):
    """A saga of one stage. Its outputs are what clients need to know. Raises InvalidSagaError.

    ``state_machine`` is how the name of the state machine ends, ``partition_key`` the field of the input that the
    table is keyed by, ``failed`` the Fail state and its error. ``completion`` is for a saga whose last write is a
    state. ``packages`` are folders with functions beside ``lambdas``, and ``handler`` says where in the asset a
    function is, ``{}`` standing for its name. ``environment`` is what the functions are told, such as the URL of a
    service that they call; it is no place for a secret. ``functions`` has them by name, to be granted more.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        description: str,
        steps: Sequence[Part],
        state_machine: str,
        partition_key: str,
        failed: str,
        completion: Completion | None = None,
        packages: Sequence[str] = (),
        handler: str = "lambdas.{}.handler",
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        require_saga(steps)
        super().__init__(scope, id_, description=description, termination_protection=settings.protected)
        task_timeout = Duration.seconds(settings.task_timeout)
        code = packaging.code(*packages)

        key = None
        if settings.customer_managed_key:
            key = EncryptionKey(self, "Encryption", removal_policy=settings.removal_policy).key
        storage = Storage(removal_policy=settings.removal_policy, log_retention=settings.log_retention, key=key)
        table = SagaTable(self, "Table", partition_key=partition_key, protected=settings.protected, storage=storage)
        functions = SagaFunctions(
            self,
            "Functions",
            timeouts={
                name: Duration.seconds(step.function_timeout or settings.function_timeout)
                for step in tasks_of(steps)
                for name in functions_of(step)
            },
            environment=environment,
            handler=handler,
            code=code,
            table=table,
            storage=storage,
        )
        self.functions: Mapping[str, lambda_.Function] = functions.by_name
        saga = Saga(
            self,
            "Saga",
            steps=steps,
            functions=functions.by_name,
            completion=completion(self, table=table, timeout=sfn.Timeout.duration(task_timeout))
            if completion
            else None,
            failed=failed,
            task_timeout=task_timeout,
            action_retry=settings.action_retry,
            compensation_retry=settings.compensation_retry,
        )
        state_machine_name = f"{self.stack_name}-{state_machine}"
        machine = SagaStateMachine(
            self,
            state_machine,
            name=state_machine_name,
            definition=saga.start,
            functions=functions.by_name.values(),
            table=table if completion else None,
            storage=storage,
        ).state_machine
        stuck = StuckSagas(
            self,
            "StuckSagas",
            state_machine=machine,
            state_machine_name=state_machine_name,
            failed=failed,
            code=code,
            storage=storage,
        )
        Monitoring(
            self,
            "Monitoring",
            steps=steps,
            functions=functions.by_name,
            state_machine=machine,
            table=table,
            stuck=stuck,
            slow_after=Duration.seconds(settings.slow_after),
            alert_email=settings.alert_email,
            key=key,
        )

        CfnOutput(self, "StateMachineArn", value=machine.state_machine_arn)
        CfnOutput(self, "TableName", value=table.table_name)
        CfnOutput(self, "StuckSagasQueueUrl", value=stuck.queue.queue_url)


class OrderSagaStack(SagaStack):
    """The order saga of one stage."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            id_,
            settings=settings,
            description="Fulfils an order as a saga: create, pay, ship, or undo it all",
            steps=fulfilment.STEPS,
            state_machine="OrderFulfilment",
            partition_key="order_id",
            failed=fulfilment.FAILED,
            completion=fulfilment.confirm_order,
        )
