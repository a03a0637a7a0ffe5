"""Policy: what a deployment does with each category of texts."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Category(StrEnum):
    """What is wrong with a text. The names are those of providers, without their subdivisions."""

    HATE = "hate"
    HARASSMENT = "harassment"
    SEXUAL = "sexual"
    SEXUAL_MINORS = "sexual_minors"
    VIOLENCE = "violence"
    SELF_HARM = "self_harm"
    ILLICIT = "illicit"


class Action(StrEnum):
    """What happens with a text of a category."""

    ALLOW = "allow"
    FLAG = "flag"
    """The text is used, the job has a notice, and the audit log an event."""
    REFUSE = "refuse"


DEFAULT_POLICY: Mapping[Category, Action] = {
    Category.HATE: Action.FLAG,
    Category.HARASSMENT: Action.FLAG,
    Category.SEXUAL: Action.ALLOW,
    Category.SEXUAL_MINORS: Action.REFUSE,
    # News, history and games are full of it.
    Category.VIOLENCE: Action.ALLOW,
    Category.SELF_HARM: Action.FLAG,
    Category.ILLICIT: Action.FLAG,
}


def parse_policy(text: str) -> Mapping[Category, Action]:
    """Return the policy of a setting such as `hate=refuse,sexual=flag`; other categories keep their default.

    Raises `ValueError` for an unknown category or action.
    """
    policy = dict(DEFAULT_POLICY)
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, action = entry.partition("=")
        try:
            policy[Category(name.strip())] = Action(action.strip())
        except ValueError:
            raise ValueError(
                f"{entry!r} is not CATEGORY=ACTION with a category of {', '.join(Category)} "
                f"and an action of {', '.join(Action)}"
            ) from None
    return policy
