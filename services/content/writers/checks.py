"""Checks: what a language model has written is checked before use, and its defects are named for a second attempt."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from services.content.scripts.key_words import find_key_words
from services.content.scripts.languages import is_in_language
from services.content.scripts.lengths import count_words, counts_letters
from services.content.scripts.scenes import MAX_SCENES, Scene, unique_terms
from services.content.scripts.sentences import is_speakable, split_sentences
from services.content.writers.prompts import ScriptTask

T = TypeVar("T")

MAX_TITLE = 80
MAX_CHARACTERS = 20_000
"""The most characters of a script, as in requests."""
_MAX_PROBLEMS = 8

# The beginnings of answers that decline, in the languages that models use for it.
_REFUSAL = re.compile(
    r"(?:(?:i['’]?m|i am) (?:really |very )?(?:sorry|unable|not able)"
    r"|(?:i )?(?:can['’]?t|cannot|won['’]?t) (?:help|assist|write|create|comply|provide|fulfil)"
    r"|sorry,? (?:but )?i|as an ai|i must decline|es tut mir leid|tut mir leid|ich kann (?:dabei|diese|das|dir|ihnen) "
    r"|lo siento|no puedo (?:ayudar|cumplir|escribir)|je suis désolée?|désolée?,|je ne peux pas|mi dispiace"
    r"|sinto muito|desculpe|não posso|申し訳(?:ありません|ございません)|お手伝いできません|抱歉|很抱歉|对不起"
    r"|我无法|我不能|죄송합니다"
    r"|عذر|آسف|أعتذر|لا أستطيع|لا يمكنني|извините|к сожалению, я|я не могу|przykro mi|przepraszam)",
    re.IGNORECASE,
)
# Headings, lists, emphasis, code, links, tables, quotations and rules of Markdown, and tags of HTML.
_MARKDOWN = re.compile(
    r"^ {0,3}(?:#{1,6}\s|[-*+]\s|>\s|\d{1,2}[.)]\s.*\n+ {0,3}\d{1,2}[.)]\s|(?:[-*_] ?){3,}$|\|.*\|)"
    r"|\*\*|__|`|\]\(|(?<![\w*])\*\w[^*\n]{0,200}\*(?![\w*])|</?[a-z][^<>\n]{0,200}>",
    re.MULTILINE | re.IGNORECASE,
)
# The remark of a director: in square brackets, or in other ones with a word of the trade.
_BRACKETS = re.compile(r"\[[^\]\n]{0,300}\]|【[^】\n]{0,300}】")
_ROUND = re.compile(r"[(（*]([^()（）*\n]{1,200})[)）*]")
_TRADE = re.compile(
    r"\b(?:music|pause|beat|cuts? to|fades?|sound of|sfx|b-roll|camera|close-?up|zooms?|voice-?over|v\.?o\.?|narrator"
    r"|laughs?|sighs?|whispers?|applause|transition|scene|musik|schnitt|blende|geräusch|kamera|sprecher|música|pausa"
    r"|corte|cámara|musique|silence|caméra|musica|muzyka|музыка|пауза)\b|音楽|効果音|カメラ|場面|シーン|音乐|镜头|停顿|画面"
    r"|موسيقى|لقطة|صوت",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^\W{0,3}(?:narrator|host|speaker|voice-?over|vo|scene|intro|outro|hook|title|visuals?|narration|erzähler(?:in)?"
    r"|sprecher(?:in)?|szene|titel|narrador|locutor|escena|título|narrateur|scène|titre|narratore|scena|ナレーター|ナレーション"
    r"|シーン|場面|旁白|解说|场景|标题|الراوي|المعلق|المشهد|مشهد|рассказчик|диктор|сцена)\s*\d{0,3}\s*[:：]",
    re.IGNORECASE | re.MULTILINE,
)
_ADDRESS = re.compile(r"https?://|\bwww\.|(?<!\w)#\w{2,}", re.IGNORECASE)


@dataclass(frozen=True)
class Checked(Generic[T]):
    """An answer of a language model, and what is wrong with it."""

    value: T
    """The answer; it may be used when there are no problems."""
    problems: tuple[str, ...] = ()
    """What is wrong, for the model and for users. They hold no text of the answer."""
    text: str = ""
    """The text of the answer, without its form."""


def is_refusal(text: str) -> bool:
    """Whether a text declines to write, rather than being what was requested."""
    return _REFUSAL.match(text.strip(" \n\"'*_#>“”«»「」.!")) is not None


def clean_text(text: str) -> str:
    """A text without control characters and with single blanks, on one line."""
    kept = "".join(c if unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn") or c.isspace() else " " for c in text)
    return " ".join(kept.split())


def find_text_problems(text: str) -> list[str]:
    """What makes a text unfit for being spoken: markup, stage directions, addresses."""
    problems = []
    if _MARKDOWN.search(text):
        problems.append("the text has Markdown or tags")
    if _BRACKETS.search(text) or _LABEL.search(text) or any(_TRADE.search(each[1]) for each in _ROUND.finditer(text)):
        problems.append("the text has stage directions, speaker names or remarks in brackets")
    if _ADDRESS.search(text):
        problems.append("the text has addresses or hashtags")
    return problems


def check_script(document: Any, task: ScriptTask) -> Checked[tuple[Scene, ...]]:
    """Read the scenes of an answer, and check them against the task.

    Args:
        document: The JSON document of the answer; None when it has none.
        task: The script that was requested.
    """
    entries = document.get("scenes") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        return Checked((), ("the answer has no `scenes`",))
    narrations = [_read_narration(entry) for entry in entries]
    problems = [f"scene {at} has no narration" for at, text in enumerate(narrations, 1) if not is_speakable(text)]
    text = "\n\n".join(narrations)
    if len(entries) > MAX_SCENES or len(text) > MAX_CHARACTERS:
        problems.append(f"the script has more than {MAX_SCENES} scenes or {MAX_CHARACTERS} characters")
    if problems:
        return Checked((), tuple(problems[:_MAX_PROBLEMS]), text)
    scenes = tuple(_read_scene(entry, narration, task) for entry, narration in zip(entries, narrations, strict=True))
    sentences = tuple(sentence for scene in scenes for sentence in scene.sentences)
    problems = [*find_text_problems(text), *_compare(scenes, sentences, task)]
    return Checked(scenes, tuple(problems[:_MAX_PROBLEMS]), text)


def _compare(scenes: tuple[Scene, ...], sentences: tuple[str, ...], task: ScriptTask) -> list[str]:
    """The differences between scenes and the task."""
    problems = []
    spoken = " ".join(sentences)
    if not is_in_language(spoken, task.language):
        problems.append(f"the text is not in the language {task.language!r}")
    if task.words:
        written = count_words(spoken, task.language)
        fewest, most = task.word_range
        unit = "letters" if counts_letters(task.language) else "words"
        if not fewest <= written <= most:
            problems.append(f"the narration has {written} {unit}; it must have {fewest} to {most}")
    if task.sentence_count and len(sentences) != task.sentence_count:
        problems.append(f"the narration has {len(sentences)} sentences; it must have {task.sentence_count}")
    if task.options.scene_count and len(scenes) != task.options.scene_count:
        problems.append(f"there are {len(scenes)} scenes; there must be {task.options.scene_count}")
    return problems


def _read_narration(entry: Any) -> str:
    """The narration of a scene with its line breaks; empty when it has none."""
    narration = entry.get("narration") if isinstance(entry, dict) else None
    if isinstance(narration, list):
        narration = " ".join(str(part) for part in narration)
    if not isinstance(narration, str):
        return ""
    return "\n".join(line for line in map(clean_text, narration.splitlines()) if line)


def _read_scene(entry: Any, narration: str, task: ScriptTask) -> Scene:
    terms = entry.get("search_terms")
    found = unique_terms(
        [_clean_term(term) for term in terms if isinstance(term, str)] if isinstance(terms, list) else []
    )
    language = "en"
    if not found:
        language = task.language
        found = unique_terms([*find_key_words(narration, language, 4), *find_key_words(task.topic, language, 2)])
    title = entry.get("title")
    return Scene(
        tuple(split_sentences(narration, task.language)),
        found or unique_terms([task.topic]),
        language,
        clean_title(title) if isinstance(title, str) else "",
    )


def clean_title(title: str) -> str:
    """A title on one line without markup and closing full stop; empty when it has more than 80 characters."""
    line = clean_text(re.sub(r"[*_`#\[\]<>{}\\]", "", title)).strip("\"'“”„«» ")
    line = line if line.endswith("...") else line.removesuffix(".")
    return line if len(line) <= MAX_TITLE and is_speakable(line) else ""


def _clean_term(term: str) -> str:
    words = clean_text(re.sub(r"[^\w\s'’-]", " ", term))
    return words if is_speakable(words) else ""
