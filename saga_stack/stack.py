"""The stack, read top down: a table, six functions, the saga over them, and the watch on its outcome."""

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from saga_stack import fulfilment
from saga_stack.functions import SagaFunctions
from saga_stack.monitoring import StuckSagas
from saga_stack.saga import Saga
from saga_stack.settings import Settings
from saga_stack.state_machine import SagaStateMachine
from saga_stack.table import SagaTable


class OrderSagaStack(Stack):
    """The order saga of one stage. Its outputs are what clients need to know."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings) -> None:
        super().__init__(scope, id_, description="Fulfils an order as a saga: create, pay, ship, or undo it all")
        task_timeout = Duration.seconds(settings.task_timeout)

        table = SagaTable(self, "Table", removal_policy=settings.removal_policy)
        functions = SagaFunctions(
            self,
            "Functions",
            names=[name for step in fulfilment.STEPS for name in (step.action, step.compensation)],
            table=table,
            timeout=Duration.seconds(settings.function_timeout),
            log_retention=settings.log_retention,
            removal_policy=settings.removal_policy,
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
        state_machine = SagaStateMachine(
            self,
            "OrderFulfilment",
            name=f"{self.stack_name}-OrderFulfilment",
            definition=saga.start,
            functions=functions.by_name.values(),
            table=table,
            log_retention=settings.log_retention,
            removal_policy=settings.removal_policy,
        ).state_machine
        stuck = StuckSagas(self, "StuckSagas", state_machine=state_machine, failed=fulfilment.FAILED)

        CfnOutput(self, "StateMachineArn", value=state_machine.state_machine_arn)
        CfnOutput(self, "TableName", value=table.table_name)
        CfnOutput(self, "StuckSagasQueueUrl", value=stuck.queue.queue_url)
