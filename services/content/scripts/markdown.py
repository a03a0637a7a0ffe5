"""Markdown: the plain text of a script that was pasted with its markup.

CommonMark is made for documents, in which `2*3*4` may contain emphasis and `[Anna]: Hello` may be a reference. A
script is spoken text: where both readings are possible, text that could be spoken is not read as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from markdown_it import MarkdownIt
from markdown_it.common.utils import normalizeReference
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

# Tags of HTML and SSML; anything else between angle brackets is text.
_TAGS = (
    "a|abbr|article|aside|audio|b|big|blockquote|body|break|br|button|caption|center|cite|code|col|colgroup|dd|del|details|dfn|"
    "div|dl|dt|emphasis|em|figcaption|figure|font|footer|h[1-6]|head|header|hr|html|iframe|img|input|ins|i|kbd|label|"
    "link|li|main|mark|meta|nav|ol|phoneme|picture|prosody|pre|p|q|samp|say-as|section|small|source|span|speak|"
    "strike|strong|sub|summary|sup|s|table|tbody|td|tfoot|thead|th|time|title|tr|tt|ul|u|var|video|voice|wbr"
)
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s"'=<>`]+)"""
_ATTRIBUTE = rf"(?:[\w:@.-]+\s*=\s*{_VALUE}|open|hidden|disabled|checked|controls|autoplay|loop|muted|allowfullscreen)"
_TAG = re.compile(rf"</?(?P<name>{_TAGS})(?:\s+{_ATTRIBUTE})*\s*/?>", re.IGNORECASE)
# Comments, and the parts of a web page that are never shown.
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b[^>]*>.*?</\1\s*>|<!doctype[^>]*>", re.IGNORECASE | re.DOTALL)
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(?:[\w-]+:.*\n|[ \t]+.*\n|- .*\n)+---[ \t]*(?:\n|\Z)")

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NUMBERED_HEADING = re.compile(r" {0,3}#[ \t]+\d")
_FOOTNOTE = re.compile(r"\[\^[\w-]+\](?P<definition>:[ \t]*)?")
_REFERENCE = re.compile(
    r""" {0,3}\[(?P<label>[^\]^][^\]]*)\]:[ \t]+<?(?P<address>(?:\w+://|/|\#|\./|mailto:)\S*|[\w.-]+\.[a-z]{2,}(?:/\S*)?)>?"""
    r"""(?:[ \t]+(?:"[^"]*"|'[^']*'|\([^)]*\)))?[ \t]*"""
)
# Not a link, as in `f[0](x)`.
_CALL = re.compile(r"\[[^\]]{0,500}\]\((?![^)\s]{0,500}[/.#:])")
_TASK = re.compile(r"\[[ xX]\][ \t]+")
# Python names that look like strong emphasis.
_DUNDER = re.compile(
    r"__(?:all|call|class|debug|del|dict|doc|enter|eq|exit|file|future|getitem|hash|init|iter|len|main|name|new|next|"
    r"path|repr|setitem|slots|str|version)__"
)
_STRONG = re.compile(r"\*\*(?=\S)([^*\n]+?)(?<=\S)\*\*")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")


def strip_markdown(text: str) -> str:
    """Remove the markup of a script in Markdown.

    Keeps the text of headings, emphasis, links, quotes, table cells and code, and the numbers of numbered lists.
    Removes the markup itself, link targets, pictures, rules, tags, comments and front matter.
    """
    text = _HIDDEN.sub("", _FRONT_MATTER.sub("", text.replace("\r\n", "\n")))
    source, references = _prepare(text.split("\n"))
    tokens = _PARSER.parse("\n".join(source), {"references": references})
    return "\n\n".join(_blocks(tokens))


