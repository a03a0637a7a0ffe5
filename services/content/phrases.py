"""Phrases: what a plain script says in each language. They say nothing of their own about the subject, so that they are
true of any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Phrases:
    """The sentences of a language."""

    body: tuple[str, ...]
    """In the order in which they are said; fewer are said of a short script."""
    closing: str
    blank: str = " "
    """What parts sentences."""
    stop: str = "."


PHRASES: Mapping[str, Phrases] = {
    "en": Phrases(
        (
            "In the next few moments, we look at it closely, one picture at a time.",
            "Take in the light, the movement and the small things that are easy to miss.",
            "Each scene adds a piece, and together they tell the story.",
            "Some of it is familiar, and some of it may surprise you.",
            "Look twice, and you will see more than you did at first.",
            "What stays with you in the end is for you to say.",
            "There is one more thing to see before we part.",
        ),
        "Thank you for watching, and see you in the next one.",
    ),
    "de": Phrases(
        (
            "In den nächsten Augenblicken sehen wir es uns genau an, Bild für Bild.",
            "Achte auf das Licht, die Bewegung und die kleinen Dinge, die man leicht übersieht.",
            "Jede Szene fügt ein Stück hinzu, und zusammen erzählen sie die Geschichte.",
            "Manches davon ist vertraut, und manches überrascht vielleicht.",
            "Wer zweimal hinsieht, sieht mehr als beim ersten Mal.",
            "Was am Ende bleibt, entscheidest du selbst.",
            "Eines gibt es noch zu sehen, bevor wir uns verabschieden.",
        ),
        "Danke fürs Zuschauen, und bis zum nächsten Mal.",
    ),
    "es": Phrases(
        (
            "En los próximos instantes lo miramos de cerca, imagen a imagen.",
            "Fíjate en la luz, en el movimiento y en los pequeños detalles que se pasan por alto.",
            "Cada escena añade una pieza, y juntas cuentan la historia.",
            "Una parte te resultará familiar, y otra quizá te sorprenda.",
            "Mira dos veces, y verás más que la primera vez.",
            "Lo que te quede al final, lo decides tú.",
            "Hay una cosa más que ver antes de despedirnos.",
        ),
        "Gracias por mirar, y hasta la próxima.",
    ),
    "fr": Phrases(
        (
            "Dans les instants qui viennent, nous regardons de près, image par image.",
            "Observez la lumière, le mouvement et les petits détails que l'on manque facilement.",
            "Chaque scène ajoute un morceau, et ensemble elles racontent l'histoire.",
            "Une partie vous sera familière, une autre vous surprendra peut-être.",
            "Regardez deux fois, et vous verrez plus que la première fois.",
            "Ce qu'il en reste à la fin, c'est à vous de le dire.",
            "Il y a encore une chose à voir avant de nous quitter.",
        ),
        "Merci d'avoir regardé, et à la prochaine.",
    ),
    "it": Phrases(
        (
            "Nei prossimi istanti lo guardiamo da vicino, un'immagine alla volta.",
            "Osserva la luce, il movimento e le piccole cose che sfuggono facilmente.",
            "Ogni scena aggiunge un pezzo, e insieme raccontano la storia.",
            "Una parte ti sarà familiare, un'altra forse ti sorprenderà.",
            "Guarda due volte, e vedrai più di quanto hai visto all'inizio.",
            "Che cosa rimane alla fine, lo decidi tu.",
            "C'è ancora una cosa da vedere prima di salutarci.",
        ),
        "Grazie per aver guardato, e alla prossima.",
    ),
    "pt": Phrases(
        (
            "Nos próximos instantes, olhamos de perto, uma imagem de cada vez.",
            "Repare na luz, no movimento e nas pequenas coisas que passam despercebidas.",
            "Cada cena acrescenta uma peça, e juntas contam a história.",
            "Uma parte será familiar, e outra talvez surpreenda.",
            "Olhe duas vezes, e verá mais do que da primeira vez.",
            "O que fica no fim, é você quem decide.",
            "Há mais uma coisa para ver antes da despedida.",
        ),
        "Obrigado por assistir, e até a próxima.",
    ),
    "zh": Phrases(
        (
            "接下来，我们一个画面一个画面地仔细看。",
            "请留意光线、动作，还有那些容易错过的小细节。",
            "每个场景都添上一块，合在一起就是整个故事。",
            "有些你很熟悉，有些也许会让你惊讶。",
            "再看一遍，你会看到更多。",
            "最后留下什么，由你来说。",
            "告别之前，还有一样东西要看。",
        ),
        "谢谢观看，我们下次再见。",
        blank="",
        stop="。",
    ),
    "ja": Phrases(
        (
            "これから、一つ一つの場面をじっくり見ていきましょう。",
            "光や動き、そして見落としやすい小さなものに目を向けてください。",
            "どの場面も一つのかけらで、合わさって物語になります。",
            "見慣れたものもあれば、驚くものもあるかもしれません。",
            "もう一度見れば、最初よりも多くのものが見えてきます。",
            "最後に何が残るかは、あなた次第です。",
            "お別れの前に、もう一つ見るものがあります。",
        ),
        "ご覧いただきありがとうございました、また次回お会いしましょう。",
        blank="",
        stop="。",
    ),
}
