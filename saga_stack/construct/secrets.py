"""The secrets that functions read, such as the API key of a provider."""

from collections.abc import Sequence

from aws_cdk import CfnOutput, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from lambdas.saga_runtime.names import secret_output
from saga_stack.construct.encryption import allow_key_for_secret
from saga_stack.construct.functions import role_of
from saga_stack.construct.nag import acknowledge


class FunctionSecret(Construct):
    """A secret that these functions may read, and no others (lambdas/saga_runtime/own_secrets.py).

    Its first value is random, until the real one is put. The output ``<Variable>Arn`` names it.

    Args:
        variable: the environment variable that receives its ARN, such as ``PROVIDER_KEY``.
        readers: the functions.
        key: the key that encrypts it; None for the one that AWS manages.
        removal_policy: what happens to it when the stack is deleted.
    """

    def __init__(
        self,
        scope: Construct,
        id_: str,
        *,
        variable: str,
        readers: Sequence[lambda_.Function],
        key: kms.IKey | None,
        removal_policy: RemovalPolicy,
    ) -> None:
        super().__init__(scope, id_)
        secret = secretsmanager.Secret(
            self,
            "Secret",
            description=f"{variable} of {Stack.of(self).stack_name}",
            encryption_key=key,
            removal_policy=removal_policy,
            generate_secret_string=secretsmanager.SecretStringGenerator(exclude_punctuation=True, password_length=64),
        )
        acknowledge(
            secret,
            finding="AwsSolutions-SMG4",
            reason="another party knows the secret too, so it is rotated together with that party",
        )
        # `Ref` gives the ARN on AWS only, not on the local cloud; `Id` gives it on both.
        resource = secret.node.default_child
        assert isinstance(resource, secretsmanager.CfnSecret)  # noqa: S101 (the construct makes one)
        arn = resource.attr_id
        for function in readers:
            function.add_environment(variable, arn)
            role_of(function).add_to_principal_policy(
                iam.PolicyStatement(actions=["secretsmanager:GetSecretValue"], resources=[arn])
            )
            allow_key_for_secret(role_of(function), key)
        CfnOutput(Stack.of(self), secret_output(variable), value=arn)
