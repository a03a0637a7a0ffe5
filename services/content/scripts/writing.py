"""Writing: the script of a video, from the caller's own text or from a template on a topic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from moneyprinter.errors import InvalidArgument
from services.content.scripts.languages import UNKNOWN_LANGUAGE, identify_language
from services.content.scripts.lengths import count_words, counts_letters, words_of_seconds
from services.content.scripts.markdown import strip_markdown
from services.content.scripts.scenes import Scene, compose_scenes
from services.content.scripts.script_templates import FULL_STOPS, LANGUAGE_ALIASES, TEMPLATES
from services.content.scripts.sentences import is_speakable, split_sentences

LANGUAGE_NOT_WRITTEN = "LANGUAGE_NOT_WRITTEN"
"""The reason of a notice: there is no template for the language of the script."""
SCRIPT_LENGTH_DIFFERS = "SCRIPT_LENGTH_DIFFERS"
"""The reason of a notice: the script is shorter or longer than requested."""
WRITING_OPTIONS_IGNORED = "WRITING_OPTIONS_IGNORED"
"""The reason of a notice: the template cannot follow options of the request."""

LENGTH_TOLERANCE = 0.15
"""The fraction by which a script may be longer or shorter than requested."""

CALLER = "caller"
PLAIN_TEMPLATE = "plain-template"
PLAIN_FORMAT = "plain"
"""The format of a script without Markdown."""
DEFAULT_LENGTH = 5
"""The sentences of a template script: the topic, three of the body, and the closing one."""

MAX_LENGTH = 9
"""The most sentences of a template script."""


@dataclass(frozen=True)
class Notice:
    """A difference between a script and what the caller may expect."""

    reason: str
    message: str


@dataclass(frozen=True)
class TokenCount:
    """The tokens for which one provider charged."""

    provider: str
    unit: str
    """`input_tokens` or `output_tokens`."""
    amount: int
    is_charged: bool = True
    """Whether the deployment pays for them, and not the account with a key of its own."""


@dataclass(frozen=True)
class Script:
    """The text that is spoken."""

    sentences: tuple[str, ...]
    """In order, with their punctuation."""
    writer: str
    """The author: `caller` or `plain-template`."""
    language: str = ""
    """The language of the sentences (ISO 639); `und` when undetermined."""
    scenes: tuple[Scene, ...] = ()
    """All sentences, divided."""
    notices: tuple[Notice, ...] = ()
    """The differences from the request."""
    tokens: tuple[TokenCount, ...] = ()
    """What providers charged for."""


@dataclass(frozen=True)
class WritingOptions:
    """What a script should be like. Empty values and 0 leave the choice to the writer."""

    tone: str = ""
    audience: str = ""
    seconds: float = 0
    """The duration of the spoken script."""
    words: int = 0
    """The number of words, of letters in languages without blanks; not together with `seconds`."""
    scene_count: int = 0
    prompt: str = ""
    """The caller's further instructions."""

    def count_words(self, language: str) -> int:
        """The words, or letters, of a script in this language; 0 when the length is open."""
        return words_of_seconds(self.seconds, language) if self.seconds else self.words


def write_script(title: str, text: str | None, language: str = "", script_format: str = "", words: int = 0) -> Script:
    """Split the caller's text into sentences; without a text, write a template script on the title.

    Args:
        title: The title of the video.
        text: The caller's script; None: there is none.
        language: The language of the script (ISO 639); empty: English for a template script.
        script_format: `plain` for a text without Markdown.
        words: The words, or letters, of a template script; 0: as many as five sentences have.

    Raises `InvalidArgument` (SCRIPT_EMPTY) when there is nothing to speak.
    """
    if text is None:
        language = LANGUAGE_ALIASES.get(language, language) or "en"
        if language in TEMPLATES:
            return compose_script(title, language, fit_length(title, language, words) if words else DEFAULT_LENGTH)
        # The voice would read sentences of another language as if they were in this one.
        opening = _opening_sentence(title, FULL_STOPS.get(language, "."))
        return Script((opening,), PLAIN_TEMPLATE, language, notices=(_language_notice(language),))
    sentences = split_sentences(text if script_format == PLAIN_FORMAT else strip_markdown(text), language)
    if not sentences:
        raise InvalidArgument(
            "the script holds nothing that can be spoken; write some words, or leave the script out",
            reason="SCRIPT_EMPTY",
        )
    return Script(tuple(sentences), CALLER, language or identify_language(text))


