"""Script writing: a script by the first writer whose text passes the checks; else the template, with notices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

from services.content.scripts.languages import UNKNOWN_LANGUAGE, identify_language
from services.content.scripts.sentences import is_speakable
from services.content.scripts.writing import Notice, Script
from services.content.threads import run_in_thread
from services.content.writers.checks import check_script
from services.content.writers.pool import WriterPool
from services.content.writers.prompts import ScriptTask, build_script_prompt
from services.providers.usage import UNLIMITED, Budget

TEMPLATE_WRITTEN = "TEMPLATE_WRITTEN"
"""The reason of a notice: no provider wrote the script, so that it consists of fixed phrases."""


async def write_about(
    pool: WriterPool, task: ScriptTask, account: str, compose: Callable[[], Script], budget: Budget = UNLIMITED
) -> Script:
    """Write a script about a topic.

    Args:
        pool: The writers.
        task: The script to write.
        account: The account of the request; empty: none.
        compose: Returns the template script. It is called in a thread, when no writer has written.
        budget: What providers may charge.
    """
    if not is_speakable(task.topic) or not await pool.find_names(account):
        return await run_in_thread(compose)
    answer = await pool.ask(
        ["script", account, asdict(task)],
        lambda problems, rejected: build_script_prompt(task, problems, rejected),
        lambda document: check_script(document, task),
        budget,
        account,
    )
    if answer.value is None:
        script = await run_in_thread(compose)
        notice = Notice(
            TEMPLATE_WRITTEN,
            "no writer gave a usable script, so that it consists of a template's fixed phrases; "
            "send a script of your own, or try again later",
        )
        return replace(script, notices=(*answer.notices, notice, *script.notices), tokens=answer.tokens)
    sentences = tuple(sentence for scene in answer.value for sentence in scene.sentences)
    language = task.language
    if language == UNKNOWN_LANGUAGE:
        language = await run_in_thread(identify_language, " ".join(sentences))
    return Script(sentences, answer.writer, language, answer.value, answer.notices, answer.tokens)
