"""Moderation by the rule lists: what is found and where, what is not, the time it takes, and the policy."""

from __future__ import annotations

import time

import pytest

from services.content.config import Config
from services.content.moderation.moderation import FieldText, Moderator, describe_flags, hash_text, refuse
from services.content.moderation.policy import DEFAULT_POLICY, Action, Category, parse_policy
from services.content.moderation.rules import MAX_MATCHES, RuleList, load_rules, parse_rules, read_rules

HATE, HARASSMENT, SEXUAL, MINORS = Category.HATE, Category.HARASSMENT, Category.SEXUAL, Category.SEXUAL_MINORS

# A spelling, and the part of it that is found.
DISGUISED = [
    ("kill yourself", "kill yourself"),
    ("KILL YOURSELF!", "KILL YOURSELF"),
    ("so, k1ll y0ur$3lf now", "k1ll y0ur$3lf"),
    ("kіll yоursеlf", "kіll yоursеlf"),  # Cyrillic letters
    ("κill υourself"[:5] + "yourself", "κill yourself"),  # a Greek letter
    ("ｋｉｌｌ　ｙｏｕｒｓｅｌｆ", "ｋｉｌｌ　ｙｏｕｒｓｅｌｆ"),
    ("𝖐𝖎𝖑𝖑 𝔂𝓸𝓾𝓻𝓼𝓮𝓵𝓯", "𝖐𝖎𝖑𝖑 𝔂𝓸𝓾𝓻𝓼𝓮𝓵𝓯"),
    ("🅚🅘🅛🅛 🆈🅾🆄🆁🆂🅴🅻🅵", "🅚🅘🅛🅛 🆈🅾🆄🆁🆂🅴🅻🅵"),
    ("🇰🇮🇱🇱 🇾🇴🇺🇷🇸🇪🇱🇫", "🇰🇮🇱🇱 🇾🇴🇺🇷🇸🇪🇱🇫"),
    ("ᴋɪʟʟ ʏᴏᴜʀsᴇʟғ"[:4] + " yourself", "ᴋɪʟʟ yourself"),
    ("ki\u200bll your\u00adself", "ki\u200bll your\u00adself"),
    ("ki\ufe0fll your\u2060se\u115flf", "ki\ufe0fll your\u2060se\u115flf"),
    ("k̶i̶l̶l̶ yóurself", "k̶i̶l̶l̶ yóurself"),
    ("kiiiilll yourrrrself", "kiiiilll yourrrrself"),
    ("k.i.l.l yourself", "k.i.l.l yourself"),
    ("k-i-l-l   y_o_u_r_s_e_l_f", "k-i-l-l   y_o_u_r_s_e_l_f"),
    ("k i l l  y o u r s e l f", "k i l l  y o u r s e l f"),
    ("please k i l l y o u r s e l f", "k i l l y o u r s e l f"),
    ("ki/ll your*self", "ki/ll your*self"),
    ("k*ll yourself", "k*ll yourself"),
    ("kill\nyourself", "kill\nyourself"),
    ("kill... yourself", "kill... yourself"),
]