def compose_script(topic: str, language: str = "en", length: int = DEFAULT_LENGTH) -> Script:
    """Write a template script on a topic.

    Args:
        topic: The topic, which is the first sentence.
        language: The language of the script (ISO 639-1).
        length: The number of sentences.

    Raises `InvalidArgument` (LANGUAGE_UNKNOWN) when there is no template for the language, and (SCRIPT_EMPTY) when
    the topic has nothing to speak.
    """
    template = TEMPLATES.get(language)
    if template is None:
        raise InvalidArgument(
            f"language: scripts are not written in {language!r}; take one of {', '.join(TEMPLATES)}",
            reason="LANGUAGE_UNKNOWN",
        )
    rest = (*template.body[: length - 2], template.closing) if length > 1 else ()
    return Script((_opening_sentence(topic, template.full_stop), *rest), PLAIN_TEMPLATE, language)


def fit_length(topic: str, language: str, words: int) -> int:
    """The number of sentences with which the template script of a language comes nearest to `words` words."""

    def distance(length: int) -> tuple[int, int]:
        return abs(count_words(" ".join(compose_script(topic, language, length).sentences), language) - words), length

    return min(range(1, MAX_LENGTH + 1), key=distance)


def complete_script(script: Script, topic: str, options: WritingOptions) -> Script:
    """Divide a script into scenes, and add notices of the options that it does not follow.

    Args:
        script: The script.
        topic: Its topic or title.
        options: What it should be like; a caller's own script is not measured by them.
    """
    is_template = script.writer == PLAIN_TEMPLATE
    language = "" if script.language == UNKNOWN_LANGUAGE else script.language
    scenes = compose_scenes(topic, script.sentences, language, options.scene_count, fits_any_topic=is_template)
    notices = [*script.notices, *(_template_notices(script, options) if is_template else ())]
    return replace(script, scenes=scenes, notices=tuple(notices))


def _language_notice(language: str) -> Notice:
    message = (
        f"no scripts are written in the language {language!r}, so that the title is all that is spoken; "
        f"send a script, or take one of {', '.join(TEMPLATES)}"
    )
    return Notice(LANGUAGE_NOT_WRITTEN, message)


def _template_notices(script: Script, options: WritingOptions) -> Iterator[Notice]:
    requested = options.count_words(script.language)
    written = count_words(" ".join(script.sentences), script.language)
    if requested and abs(written - requested) > LENGTH_TOLERANCE * requested:
        unit = "letters" if counts_letters(script.language) else "words"
        yield Notice(
            SCRIPT_LENGTH_DIFFERS,
            f"the template script has {written} {unit}, and {requested} were requested; "
            "send a script of your own, or have the operator configure a writer (docs/providers.md)",
        )
    ignored = [name for name in ("tone", "audience", "prompt") if getattr(options, name)]
    if ignored:
        yield Notice(
            WRITING_OPTIONS_IGNORED,
            f"the template inserts the topic into fixed phrases, so that it does not follow {', '.join(ignored)}; "
            "send a script of your own, or have the operator configure a writer (docs/providers.md)",
        )


def join_sentences(sentences: Sequence[str], language: str) -> str:
    """Join sentences of a language to one text."""
    return (TEMPLATES[language].separator if language in TEMPLATES else " ").join(sentences)


def _opening_sentence(title: str, full_stop: str) -> str:
    line = " ".join(title.split())
    if not is_speakable(line):
        raise InvalidArgument(
            "the title or topic holds nothing that can be spoken; give it some words, or send a script",
            reason="SCRIPT_EMPTY",
        )
    return line if not full_stop or line[-1] in ".!?…。！？।॥؟۔።։" else f"{line}{full_stop}"
