"""What may differ from stage to stage, and every number that has to fit another one."""

from dataclasses import dataclass

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential backoff with a cap and full jitter.

    The n-th wait is random between 0 and min(``interval`` * ``backoff_rate`` ** (n - 1), ``max_delay``) seconds.
    """

    interval: int
    backoff_rate: float
    max_delay: int
    max_attempts: int

    def longest_wait(self) -> float:
        """Seconds that all waits take together when the jitter is at its worst."""
        waits = (self.interval * self.backoff_rate**attempt for attempt in range(self.max_attempts))
        return sum(min(wait, self.max_delay) for wait in waits)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stage. Times are in seconds.

    ``protected`` means that the table and the stack cannot be deleted before that is switched off;
    ``customer_managed_key`` that all data at rest is encrypted with a key of this account; ``alert_email``
    is told of every alarm, once its owner has confirmed the subscription.

    ``function_timeout`` must exceed what a function can spend on its one write (``CLIENT_CONFIG`` in
    lambdas/shared/ledger.py), and ``task_timeout`` the function's, so that a late write is the exception.
    """

    removal_policy: RemovalPolicy
    log_retention: logs.RetentionDays
    protected: bool
    customer_managed_key: bool
    alert_email: str | None = None
    function_timeout: int = 10
    task_timeout: int = 30
    # An alarm is raised when one order in a hundred takes longer; a happy one takes a second or two.
    slow_after: int = 60
    # An action gives up soon, because the customer waits and the saga can roll back. A compensation must not
    # give up before an outage of minutes is over: about 15 minutes with an average jitter, 30 at the most.
    action_retry: RetryPolicy = RetryPolicy(interval=1, backoff_rate=2, max_delay=8, max_attempts=4)
    compensation_retry: RetryPolicy = RetryPolicy(interval=1, backoff_rate=2, max_delay=60, max_attempts=35)

    def __post_init__(self) -> None:
        if not 0 < self.function_timeout < self.task_timeout:
            raise ValueError(
                f"function_timeout is {self.function_timeout} s and task_timeout {self.task_timeout} s: "
                "the function's must be above 0 and below the task's"
            )


STAGES = {
    "dev": Settings(
        removal_policy=RemovalPolicy.DESTROY,
        log_retention=logs.RetentionDays.ONE_WEEK,
        protected=False,
        customer_managed_key=False,
    ),
    "prod": Settings(
        removal_policy=RemovalPolicy.RETAIN,
        log_retention=logs.RetentionDays.ONE_YEAR,
        protected=True,
        customer_managed_key=True,
    ),
}