# A text for each list, its category, and the part that is found.
LANGUAGES = [
    ("en", HATE, "They shouted sieg heil.", "sieg heil"),
    ("de", HARASSMENT, "Du bist ein HURENSÖHNE-Freund.", "HURENSÖHNE"),
    ("de", MINORS, "Kinderpornografie", "Kinderpornografie"),
    ("fr", Category.VIOLENCE, "Je vais t’égorger, dit-il.", "Je vais t’égorger"),
    ("fr", HARASSMENT, "suicide-toi", "suicide-toi"),
    ("es", HARASSMENT, "¡MÁTATE ya!", "MÁTATE"),
    ("es", Category.ILLICIT, "Como hacer una bomba en casa", "Como hacer una bomba"),
    ("it", Category.SELF_HARM, "io voglio morire stasera", "voglio morire"),
    ("pt", MINORS, "Pornô Infantil", "Pornô Infantil"),
    ("ru", HARASSMENT, "УБЕЙ  себя", "УБЕЙ  себя"),
    ("ru", Category.ILLICIT, "где kуnить: купить к0каин", "купить к0каин"),
    ("ru", HATE, "эти пидорасами названные", "пидорасами"),
    ("tr", HARASSMENT, "Kendini öldür!", "Kendini öldür"),
    ("tr", Category.VIOLENCE, "SENİ ÖLDÜRECEĞİM", "SENİ ÖLDÜRECEĞİM"),
    ("ja", Category.SELF_HARM, "もう自殺したいと言った", "自殺したい"),
    ("ja", SEXUAL, "ｴﾛ動画を見る", "ｴﾛ動画"),
    ("ar", HARASSMENT, "اُقْتُلْ نَفْسَكَ الآن", "اُقْتُلْ نَفْسَك"),
    ("ar", HATE, "والموت لليهود", "والموت لليهود"),
    ("hi", Category.SELF_HARM, "मैं मरना चाहता हूँ।", "मैं मरना चाहता हूँ"),
    ("hi", SEXUAL, "पोर्न साइट", "पोर्न"),
]

INNOCENT = [
    "Scunthorpe, Penistone, Essex, Sussex, Middlesex and Lightwater",
    "The assassin in the cockpit read Dickens; a classic passage about cocktails, grapes and therapists.",
    "Niger and Nigeria are countries; a snigger is niggardly of no one.",
    "Analysis, canal, shiitake, Matsushita, Hancock, peacock, Moby Dick, Dick Whittington, Cockburn",
    "Spic and span; a chink in the armour; a retarded potential; the faggots... ".replace("faggots", "fagots of wood"),
    "We had to kill the process yourself-hosted. Kill, then: you are done. Skill yourself up.",
    "How to make a bath bomb, a photo bomb, and a bomber jacket",
    "Pornic is a town. Pornography laws are debated; corn 0n the c0b costs $1,455.00, 455 and 1488 pounds.",
    "U.S.S.R., a.m., p.m., e.g. 1.2.3.4.5, A B C D E F G, x y z, f(x) = 3 * 4 + 5!",
    "Der dicke Dachs fickt nicht, die Fickmühle steht am Fluss; ein Nigerianer in Essen.".replace("fickt", "flickt"),
    "Le train a du retard, la pute-là".replace(", la pute-là", ", et le reportage aussi."),
    "El negro es un color; la mata, la rata y la pata. Mátame de risa no, por favor.",
    "Un film per famiglie; il mercato nero; la morte di Cesare.",
    "O preto no branco; a morte de Vasco da Gama.",
    "Жидкость, хачапури, чуркины дети, сдохший аккумулятор; ребёнок рисует.",
    "Geberit, İbni Sina, Kürtler ve Ermeniler tarih boyunca; pislik yok.",
    "死ぬほど美味しい。ポルノグラフィティの曲。自殺点。朝鮮半島の歴史。",
    "الموت حق. قصة يهود المدينة. اقتل الوقت.",
    "मरना और जीना। बमबारी का इतिहास। बच्चे खेल रहे हैं।",
    "",
    "🎉🎉🎉 !!!! **** $$$$ 1111 \u200b\u200b",
]


def found(text: str) -> list[tuple[Category, str]]:
    return [(match.category, text[match.start : match.end]) for match in load_rules().find_matches(text)]


@pytest.mark.parametrize(("text", "part"), DISGUISED)
def test_a_disguised_spelling_is_found_at_its_place(text: str, part: str) -> None:
    assert found(text) == [(HARASSMENT, part)]
    # Behind characters that folding leaves out or multiplies, the offsets still are those of the text.
    shifted = f"ﬃ\u200b🇩🇪 é — {text}"
    assert found(shifted) == [(HARASSMENT, part)]


