"""Asking: put one question to the writers in order, until one gives an answer that passes its checks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.content.scripts.writing import Notice, TokenCount
from services.content.writers.checks import Checked, is_refusal
from services.content.writers.models import Prompt, Writer, to_bad_answer, to_refusal
from services.providers.chain import call_first
from services.providers.failures import FailureKind, ProviderFailure
from services.providers.usage import Budget, record_usage

T = TypeVar("T")

WRITER_SKIPPED = "WRITER_SKIPPED"
"""The reason of a notice: a writer earlier in the order did not write."""
COST_LIMITED = "COST_LIMITED"
"""The reason of a notice: a provider was not called, since it may charge more than is left."""
TOTAL_SECONDS = 100.0
"""The time of all writers together. The contract's deadline is longer, so that the offline fallback still answers."""
# The first answer, and one after its defects were named.
_ATTEMPTS = 2
# An attempt that has less time is not begun: it would be charged and thrown away.
_LEAST_SECONDS = 2.0
# The characters of a rejected answer that are sent back.
_MAX_REJECTED = 8000


@dataclass(frozen=True)
class Answer(Generic[T]):
    """An answer that passed its checks; or none, when no writer gave one."""

    value: T | None
    writer: str
    """The provider; empty when none answered."""
    notices: tuple[Notice, ...]
    """For each provider that did not answer: which, and why."""
    tokens: tuple[TokenCount, ...] = ()
    """What the providers charged for, rejected answers included."""
    document: Any = None
    """The JSON document of the model."""


async def ask_writers(
    writers: Sequence[Writer],
    build_prompt: Callable[[Sequence[str], str], Prompt],
    check: Callable[[Any], Checked[T]],
    timeout_seconds: float,
    own: Collection[str] = (),
) -> Answer[T]:
    """Ask writers in order, each at most twice, and return the first answer without problems.

    Args:
        writers: The writers in order of preference, at least one.
        build_prompt: Returns the question, given the problems of the answer before and its text.
        check: Reads and checks the JSON document of an answer.
        timeout_seconds: The limit of each call.
        own: The providers that charge the account, and not the deployment.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + TOTAL_SECONDS
    notices: list[Notice] = []
    tokens: Counter[tuple[str, str]] = Counter()

    async def ask_one(writer: Writer) -> tuple[T, Any]:
        try:
            return await attempt(writer)
        except ProviderFailure as failure:
            notices.append(Notice(WRITER_SKIPPED, f"{writer.name} did not write: {failure.message}"[:1000]))
            raise

    async def attempt(writer: Writer) -> tuple[T, Any]:
        problems: tuple[str, ...] = ()
        rejected = ""
        for _ in range(_ATTEMPTS):
            seconds = min(timeout_seconds, end - loop.time())
            if seconds < _LEAST_SECONDS:
                message = f"{writer.name}: the writers before it took all the time"
                raise ProviderFailure(writer.name, FailureKind.TIMEOUT, message)
            completion = await writer.complete(build_prompt(problems, rejected), seconds)
            tokens[writer.name, "input_tokens"] += completion.input_tokens
            tokens[writer.name, "output_tokens"] += completion.output_tokens
            checked = check(completion.document)
            if is_refusal(checked.text or completion.text):
                raise to_refusal(writer.name)
            if not checked.problems:
                return checked.value, completion.document
            problems, rejected = checked.problems, checked.text[:_MAX_REJECTED]
        raise to_bad_answer(writer.name, f"its text was rejected {_ATTEMPTS} times: {'; '.join(problems)}")

    try:
        result = await call_first(writers, ask_one)
    except ProviderFailure:
        return Answer(None, "", tuple(notices), _to_counts(tokens, own))
    value, document = result.result
    return Answer(value, result.provider.name, tuple(notices), _to_counts(tokens, own), document)


def leave_out_costly(
    writers: Sequence[Writer], prompt: Prompt, budget: Budget, own: Collection[str] = ()
) -> tuple[list[Writer], tuple[Notice, ...]]:
    """Return the writers that may be asked, and a notice for each that would cost too much.

    Those of `own` names charge the account, and not the deployment.
    """
    # A token has two characters at least on average, in languages with few letters to a token.
    characters = len(prompt.system) + len(prompt.user) + _MAX_REJECTED
    units = {"input_tokens": _ATTEMPTS * characters // 2, "output_tokens": _ATTEMPTS * prompt.max_tokens}
    charged = [writer.name for writer in writers if writer.client.keys and writer.name not in own]
    excesses = {name: budget.find_excess(name, units) for name in charged}
    notices = tuple(Notice(COST_LIMITED, f"{excess}; it did not write") for excess in excesses.values() if excess)
    return [writer for writer in writers if not excesses.get(writer.name)], notices


def _to_counts(tokens: Counter[tuple[str, str]], own: Collection[str]) -> tuple[TokenCount, ...]:
    """The counts that are not 0, which are also added to the metrics."""
    found = tuple(
        TokenCount(provider, unit, amount, is_charged=provider not in own)
        for (provider, unit), amount in tokens.items()
        if amount
    )
    for count in found:
        record_usage(count.provider, count.unit, count.amount)
    return found
