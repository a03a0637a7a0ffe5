"""Stop words: the commonest words of each language. They carry no subject, and they identify the language."""

from __future__ import annotations

from collections.abc import Mapping

STOP_WORDS: Mapping[str, frozenset[str]] = {
    language: frozenset(words.split())
    for language, words in {
        "en": "a about after again all also always am an and another any are around as ask at away back be because "
        "been before being best between both but by came can come could day did do does done down each even ever "
        "every everything few find first for from get give go goes going good got great had has have he her here "
        "him his how however i if in into is it its just keep know last less let like little long look made make "
        "makes many may me more most much must my near never new next no not nothing now of off often on once one "
        "only or other our out over own part people perhaps quite rather really same see seen she should since so "
        "some something sometimes soon still such take tell than thank thanks that the their them then there these "
        "they thing things this those though through to today together too two under until up upon us use very was "
        "watching way we well went were what when where which while who why will with within without would yes yet "
        "you your top",
        "de": "aber alle allem allen aller alles als also am an andere anderen auch auf aus bei beim bin bis bist "
        "da dabei dafür damit danach dann daran darauf das dass davon dazu dein deine dem den denn der des dich "
        "die dies diese diesem diesen dieser dieses dir doch dort du durch ein eine einem einen einer eines "
        "einfach einmal er es etwas euch euer für ganz gegen geht gibt gut hat haben hatte hier hin hinter ich ihm "
        "ihn ihnen ihr ihre ihrem ihren im immer in ins ist ja jede jedem jeden jeder jedes jetzt kann kein keine "
        "kommt können machen man manche mehr mein meine mich mir mit muss nach nicht nichts noch nun nur ob oder "
        "ohne schon sehr sein seine seinem seinen seit sich sie sieht sind so sondern soll sollte sowie über um "
        "und uns unser unsere unter viel viele vom von vor war waren warum was weil weiter welche wenn wer werden "
        "wie wieder wir wird wo wollen wurde während zu zum zur zwei zwischen",
        "es": "a al algo algunos alguna ante antes así aunque bien cada casi como cómo con contra cosa cosas cual "
        "cuando de del desde después donde dos durante e el él ella ellas ellos en entre era es esa ese eso esta "
        "está están este esto estos estas fue gran ha hace hacer hacia han hasta hay la las le les lo los más me "
        "mejor mi mientras muy mucho muchos nada ni no nos nosotros nuestra nuestro o otra otro otros para pero "
        "poco por porque puede pueden pues que qué quien se sea según ser si sí sin sobre solo son su sus también "
        "tan tanto te tener tiene tienen toda todas todo todos tu tus un una uno unos y ya yo",
        "fr": "a à afin ai ainsi alors après au aucun aujourd'hui aussi autre autres aux avant avec avoir beaucoup "
        "bien c car ce ceci cela celle celui ces cet cette chaque chez chose choses comme comment d dans de depuis "
        "des dès deux donc dont du elle elles en encore entre es est et était être eu fait faire fois il ils j je "
        "jusque l la le les leur leurs lui ma mais mes même mieux moi moins mon n ne ni nos notre nous on ont ou "
        "où par parce pas pendant peu peut peuvent plus pour pourquoi près qu quand que quel quelle quelques qui "
        "quoi s sa sans se sera ses si son sont sous sur t ta te tes toi ton toujours tous tout toute toutes très "
        "tu un une vers voici voir vos votre vous y",
        "it": "a abbiamo ad ai al alla alle allo altra altri altro anche ancora avere c che chi ci ciò come con "
        "cosa cose così cui d da dagli dai dal dalla dalle de degli dei del della delle dello di dopo dove due e è "
        "ed era esserci essere fa fare fino fra già gli ha hanno ho i il in io l la le lei li lo loro lui ma "
        "mentre meglio mi mia mio molto ne nei nel nella nelle nessuno niente no noi non nostra nostro nulla o "
        "ogni ora per perché però più poco poi prima può qual quale quando quanto quello quella questa queste "
        "questi questo qui se sempre senza si sì sia siamo solo sono sopra sotto sta stato su sua sue sui sul "
        "sulla suo te ti tra tu tutta tutte tutti tutto un una uno v vi voi",
        "pt": "a à agora ainda algo alguns antes ao aos após aquele as às assim até bem cada coisa coisas com como "
        "contra da das de dela dele depois desde do dois dos e é ela elas ele eles em enquanto então entre era "
        "essa esse esta está este estes eu foi for grande há isso isto já la lhe mais mas me melhor mesmo meu "
        "minha muito muitos na nada não nas nem no nos nós nossa nosso num numa o onde os ou outra outro outros "
        "para pela pelas pelo pelos por porque pode podem pois pouco qual quando que quem se seja sem sempre ser "
        "seu seus só sobre são sua suas também tem têm ter toda todas todo todos tudo um uma umas uns você vocês",
        "nl": "aan al alle alleen alles als altijd andere ben bij daar dan dat de deze die dit doch doen door dus "
        "een eens en er erg ga geen geweest goed haar had heb hebben heeft hem het hier hij hoe hun iemand iets ik "
        "in is ja je jij jouw jullie kan kunnen maar maken me meer men met mij mijn moet na naar niet niets nog nu "
        "of om omdat ons onze ook op over reeds samen te tegen toch toen tot twee u uit uw van vaak veel voor waar "
        "waarom wanneer want waren was wat we wel welke werd wezen wie wij wil worden wordt zal ze zei zelf zich "
        "zij zijn zo zoals zonder zou",
        "pl": "a aby ale bardzo bez bo być był była było były ci co coś czy dla do dwa gdy gdzie go i ich ile im "
        "inne ja jak jako jest jeszcze jeśli już jego jej każdy kiedy kto która które którego której który lub ma "
        "mają mi mnie moc może można mój my na nad nam nas nasz nic nie niech nim o od ona one oni oraz pod po "
        "ponieważ przed przez przy rok są się skąd sobie swoje ta tak także tam te tego tej ten to tu twój ty tych "
        "tylko tym u w wam was we wie wiele wszystko więc z za ze że żeby",
        "cs": "a aby ale ani asi až bez bude budou by byl byla byli bylo být co což do ho i já jak jako je jeho "
        "její jejich jen ještě jeden jej jemu jenž jestli ji jich jim již jsem jsi jsme jsou jste k kam každý kde "
        "kdo kdy když která které který kteří ku ma máme mají má mezi mi mnoho mně může my na nad nám nás náš ne "
        "nebo než nic není o od ona oni ono pak po pod podle pro proč proto před při s se si svůj svou ta tak také "
        "tam te tedy ten tento to tohle tom toto tu ty u už v vám vás váš ve velmi více však všechno všichni z za "
        "ze že",
        "sv": "alla allt att av bara blev bli blir bra de deras den denna dess dessa det detta dig din dit du där "
        "då efter ej eller en er ett finns från får för före gör ha hade han har henne hennes hon hos hur i icke "
        "in ingen inte är jag ju kan kommer kunde man med mellan men mer mest mig min mitt mot mycket ni nu när "
        "någon något några och om oss på samma sedan sig sin sina sitt ska skulle som så sådan till två under upp "
        "ut utan vad var varför varit varje vara vem vi vid vilken vill över",
        "tr": "acaba ama ancak artık aslında az bana bazı belki ben beni benim beri bile bin bir birçok biri "
        "birkaç biz bize bizi bizim böyle bu buna bunda bundan bunlar bunu bunun çok çünkü da daha de defa değil "
        "diye dolayı en gibi göre hem hep hepsi her hiç için iki ile ilk ise işte kadar kendi ki kim kimse mi mı "
        "mu mü nasıl ne neden nerede niçin niye o olan olarak oldu olduğu olur onlar onu onun orada önce sadece "
        "sen siz sizin sonra şey şimdi şu tüm ve veya ya yani yok zaman",
        "id": "ada adalah agar akan aku anda antara apa apakah atau bagaimana bagi bahwa banyak beberapa begitu "
        "belum bisa bukan dalam dan dapat dari dengan di dia dua hanya harus hingga ini itu jadi jangan jika juga "
        "kalau kami kamu karena ke kepada ketika kita lagi lain lalu lebih maka masih mengapa menjadi mereka "
        "mungkin namun oleh orang pada para paling pernah pun saat saja salah sampai sangat satu saya sebagai "
        "sebelum sebuah secara sedang semua seperti sering serta setelah setiap sudah supaya tanpa tapi telah "
        "tentang terhadap tetapi tidak untuk yang",
        "ru": "а без более больше будет бы был была были было быть в вам вас весь во вот все всего всех вы где да "
        "даже для до его ее её если есть ещё еще же за здесь и из или им их к как какой когда который которые кто "
        "ли лишь между меня мне много может мой мы на над надо нам нас не него нее нет ни них но ну о об один он "
        "она они оно от очень по под после потом потому почему при про раз с сам свой себя сейчас со так также "
        "такой там те тем то тоже только том тот ты у уже хотя чего чем что чтобы эта эти это этого этом этот я",
        "uk": "а або адже але б без би більше був була були було бути в вам вас ваш весь вже ви від він вона вони "
        "воно все всі де для до дуже є ж за завжди з зі і із їх її його й як яка які який якщо кожен коли крім ли "
        "лише між мене мені ми може можна на навіть над нам нас наш не неї немає ні них о от по під після при про "
        "раз сам свій себе та так також там те ти тим тільки то того тож тому той тут у хоча хто це цей ці цього "
        "чи чого чому ще що щоб я",
        "el": "αλλά αν από απο αυτά αυτές αυτή αυτό αυτός αυτού γι για γιατί δεν δύο εγώ εδώ εκεί είμαι είναι "
        "είσαι εμείς ένα ένας έναν εσείς εσύ έτσι έχει έχουν ή η ήταν θα ίδιο κάθε και καλά κάτι κι μας με μέσα "
        "μετά μη μην μια μία μου μπορεί να ναι ο οι όλα όμως όπου όπως όσο ότι όταν ού ούτε πάνω παρά πια πιο πολύ "
        "ποια ποιος που πού πριν προς πως πώς σαν σας σε σου στα στη στην στις στο στον στους τα τη την της τι τις "
        "το τον του τους των ως",
        "ar": "أن إن أنا أنت إلى أو أي إذا إلا أكثر التي الذي الذين اليوم أمام بعد بعض بل بين تحت تلك ثم جدا حتى "
        "حول حيث خلال دون ذلك رغم سوف شيء ضد عبر عليه عليها على عن عند عندما غير فقط فوق في فيه فيها قبل قد كان "
        "كانت كل كلها كما كم كيف لا لأن لقد لكن لم لماذا له لها لو ليس ليست لن ما ماذا مثل مع معا معك من منذ منه "
        "منها نحن نحو هذا هذه هل هم هن هنا هناك هو هي و وقد وكل ولا وما وهو وهي يا يكون يمكن",
        "hi": "अंत अगर अपना अपनी अपने अब आप आपका आपकी आपके आपको इन इस इसका इसकी इसके इसमें इसे उन उनका उनके उस "
        "उसका उसकी उसके उसे एक ऐसा और कई कब कभी कम कर करके करता करते करना करने कहा कहाँ का कि किया किस किसी की कुछ "
        "के को कोई कौन क्या क्यों गया गई गए जब जहाँ जा जाता जाती जाते जाना जो तक तब तरह तो था थी थे दिया दो दोनों "
        "नहीं ना ने पर पहले फिर बहुत बाद भी मगर में मेरा मैं यदि यह यहाँ या ये रहा रही रहे लिए लेकिन वह वहाँ वाला "
        "वाली वाले वे सकता सकते सब सभी साथ से हम हमारे हमें ही हुआ हुई हुए है हैं हो होगा होता होती होते होना",
        "ko": "가장 같은 것 것도 것은 것을 것이 것입니다 곧 그 그것 그녀 그는 그들 그래서 그러나 그런 그리고 까지 "
        "나 나는 내 너 너무 다 다른 다시 대한 더 동안 되는 두 들 등 또 또는 또한 때 때문에 많은 많이 매우 모두 "
        "모든 무엇 바로 뿐 사이 수 아니라 아주 안 않는 않은 어떤 어떻게 언제 여기 여러분 여러분에게 왜 우리 우리는 "
        "위해 이 이것 이런 이렇게 이제 있는 있다 있습니다 있을 자신 잘 저 저는 전 정말 제 조금 좀 중 지금 지난 참 "
        "처음 첫 하나 하는 하지만 한 한다 함께 합니다 항상 해 했다 후",
        "zh": "一 一个 一些 一样 一起 不 不是 与 东西 个 中 为 为什么 为了 也 也许 了 于 今天 他 他们 会 但 但是 "
        "你 你们 使 使用 做 其 其中 再 几 到 刚刚 后 和 哪 哪里 啊 因为 因此 在 多 大 大家 她 好 如何 如果 它 它们 "
        "对 将 将会 小 就 就是 已 已经 并 很 怎么 怎样 我 我们 或 或者 所以 所有 把 接下来 时 时候 是 是否 更 最 "
        "最后 有 有些 来 每 每个 没 没有 然后 现在 甚至 的 看 看到 着 第一 等 给 而 而且 能 自己 虽然 被 让 许多 "
        "该 谁 走 起来 越 跟 还 还有 这 这个 这些 这样 这里 进行 那 那么 那些 都 里 非常 需要",
        "ja": "あの あり ある あれ い いう いつ いつも いる え お および おり か かつて から が き く くる こ こう "
        "ここ こと この これ ご さ さえ さらに し しか しかし した して しまう す すべて する ず せ ぜひ そ そう "
        "そこ そして その それ それから た たい たくさん ただ たち だ だけ だった だろう ち っ つ て で でき "
        "できる です では でも と という とき ところ として とても どう どこ どの どれ な ない なぜ なに など なら "
        "なり なる なん に について には の ので のに は はい ば べき へ ほど ま ます また まだ まで まま み も "
        "もう もっと もの や やはり よ よう より よって ら られ り る れ れる わ を ん 一つ 今日 今 何 後 思う 時 "
        "次 自分 言う 私 私たち 者 見る",
    }.items()
}
"""The stop words of each language (ISO 639-1), in lower case."""
