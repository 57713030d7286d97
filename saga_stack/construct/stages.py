"""The stages, and every number that must fit another one."""

from dataclasses import dataclass

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs

from saga_stack.construct.steps import RetryPolicy

# Someone waits for an action, and the saga can roll back: give up soon.
ACTION_RETRY = RetryPolicy(interval=1, backoff_rate=2, max_delay=8, max_attempts=4)
# A compensation must outlast an outage of some minutes: about 15 minutes with average jitter, at most 30.
COMPENSATION_RETRY = RetryPolicy(interval=1, backoff_rate=2, max_delay=60, max_attempts=35)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What differs from stage to stage. A saga is rejected whose timeouts do not fit.

    Args:
        removal_policy: what happens to tables, logs, secrets and key when the stack is deleted.
        log_retention: how long logs are kept.
        protected: whether the table and the stack are protected against deletion.
        customer_managed_key: whether the table and the logs are encrypted with a key of this account.
        alert_email: an address that receives every alarm, after its owner has confirmed. Default: none.
        function_timeout: the timeout of a function, in seconds; longer than one write may take (``CLIENT_CONFIG`` in
            lambdas/saga_runtime/own_table.py). Default: 10.
        task_timeout: the timeout of a state, in seconds; longer than the function's, so that a late write is the
            exception. Default: 30.
        slow_after: an alarm is raised if one execution in a hundred takes longer, in seconds, the time in which answers
            may come not counted. Default: 60; an execution without failures takes a second or two.
        action_retry: how an action is retried. Default: 4 retries within 15 seconds.
        automatic_redrives: how often a saga that failed is redriven without an operator, while the pauses are shorter
            than the 14 days in which AWS redrives. Default: 0, never.
        first_redrive_after: the pause before the first automatic redrive, in seconds; three times as long before each
            further one. Default: 900, so that five redrives take about 30 hours.
        compensation_retry: how a compensation and a retriable step are retried. Default: 35 retries within 30 minutes.
    """

    removal_policy: RemovalPolicy
    log_retention: logs.RetentionDays
    protected: bool
    customer_managed_key: bool
    alert_email: str | None = None
    function_timeout: int = 10
    task_timeout: int = 30
    slow_after: int = 60
    automatic_redrives: int = 0
    first_redrive_after: int = 900
    action_retry: RetryPolicy = ACTION_RETRY
    compensation_retry: RetryPolicy = COMPENSATION_RETRY


STAGES = {
    "dev": Stage(
        removal_policy=RemovalPolicy.DESTROY,
        log_retention=logs.RetentionDays.ONE_WEEK,
        protected=False,
        customer_managed_key=False,
    ),
    "prod": Stage(
        # A resource that a failed first deployment has made does not stay.
        removal_policy=RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE,
        log_retention=logs.RetentionDays.ONE_YEAR,
        protected=True,
        customer_managed_key=True,
        automatic_redrives=5,
    ),
}
