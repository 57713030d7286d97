"""The CDK app of the plain saga: the stack ``OrderSaga-plain``, with the outputs that local/deployment.py asks for."""

from pathlib import Path

from aws_cdk import App, CfnOutput, Duration, RemovalPolicy, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import aws_stepfunctions_tasks as tasks
from constructs import Construct

from saga_stack.fulfilment import FAILED, STEPS
from saga_stack.steps import state_name

STAGE = "plain"


class PlainSagaStack(Stack):
    """The same steps as the real saga, with what a first version leaves out left out."""

    def __init__(self, scope: Construct, id_: str) -> None:
        super().__init__(scope, id_)
        self._table = dynamodb.Table(
            self,
            "Table",
            partition_key=dynamodb.Attribute(name="order_id", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="entity", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self._code = lambda_.Code.from_asset(str(Path(__file__).parent), exclude=["*", "!functions.py"])
        machine = sfn.StateMachine(
            self,
            "OrderFulfilment",
            state_machine_name=f"{self.stack_name}-OrderFulfilment",
            definition_body=sfn.DefinitionBody.from_chainable(self._definition()),
        )
        CfnOutput(self, "StateMachineArn", value=machine.state_machine_arn)
        CfnOutput(self, "TableName", value=self._table.table_name)
        CfnOutput(self, "StuckSagasQueueUrl", value="none")

    def _definition(self) -> sfn.IChainable:
        undo: sfn.IChainable = sfn.Fail(self, FAILED, error=FAILED)
        actions: list[tasks.LambdaInvoke] = []
        for step in STEPS:
            compensation = self._task(step.compensation)
            compensation.next(undo)
            undo = compensation
            action = self._task(step.action)
            action.add_catch(compensation, result_path="$.error")
            actions.append(action)
        chain = sfn.Chain.start(actions[0])
        for action in actions[1:]:
            chain = chain.next(action)
        return chain

    def _task(self, name: str) -> tasks.LambdaInvoke:
        function = lambda_.Function(
            self,
            name,
            function_name=f"{self.stack_name}-{name}",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            code=self._code,
            handler=f"functions.{name}",
            memory_size=256,
            timeout=Duration.seconds(10),
            environment={"TABLE_NAME": self._table.table_name},
        )
        self._table.grant_write_data(function)
        return tasks.LambdaInvoke(
            self,
            state_name(name),
            lambda_function=function,
            # The order goes from state to state; the answers are not looked at.
            result_path=sfn.JsonPath.DISCARD,
            retry_on_service_exceptions=False,
        )


if __name__ == "__main__":
    app = App()
    PlainSagaStack(app, f"OrderSaga-{STAGE}")
    app.synth()