def _prepare(lines: Sequence[str]) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Remove link definitions and escape signs that only look like markup.

    Returns the remaining lines, and the definitions by their normalized labels.
    """
    remaining: list[str] = []
    references: dict[str, dict[str, str]] = {}
    fence = ""
    for number, line in enumerate(lines):
        if mark := _FENCE.match(line):
            fence = "" if fence and mark[1].startswith(fence) else fence or mark[1]
        if fence:
            remaining.append(line)
        elif reference := _REFERENCE.fullmatch(line):
            references[normalizeReference(reference["label"])] = {"title": "", "href": reference["address"]}
        elif _NUMBERED_HEADING.match(line) and not _is_own_paragraph(lines, number):
            remaining.append(line.replace("#", "\\#", 1))  # as in "# 1 hit"
        else:
            remaining.append(line)
    return remaining, references


def _is_own_paragraph(lines: Sequence[str], number: int) -> bool:
    """Whether a line is a paragraph of its own, and there are others."""
    beside = [lines[at] for at in (number - 1, number + 1) if 0 <= at < len(lines)]
    return not any(map(str.strip, beside)) and any(line.strip() for line in lines if line is not lines[number])


def _blocks(tokens: Sequence[Token]) -> Iterator[str]:
    """The paragraphs of a document."""
    numbers: list[str] = []
    cells: list[str] | None = None
    for at, token in enumerate(tokens):
        match token.type:
            case "list_item_open":
                numbers.append(_number(tokens, at))
            case "list_item_close":
                if rest := numbers.pop().strip():
                    yield rest
            case "tr_open":
                cells = []
            case "tr_close":
                if row := ", ".join(filter(None, cells or [])):
                    yield row
                cells = None
            case "inline":
                written = _inline(token)
                if cells is not None:
                    cells.append(" ".join(written.split()))
                    continue
                number = ""
                if numbers:
                    number, numbers[-1] = numbers[-1], ""
                    written = _TASK.sub("", written, count=1) if _TASK.match(written) else written
                if (number + written).strip():
                    yield number + written
            case "fence" | "code_block":
                yield token.content


def _number(tokens: Sequence[Token], at: int) -> str:
    """The spoken text of a list marker: the number of a numbered item; nothing for a bullet.

    A sign without content, and a single sign before a number as in `+ 5 °C`, are text and not bullets.
    """
    item, following = tokens[at], tokens[at + 1 : at + 3]
    if item.info:
        return f"{item.info}{item.markup} "
    if following[0].type == "list_item_close":
        return item.markup
    content = next((token.content for token in following if token.type == "inline"), "")
    if item.markup not in "+-" or not content[:1].isdigit() or tokens[at - 1].type != "bullet_list_open":
        return ""
    end = next(
        n for n in range(at, len(tokens)) if (tokens[n].type, tokens[n].level) == ("list_item_close", item.level)
    )
    return f"{item.markup} " if tokens[end + 1].type == "bullet_list_close" else ""


def _inline(token: Token) -> str:
    """The text of a paragraph."""
    parts = []
    for child in token.children or ():
        match child.type:
            case "text" | "code_inline" | "text_special":
                parts.append(child.content)
            case "softbreak" | "hardbreak":
                parts.append("\n")
    written = "".join(parts)
    # In text without blanks, CommonMark does not recognize emphasis that ends with a bracket.
    return _STRONG.sub(r"\1", written) if "**" in written and _CJK.search(written) else written


def _literal(state: StateInline, silent: bool) -> bool:
    """Rule for signs that are text: between digits or letters of a formula, in program names, as an apostrophe."""
    source, begin = state.src, state.pos
    sign = source[begin]
    if sign == "_" and (name := _DUNDER.match(source, begin)):
        end = name.end()
    elif sign in "*`":
        end = begin
        while end < state.posMax and source[end] == sign:
            end += 1
        before, after = source[:begin][-2:], source[end : end + 2]
        if not (before and after and before[-1].isalnum() and after[0].isalnum()):
            return False
        if sign == "`" and not (before[-1].isalpha() and after[0].isalpha() and end == begin + 1):
            return False
        letters = all(not part.isalnum() for part in (before[:-1], after[1:]))
        if sign == "*" and not (before[-1].isdigit() or after[0].isdigit() or letters):
            return False
    else:
        return False
    if not silent:
        state.pending += source[begin:end]
    state.pos = end
    return True


def _tag(state: StateInline, silent: bool) -> bool:
    """Rule for tags and footnote marks."""
    source, begin = state.src, state.pos
    if source[begin] not in "<[":
        return False
    if begin and source[begin - 1].isalnum() and _CALL.match(source, begin):
        if not silent:
            state.pending += "["
        state.pos += 1
        return True
    found = _TAG.match(source, begin) or _FOOTNOTE.match(source, begin)
    if not found:
        return False
    if not silent and found.re is _TAG and found["name"].lower() in ("br", "p", "li", "tr", "div", "hr"):
        state.pending += "\n"
    state.pos = found.end()
    return True


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    # Indented lines of a script are paragraphs. The rules below read tags, and `_prepare` reads link definitions.
    parser.disable(["code", "html_block", "html_inline", "reference"])
    parser.inline.ruler.before("escape", "literal", _literal)
    parser.inline.ruler.before("escape", "tag", _tag)
    return parser


_PARSER = _parser()