@pytest.mark.parametrize(("language", "category", "text", "part"), LANGUAGES)
def test_every_language_is_found(language: str, category: Category, text: str, part: str) -> None:
    assert (category, part) in found(text)


def test_every_rule_of_every_list_finds_itself() -> None:
    rules = read_rules()
    assert {"en", "de", "fr", "es", "it", "pt", "ru", "tr", "ja", "ar", "hi"} <= set(rules)
    for language, entries in rules.items():
        assert {category for category, _ in entries} == set(Category), language
        for category, entry in entries:
            text = entry.removesuffix("+")
            assert category in {match.category for match in load_rules().find_matches(text)}, (language, entry)
            assert found(text.upper()), (language, entry)


@pytest.mark.parametrize("text", INNOCENT)
def test_an_innocent_text_has_no_match(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("size", [10_000, 20_000])
@pytest.mark.parametrize(
    "part",
    ["The quick brown fox jumps over a lazy dog. ", "k", "1!", "a4@", "n!g*", "k i l l ", "n.i.g.g.e.", "nigger ",
     "kill your ", "自殺し", "kk\u200b\u0301", "*", "मैं मरना चाहता न"],
)  # fmt: skip
def test_the_time_grows_with_the_length_alone(part: str, size: int) -> None:
    """In CPU time: measured at 0.25 s at most for 20,000 characters; the limit leaves room for a slow machine."""
    text = (part * size)[:size]
    started = time.thread_time()
    assert len(load_rules().find_matches(text)) <= MAX_MATCHES
    assert time.thread_time() - started < 1.0


def test_a_rule_is_checked_when_it_is_read() -> None:
    for text, complaint in (("word", "before the first"), ("[polite]\nword", "polite")):
        with pytest.raises(ValueError, match=complaint):
            list(parse_rules(text))
    for entry in ("word  word", "1l"):
        with pytest.raises(ValueError, match="letters"):
            RuleList([(HATE, entry)])


def test_a_policy_names_what_differs_from_the_default() -> None:
    assert parse_policy("") == DEFAULT_POLICY
    policy = parse_policy(" hate=refuse, sexual = flag,")
    assert (policy[HATE], policy[SEXUAL], policy[MINORS]) == (Action.REFUSE, Action.FLAG, Action.REFUSE)
    for wrong in ("hate", "hate=maybe", "rudeness=flag", "=flag"):
        with pytest.raises(ValueError, match="CATEGORY=ACTION"):
            parse_policy(wrong)


def test_settings_have_a_policy_and_allowed_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONEYPRINTER_CONTENT_MODERATION_POLICY", "violence=refuse")
    monkeypatch.setenv("MONEYPRINTER_CONTENT_MODERATION_ALLOWED", f"{'A' * 64}, {'b' * 64}")
    config = Config()
    assert config.moderation_policy[Category.VIOLENCE] is Action.REFUSE
    assert config.moderation_allowed == {"a" * 64, "b" * 64}
    for name, value in (("POLICY", "violence=never"), ("ALLOWED", "abc")):
        with monkeypatch.context() as changed, pytest.raises(ValueError, match="moderation"):
            changed.setenv(f"MONEYPRINTER_CONTENT_MODERATION_{name}", value)
            Config()


TEXTS = [FieldText("title", "A walk"), FieldText("audio.script", "Sieg heil! Kill yourself. Child porn. Porn.")]


async def test_a_finding_has_field_category_and_position() -> None:
    findings = await Moderator(parse_policy("sexual_minors=flag,harassment=allow")).check(TEXTS)
    assert describe_flags(findings) == [
        "audio.script: the text may break the rules of this platform "
        "(category hate, characters 0 to 9; category sexual_minors, characters 26 to 36)"
    ]
    refuse(findings)


async def test_a_text_that_an_administrator_allows_has_no_findings() -> None:
    assert await Moderator(allowed_hashes={hash_text(TEXTS[1].text)}).check(TEXTS) == []
