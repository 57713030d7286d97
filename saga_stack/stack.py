"""The stack, read top down: a table, six functions, the saga over them, and the watch on its outcome."""

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack import fulfilment, packaging
from saga_stack.encryption import EncryptionKey
from saga_stack.functions import SagaFunctions
from saga_stack.monitoring import Monitoring
from saga_stack.saga import Saga
from saga_stack.settings import Settings
from saga_stack.state_machine import SagaStateMachine
from saga_stack.stuck_sagas import StuckSagas
from saga_stack.table import SagaTable


class OrderSagaStack(Stack):
    """The order saga of one stage. Its outputs are what clients need to know."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(
            scope,
            id_,
            description="Fulfils an order as a saga: create, pay, ship, or undo it all",
            termination_protection=settings.protected,
        )
        removal_policy, log_retention = settings.removal_policy, settings.log_retention
        task_timeout = Duration.seconds(settings.task_timeout)
        code = packaging.code()

        key = None
        if settings.customer_managed_key:
            key = EncryptionKey(self, "Encryption", removal_policy=removal_policy).key
        table = SagaTable(self, "Table", removal_policy=removal_policy, protected=settings.protected, key=key)
        functions = SagaFunctions(
            self,
            "Functions",
            names=[name for step in fulfilment.STEPS for name in (step.action, step.compensation)],
            code=code,
            table=table,
            timeout=Duration.seconds(settings.function_timeout),
            log_retention=log_retention,
            removal_policy=removal_policy,
            key=key,
        )
        saga = Saga(
            self,
            "Saga",
            steps=fulfilment.STEPS,
            functions=functions.by_name,
            completion=fulfilment.confirm_order(self, table=table, timeout=sfn.Timeout.duration(task_timeout)),
            failed=fulfilment.FAILED,
            task_timeout=task_timeout,
            action_retry=settings.action_retry,
            compensation_retry=settings.compensation_retry,
        )
        state_machine_name = f"{self.stack_name}-OrderFulfilment"
        state_machine = SagaStateMachine(
            self,
            "OrderFulfilment",
            name=state_machine_name,
            definition=saga.start,
            functions=functions.by_name.values(),
            table=table,
            log_retention=log_retention,
            removal_policy=removal_policy,
            key=key,
        ).state_machine
        stuck = StuckSagas(
            self,
            "StuckSagas",
            state_machine=state_machine,
            state_machine_name=state_machine_name,
            failed=fulfilment.FAILED,
            code=code,
            log_retention=log_retention,
            removal_policy=removal_policy,
            key=key,
        )
        Monitoring(
            self,
            "Monitoring",
            steps=fulfilment.STEPS,
            functions=functions.by_name,
            state_machine=state_machine,
            table=table,
            stuck=stuck,
            slow_after=Duration.seconds(settings.slow_after),
            alert_email=settings.alert_email,
            key=key,
        )

        CfnOutput(self, "StateMachineArn", value=state_machine.state_machine_arn)
        CfnOutput(self, "TableName", value=table.table_name)
        CfnOutput(self, "StuckSagasQueueUrl", value=stuck.queue.queue_url)
