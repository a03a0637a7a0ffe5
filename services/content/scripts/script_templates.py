"""Script templates: the sentences of a template script in each language. They fit every topic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class ScriptTemplate:
    """The template of a language."""

    body: tuple[str, ...]
    """The sentences after the topic, in order; a short script has only the first of them."""
    closing: str
    separator: str = " "
    """The text between two sentences."""
    full_stop: str = "."


TEMPLATES: Mapping[str, ScriptTemplate] = {
    "en": ScriptTemplate(
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
    "de": ScriptTemplate(
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
    "es": ScriptTemplate(
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
    "fr": ScriptTemplate(
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
    "it": ScriptTemplate(
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
    "pt": ScriptTemplate(
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
    "nl": ScriptTemplate(
        (
            "In de komende ogenblikken bekijken we het van dichtbij, beeld voor beeld.",
            "Let op het licht, de beweging en de kleine dingen die je makkelijk over het hoofd ziet.",
            "Elke scène voegt een stukje toe, en samen vertellen ze het verhaal.",
            "Een deel ervan is vertrouwd, en een deel verrast je misschien.",
            "Kijk twee keer, en je ziet meer dan de eerste keer.",
            "Wat je er uiteindelijk van bijblijft, bepaal je zelf.",
            "Er is nog één ding te zien voordat we afscheid nemen.",
        ),
        "Bedankt voor het kijken, en tot de volgende keer.",
    ),
    "pl": ScriptTemplate(
        (
            "Za chwilę przyjrzymy się temu z bliska, obraz po obrazie.",
            "Zwróć uwagę na światło, ruch i drobiazgi, które łatwo przeoczyć.",
            "Każda scena dodaje jeden element, a razem opowiadają całą historię.",
            "Część z tego jest znajoma, a część może cię zaskoczyć.",
            "Spójrz dwa razy, a zobaczysz więcej niż za pierwszym razem.",
            "Co zostanie z tobą na koniec, zależy od ciebie.",
            "Jest jeszcze jedna rzecz do zobaczenia, zanim się pożegnamy.",
        ),
        "Dziękujemy za uwagę i do zobaczenia następnym razem.",
    ),
    "cs": ScriptTemplate(
        (
            "V příštích okamžicích se na to podíváme zblízka, obraz po obraze.",
            "Všímejte si světla, pohybu a drobností, které se snadno přehlédnou.",
            "Každá scéna přidává kousek a dohromady vyprávějí příběh.",
            "Něco z toho je známé a něco vás možná překvapí.",
            "Podívejte se dvakrát a uvidíte víc než napoprvé.",
            "Co vám z toho nakonec zůstane, je na vás.",
            "Než se rozloučíme, je tu ještě jedna věc k vidění.",
        ),
        "Děkujeme za pozornost a příště na shledanou.",
    ),
    "sv": ScriptTemplate(
        (
            "De närmaste ögonblicken tittar vi på det på nära håll, en bild i taget.",
            "Lägg märke till ljuset, rörelsen och de små sakerna som är lätta att missa.",
            "Varje scen lägger till en bit, och tillsammans berättar de historien.",
            "En del är bekant, och en del kanske överraskar dig.",
            "Titta två gånger, så ser du mer än första gången.",
            "Vad som stannar kvar hos dig till slut avgör du själv.",
            "Det finns en sak till att se innan vi skiljs åt.",
        ),
        "Tack för att du tittade, och på återseende.",
    ),
    "tr": ScriptTemplate(
        (
            "Birazdan ona yakından bakacağız, her seferinde bir görüntü.",
            "Işığa, harekete ve kolayca gözden kaçan küçük ayrıntılara dikkat edin.",
            "Her sahne bir parça ekler ve hepsi birlikte hikâyeyi anlatır.",
            "Bir kısmı tanıdık gelecek, bir kısmı ise belki sizi şaşırtacak.",
            "İki kez bakın, ilk seferden daha fazlasını göreceksiniz.",
            "Sonunda aklınızda ne kalacağına siz karar verirsiniz.",
            "Vedalaşmadan önce görülecek bir şey daha var.",
        ),
        "İzlediğiniz için teşekkürler, bir sonrakinde görüşmek üzere.",
    ),
    "id": ScriptTemplate(
        (
            "Sebentar lagi kita melihatnya dari dekat, satu gambar demi satu gambar.",
            "Perhatikan cahaya, gerakan, dan hal-hal kecil yang mudah terlewat.",
            "Setiap adegan menambah satu bagian, dan bersama-sama semuanya menceritakan kisahnya.",
            "Sebagian terasa akrab, dan sebagian mungkin mengejutkan Anda.",
            "Lihatlah dua kali, dan Anda akan melihat lebih banyak daripada sebelumnya.",
            "Apa yang tersisa pada akhirnya, Anda sendiri yang menentukan.",
            "Masih ada satu hal lagi untuk dilihat sebelum kita berpisah.",
        ),
        "Terima kasih sudah menonton, dan sampai jumpa lagi.",
    ),
    "ru": ScriptTemplate(
        (
            "Сейчас мы рассмотрим это вблизи, кадр за кадром.",
            "Обратите внимание на свет, движение и мелочи, которые легко упустить.",
            "Каждая сцена добавляет свою часть, и вместе они рассказывают историю.",
            "Что-то здесь знакомо, а что-то, возможно, вас удивит.",
            "Посмотрите дважды, и вы увидите больше, чем в первый раз.",
            "Что останется с вами в конце, решать вам.",
            "Прежде чем мы простимся, стоит увидеть ещё кое-что.",
        ),
        "Спасибо за просмотр, и до новых встреч.",
    ),
    "uk": ScriptTemplate(
        (
            "Зараз ми роздивимося це зблизька, кадр за кадром.",
            "Зверніть увагу на світло, рух і дрібниці, які легко пропустити.",
            "Кожна сцена додає свою частину, і разом вони розповідають історію.",
            "Дещо тут знайоме, а дещо, можливо, вас здивує.",
            "Подивіться двічі, і ви побачите більше, ніж уперше.",
            "Що залишиться з вами наприкінці, вирішувати вам.",
            "Перш ніж ми попрощаємося, варто побачити ще дещо.",
        ),
        "Дякуємо за перегляд, і до нових зустрічей.",
    ),
    "el": ScriptTemplate(
        (
            "Στις επόμενες στιγμές το κοιτάζουμε από κοντά, μία εικόνα τη φορά.",
            "Προσέξτε το φως, την κίνηση και τα μικρά πράγματα που εύκολα ξεφεύγουν.",
            "Κάθε σκηνή προσθέτει ένα κομμάτι, και όλες μαζί λένε την ιστορία.",
            "Κάποια είναι γνώριμα, και κάποια ίσως σας εκπλήξουν.",
            "Κοιτάξτε δύο φορές, και θα δείτε περισσότερα από την πρώτη.",
            "Τι θα μείνει στο τέλος, το αποφασίζετε εσείς.",
            "Υπάρχει ακόμη ένα πράγμα να δούμε πριν αποχαιρετιστούμε.",
        ),
        "Ευχαριστούμε που παρακολουθήσατε, και τα λέμε την επόμενη φορά.",
    ),
    "ar": ScriptTemplate(
        (
            "في اللحظات القادمة ننظر إليه عن قرب، صورة بعد صورة.",
            "انتبه إلى الضوء والحركة والأشياء الصغيرة التي يسهل أن تفوتك.",
            "كل مشهد يضيف جزءا، وكلها معا تروي القصة.",
            "بعضه مألوف، وبعضه قد يفاجئك.",
            "انظر مرتين، وسترى أكثر مما رأيت في البداية.",
            "ما يبقى معك في النهاية أمر تقرره أنت.",
            "هناك شيء آخر نراه قبل أن نفترق.",
        ),
        "شكرا على المشاهدة، وإلى اللقاء.",
    ),
    "hi": ScriptTemplate(
        (
            "अगले कुछ पलों में हम इसे करीब से देखेंगे, एक-एक दृश्य करके।",
            "रोशनी, गति और उन छोटी चीज़ों पर ध्यान दें जो आसानी से छूट जाती हैं।",
            "हर दृश्य एक हिस्सा जोड़ता है, और सब मिलकर कहानी कहते हैं।",
            "इसमें कुछ जाना-पहचाना है, और कुछ शायद आपको चौंका दे।",
            "दोबारा देखिए, और आपको पहली बार से ज़्यादा दिखेगा।",
            "अंत में आपके साथ क्या रहेगा, यह आप तय करते हैं।",
            "विदा लेने से पहले एक और चीज़ देखनी है।",
        ),
        "देखने के लिए धन्यवाद, फिर मिलेंगे।",
        full_stop="।",
    ),
    "ko": ScriptTemplate(
        (
            "이제 한 장면씩 가까이에서 살펴보겠습니다.",
            "빛과 움직임, 그리고 놓치기 쉬운 작은 것들에 주목해 보세요.",
            "장면마다 한 조각씩 더해져 함께 이야기를 들려줍니다.",
            "익숙한 것도 있고, 놀라운 것도 있을 것입니다.",
            "두 번 보면 처음보다 더 많은 것이 보입니다.",
            "마지막에 무엇이 남을지는 여러분에게 달려 있습니다.",
            "헤어지기 전에 볼 것이 하나 더 있습니다.",
        ),
        "시청해 주셔서 감사하고, 다음에 또 만나요.",
    ),
    "zh": ScriptTemplate(
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
        separator="",
        full_stop="。",
    ),
    "ja": ScriptTemplate(
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
        separator="",
        full_stop="。",
    ),
}

FULL_STOPS: Mapping[str, str] = {
    **{language: template.full_stop for language, template in TEMPLATES.items()},
    **dict.fromkeys(("yue", "hak"), "。"),
    **dict.fromkeys(("mr", "ne", "kok", "bn", "as", "bpy", "or", "pa"), "।"),
    **dict.fromkeys(("ur", "sd"), "۔"),
    **dict.fromkeys(("am", "ti"), "።"),
    "hy": "։",
    "my": "။",
}
"""The sign that ends a sentence of a language, where it is not a full stop."""

LANGUAGE_ALIASES: Mapping[str, str] = {"cmn": "zh", "iw": "he", "in": "id"}
"""Language codes that mean the same as another one."""
