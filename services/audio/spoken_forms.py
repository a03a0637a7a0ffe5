"""Spoken forms: the words that a language speaks for units, currencies, months, abbreviations and ordinal numbers.

espeak-ng reads whole numbers and decimals in all of its languages. Here stands what it reads wrong, measured with
version 1.52 in each language: `5 km` by its letters, `$5` as `dollar five`, `3.10.2026` as `three point ten`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class SpokenForms:
    """The words of a language. Plural forms stand in one text, separated by `|`: one, other, or one, few, many."""

    months: Sequence[str]
    date: str
    """How a date is spoken, with `{day}`, `{month}` and `{year}`."""
    units: Mapping[str, str]
    currencies: Mapping[str, str]
    """By sign, the forms of the unit, then after a slash those of its hundredth; without it: no word is spoken."""
    cents: str
    """What is spoken between the units and the hundredths of an amount: `and`."""
    number: str
    """The word for `No.` before a number."""
    abbreviations: Mapping[str, str]
    decimal: str = ","
    magnitudes: Sequence[str] = ()
    """Words such as `million`, which stand between an amount and its currency."""
    ordinals: Sequence[str] = ()
    """The ordinal numbers from 1 on, of rulers and centuries; greater numbers are cardinal."""
    feminine_ordinals: Sequence[str] = ()
    """Those of queens; empty: as those of kings."""
    day_ordinals: Sequence[str] = ()
    """Those of days in a date; empty: cardinal numbers."""
    month_first: bool = False
    """Whether 10/3/2026 is in October."""
    ruler: str = "{number}"
    """How the number of a ruler is spoken: `the {number}`; empty: espeak-ng reads Roman numbers as ordinals."""
    queen: str = ""
    """How that of a queen is spoken; empty: as that of a king."""
    century: Sequence[str] = ()
    """The words beside the Roman number of a century."""
    year_words: Sequence[str] = ()
    """The words before a year; after others, four digits are a number."""
    hundreds: Mapping[str, str] = field(default_factory=dict)
    """What is spoken for the first two digits of a year; empty: years are spoken as numbers."""


def _words(text: str) -> list[str]:
    return text.split()


def _pairs(text: str) -> dict[str, str]:
    """Read `km=kilometer|kilometers` entries, one in each line or separated by a semicolon."""
    entries = (entry.strip() for line in text.strip().splitlines() for entry in line.split(";"))
    return dict(entry.split("=", 1) for entry in entries if entry)


def _tens(units: str, teens: str, twenty: str, thirty: str, joined: str) -> tuple[str, ...]:
    """The ordinals from 1 to 31, from those of 1 to 9, of 10 to 19, of 20 and 30, and the form of all others."""
    ones = units.split()
    compound = [joined.format(ten=twenty, one=one) for one in ones]
    return (*ones, *teens.split(), twenty, *compound, thirty, joined.format(ten=thirty, one=ones[0]))


_GERMAN_ONES = "ein zwei drei vier fünf sechs sieben acht neun"
_GERMAN = (
    *_words("erste zweite dritte vierte fünfte sechste siebte achte neunte zehnte elfte zwölfte"),
    *(f"{stem}zehnte" for stem in _words("drei vier fünf sech sieb acht neun")),
    "zwanzigste",
    *(f"{one}undzwanzigste" for one in _words(_GERMAN_ONES)),
    "dreißigste",
    "einunddreißigste",
)
_GERMAN_HUNDREDS = _words("elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn achtzehn neunzehn")
_DUTCH_ONES = "een twee drie vier vijf zes zeven acht negen"
_DUTCH = (
    *_words("eerste tweede derde vierde vijfde zesde zevende achtste negende tiende elfde twaalfde dertiende"),
    *_words("veertiende vijftiende zestiende zeventiende achttiende negentiende twintigste"),
    *(f"{one}{'ën' if one[-1] == 'e' else 'en'}twintigste" for one in _words(_DUTCH_ONES)),
    "dertigste",
    "eenendertigste",
)
FRENCH_ORDINALS = (
    *_words("premier deuxième troisième quatrième cinquième sixième septième huitième neuvième dixième onzième"),
    *_words("douzième treizième quatorzième quinzième seizième dix-septième dix-huitième dix-neuvième vingtième"),
    "vingt-et-unième",
    *(f"vingt-{o}" for o in _words("deuxième troisième quatrième cinquième sixième septième huitième neuvième")),
    "trentième",
    "trente-et-unième",
)
_POLISH = _tens(
    "pierwszy drugi trzeci czwarty piąty szósty siódmy ósmy dziewiąty",
    "dziesiąty jedenasty dwunasty trzynasty czternasty piętnasty szesnasty siedemnasty osiemnasty dziewiętnasty",
    "dwudziesty",
    "trzydziesty",
    "{ten} {one}",
)
_RUSSIAN = (
    *_words("первый второй третий четвёртый пятый шестой седьмой восьмой девятый десятый одиннадцатый"),
    *_words("двенадцатый тринадцатый четырнадцатый пятнадцатый шестнадцатый семнадцатый восемнадцатый"),
    *("девятнадцатый", "двадцатый"),
    *(f"двадцать {o}" for o in _words("первый второй третий четвёртый пятый шестой седьмой восьмой девятый")),
    *("тридцатый", "тридцать первый"),
)
_TURKISH = _tens(
    "birinci ikinci üçüncü dördüncü beşinci altıncı yedinci sekizinci dokuzuncu",
    "onuncu onbirinci onikinci onüçüncü ondördüncü onbeşinci onaltıncı onyedinci onsekizinci ondokuzuncu",
    "yirminci",
    "otuzuncu",
    "yirmi {one}",
)
_SPANISH = _words("primero segundo tercero cuarto quinto sexto séptimo octavo noveno décimo")
_PORTUGUESE = _words("primeiro segundo terceiro quarto quinto sexto sétimo oitavo nono décimo")


def _end(words: Sequence[str], *changes: tuple[str, str]) -> tuple[str, ...]:
    """The words with another ending of each part: the first change whose old ending fits."""

    def change(part: str) -> str:
        fitting = ((old, new) for old, new in changes if part.endswith(old))
        return next((part.removesuffix(old) + new for old, new in fitting), part)

    return tuple(" ".join(map(change, word.split())) for word in words)


_ENGLISH_SUFFIXES = {1: "st", 2: "nd", 3: "rd"}
_ENGLISH_ORDINALS = [f"{n}{'th' if 10 < n < 14 else _ENGLISH_SUFFIXES.get(n % 10, 'th')}" for n in range(1, 32)]
_ENGLISH = SpokenForms(
    months=_words("January February March April May June July August September October November December"),
    date="{month} {day} {year}",
    units=_pairs("""
        km=kilometer|kilometers; m=meter|meters; cm=centimeter|centimeters; mm=millimeter|millimeters
        ft=foot|feet; mi=mile|miles; kg=kilogram|kilograms; g=gram|grams; mg=milligram|milligrams; lb=pound|pounds
        lbs=pound|pounds; oz=ounce|ounces; l=liter|liters; ml=milliliter|milliliters; °C=degree Celsius|degrees Celsius
        °F=degree Fahrenheit|degrees Fahrenheit; km/h=kilometer per hour|kilometers per hour
        mph=mile per hour|miles per hour; m/s=meter per second|meters per second; m²=square meter|square meters
        km²=square kilometer|square kilometers; m³=cubic meter|cubic meters; kB=kilobyte|kilobytes
        MB=megabyte|megabytes; GB=gigabyte|gigabytes; TB=terabyte|terabytes; kW=kilowatt|kilowatts
        kWh=kilowatt hour|kilowatt hours; MW=megawatt|megawatts; GHz=gigahertz|gigahertz; MHz=megahertz|megahertz
        h=hour|hours; min=minute|minutes; ms=millisecond|milliseconds
    """),
    currencies=_pairs("$=dollar|dollars/cent|cents; €=euro|euros/cent|cents; £=pound|pounds/penny|pence; ¥=yen|yen;"
                      "₹=rupee|rupees/paisa|paise"),
    cents="and",
    number="number",
    abbreviations=_pairs("e.g.=for example; i.e.=that is; vs.=versus; etc.=et cetera; approx.=approximately;"
                         "Prof.=Professor; Jr.=Junior; Sr.=Senior; Gen.=General; Capt.=Captain; Ave.=Avenue"),
    decimal=".",
    magnitudes=("thousand", "million", "billion", "trillion"),
    ordinals=_ENGLISH_ORDINALS,
    day_ordinals=_ENGLISH_ORDINALS,
    ruler="the {number}",
    month_first=True,
    year_words=_words("in since of by until till from to year before after around early late mid and circa between"),
    hundreds={str(n): str(n) for n in (*range(11, 20), 20)},
)  # fmt: skip

FORMS: Mapping[str, SpokenForms] = {
    "en": _ENGLISH,
    "de": SpokenForms(
        months=_words("Januar Februar März April Mai Juni Juli August September Oktober November Dezember"),
        date="{day} {month} {year}",
        units=_pairs("""
            km=Kilometer|Kilometer; m=Meter|Meter; cm=Zentimeter|Zentimeter; mm=Millimeter|Millimeter
            kg=Kilogramm|Kilogramm; g=Gramm|Gramm; mg=Milligramm|Milligramm; t=Tonne|Tonnen; l=Liter|Liter
            ml=Milliliter|Milliliter; °C=Grad Celsius|Grad Celsius; km/h=Kilometer pro Stunde|Kilometer pro Stunde
            m/s=Meter pro Sekunde|Meter pro Sekunde; m²=Quadratmeter|Quadratmeter; km²=Quadratkilometer|Quadratkilometer
            m³=Kubikmeter|Kubikmeter; MB=Megabyte|Megabyte; GB=Gigabyte|Gigabyte; TB=Terabyte|Terabyte
            kW=Kilowatt|Kilowatt; kWh=Kilowattstunde|Kilowattstunden; GHz=Gigahertz|Gigahertz; h=Stunde|Stunden
            min=Minute|Minuten
        """),
        currencies=_pairs("$=Dollar|Dollar; €=Euro|Euro; £=Pfund|Pfund; ¥=Yen|Yen"),
        cents="",
        number="Nummer",
        abbreviations=_pairs("""
            Dr.=Doktor; Prof.=Professor; z. B.=zum Beispiel; z.B.=zum Beispiel; d. h.=das heißt; d.h.=das heißt
            u. a.=unter anderem; u.a.=unter anderem; usw.=und so weiter; bzw.=beziehungsweise; ca.=circa
            evtl.=eventuell
            ggf.=gegebenenfalls; inkl.=inklusive; Mio.=Millionen; Mrd.=Milliarden; Tsd.=Tausend; St.=Sankt; Hr.=Herr
            Fr.=Frau; Str.=Straße; vgl.=vergleiche; o. ä.=oder ähnlich; sog.=sogenannt
        """),
        magnitudes=("Tausend", "Million", "Millionen", "Milliarde", "Milliarden", "Mio.", "Mrd."),
        ordinals=[word.capitalize() for word in _GERMAN],
        day_ordinals=[f"{word}r" for word in _GERMAN],
        ruler="der {number}",
        queen="die {number}",
        year_words=_words("in im Jahr Jahre Jahren seit von bis um ab vor nach und anno"),
        hundreds={str(n): f"{word}hundert" for n, word in enumerate(_GERMAN_HUNDREDS, 11)},
    ),
    "fr": SpokenForms(
        months=_words("janvier février mars avril mai juin juillet août septembre octobre novembre décembre"),
        date="{day} {month} {year}",
        units=_pairs("""
            km/h=kilomètre par heure|kilomètres par heure; °C=degré Celsius|degrés Celsius; m=mètre|mètres
            cm=centimètre|centimètres; mm=millimètre|millimètres; g=gramme|grammes; l=litre|litres
            m²=mètre carré|mètres carrés; km²=kilomètre carré|kilomètres carrés; Go=gigaoctet|gigaoctets
            Mo=mégaoctet|mégaoctets; kWh=kilowattheure|kilowattheures; h=heure|heures; min=minute|minutes
            km=kilomètre|kilomètres; kg=kilogramme|kilogrammes
        """),
        currencies=_pairs("$=dollar|dollars; €=euro|euros; £=livre|livres; ¥=yen|yens"),
        cents="",
        number="numéro",
        abbreviations=_pairs("M.=Monsieur; MM.=Messieurs; Mlle=Mademoiselle; Pr=Professeur; p. ex.=par exemple;"
                             "c.-à-d.=c'est-à-dire; env.=environ; St=Saint; Ste=Sainte"),
        magnitudes=("mille", "million", "millions", "milliard", "milliards"),
        ordinals=("premier", *(str(n) for n in range(2, 32))),
        feminine_ordinals=("première", *(str(n) for n in range(2, 32))),
        day_ordinals=("premier", *(str(n) for n in range(2, 32))),
        century=("siècle", "siècles"),
    ),
    "es": SpokenForms(
        months=_words("enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"),
        date="{day} de {month} de {year}",
        units=_pairs("""
            km=kilómetro|kilómetros; m=metro|metros; cm=centímetro|centímetros; mm=milímetro|milímetros
            kg=kilogramo|kilogramos; g=gramo|gramos; l=litro|litros; ml=mililitro|mililitros
            km/h=kilómetro por hora|kilómetros por hora; °C=grado Celsius|grados Celsius
            m²=metro cuadrado|metros cuadrados
            km²=kilómetro cuadrado|kilómetros cuadrados; GB=gigabyte|gigabytes; MB=megabyte|megabytes; h=hora|horas
            min=minuto|minutos
        """),
        currencies=_pairs("$=dólar|dólares; €=euro|euros; £=libra|libras; ¥=yen|yenes"),
        cents="con",
        number="número",
        abbreviations=_pairs("p. ej.=por ejemplo; p.ej.=por ejemplo; etc.=etcétera; Dra.=Doctora; Ud.=usted;"
                             "Uds.=ustedes; EE. UU.=Estados Unidos; aprox.=aproximadamente"),
        magnitudes=("mil", "millón", "millones"),
        ordinals=_SPANISH,
        feminine_ordinals=_end(_SPANISH, ("o", "a")),
    ),
    "it": SpokenForms(
        months=_words("gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre"),
        date="{day} {month} {year}",
        units=_pairs("""
            km=chilometro|chilometri; m=metro|metri; cm=centimetro|centimetri; mm=millimetro|millimetri
            kg=chilogrammo|chilogrammi; g=grammo|grammi; l=litro|litri; km/h=chilometro all'ora|chilometri all'ora
            °C=grado Celsius|gradi Celsius; m²=metro quadrato|metri quadrati
            km²=chilometro quadrato|chilometri quadrati
            GB=gigabyte|gigabyte; MB=megabyte|megabyte; h=ora|ore; min=minuto|minuti
        """),
        currencies=_pairs("$=dollaro|dollari; €=euro|euro; £=sterlina|sterline; ¥=yen|yen"),
        cents="e",
        number="numero",
        abbreviations=_pairs("Dott.=Dottor; Dr.=Dottor; Prof.=Professor; Sig.=Signor; Sig.ra=Signora; ecc.=eccetera;"
                             "es.=esempio; ca.=circa"),
        ruler="",
        magnitudes=("mila", "milione", "milioni", "miliardo", "miliardi"),
    ),
    "pt": SpokenForms(
        months=_words("janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro"),
        date="{day} de {month} de {year}",
        units=_pairs("""
            km=quilômetro|quilômetros; m=metro|metros; cm=centímetro|centímetros; mm=milímetro|milímetros
            kg=quilograma|quilogramas; g=grama|gramas; l=litro|litros; km/h=quilômetro por hora|quilômetros por hora
            °C=grau Celsius|graus Celsius; m²=metro quadrado|metros quadrados
            km²=quilômetro quadrado|quilômetros quadrados
            GB=gigabyte|gigabytes; MB=megabyte|megabytes; h=hora|horas; min=minuto|minutos
        """),
        currencies=_pairs("R$=real|reais; $=dólar|dólares; €=euro|euros; £=libra|libras; ¥=iene|ienes"),
        cents="e",
        number="número",
        abbreviations=_pairs("Sr.=Senhor; Sra.=Senhora; Dr.=Doutor; Dra.=Doutora; etc.=etcétera; p. ex.=por exemplo;"
                             "aprox.=aproximadamente"),
        magnitudes=("mil", "milhão", "milhões", "bilhão", "bilhões"),
        ordinals=_PORTUGUESE,
        feminine_ordinals=_end(_PORTUGUESE, ("o", "a")),
    ),
    "nl": SpokenForms(
        months=_words("januari februari maart april mei juni juli augustus september oktober november december"),
        date="{day} {month} {year}",
        units=_pairs("""
            km=kilometer|kilometer; m=meter|meter; cm=centimeter|centimeter; mm=millimeter|millimeter
            kg=kilogram|kilogram; g=gram|gram; l=liter|liter; km/h=kilometer per uur|kilometer per uur
            °C=graad Celsius|graden Celsius; m²=vierkante meter|vierkante meter
            km²=vierkante kilometer|vierkante kilometer
            GB=gigabyte|gigabyte; MB=megabyte|megabyte; min=minuut|minuten
        """),
        currencies=_pairs("$=dollar|dollar; €=euro|euro; £=pond|pond; ¥=yen|yen"),
        cents="",
        number="nummer",
        abbreviations=_pairs("dr.=dokter; Dr.=Dokter; prof.=professor; bijv.=bijvoorbeeld; enz.=enzovoort; ca.=circa;"
                             "d.w.z.=dat wil zeggen; o.a.=onder andere; dhr.=de heer; mevr.=mevrouw"),
        magnitudes=("duizend", "miljoen", "miljard"),
        ordinals=_DUTCH,
        ruler="de {number}",
        year_words=_words("in sinds van tot jaar rond voor na en"),
        hundreds={str(n): str(n) for n in range(11, 20)},
    ),
    "pl": SpokenForms(
        months=_words(
            "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia"
        ),
        date="{day} {month} {year}",
        units=_pairs("""
            km=kilometr|kilometry|kilometrów; m=metr|metry|metrów; cm=centymetr|centymetry|centymetrów
            mm=milimetr|milimetry|milimetrów; kg=kilogram|kilogramy|kilogramów; g=gram|gramy|gramów; l=litr|litry|litrów
            km/h=kilometr na godzinę|kilometry na godzinę|kilometrów na godzinę
            °C=stopień Celsjusza|stopnie Celsjusza|stopni Celsjusza
            m²=metr kwadratowy|metry kwadratowe|metrów kwadratowych
            GB=gigabajt|gigabajty|gigabajtów; MB=megabajt|megabajty|megabajtów
        """),
        currencies=_pairs("zł=złoty|złote|złotych/grosz|grosze|groszy; $=dolar|dolary|dolarów; €=euro|euro|euro;"
                          "£=funt|funty|funtów"),
        cents="",
        number="numer",
        abbreviations=_pairs("np.=na przykład; itd.=i tak dalej; m.in.=między innymi; tzn.=to znaczy; ok.=około;"
                             "prof.=profesor; św.=święty; ul.=ulica"),
        magnitudes=("tysiąc", "tysiące", "tysięcy", "milion", "miliony", "milionów"),
        ordinals=_POLISH,
        feminine_ordinals=_end(_POLISH, ("ci", "cia"), ("gi", "ga"), ("y", "a")),
        day_ordinals=_end(_POLISH, ("i", "iego"), ("y", "ego")),
        century=("wiek", "wieku"),
    ),
    "ru": SpokenForms(
        months=_words("января февраля марта апреля мая июня июля августа сентября октября ноября декабря"),
        date="{day} {month} {year} года",
        units=_pairs("""
            км=километр|километра|километров; м=метр|метра|метров; см=сантиметр|сантиметра|сантиметров
            мм=миллиметр|миллиметра|миллиметров; кг=килограмм|килограмма|килограммов; г=грамм|грамма|граммов
            л=литр|литра|литров; км/ч=километр в час|километра в час|километров в час
            °C=градус Цельсия|градуса Цельсия|градусов Цельсия; °С=градус Цельсия|градуса Цельсия|градусов Цельсия
            км²=квадратный километр|квадратных километра|квадратных километров
            м²=квадратный метр|квадратных метра|квадратных метров; ГБ=гигабайт|гигабайта|гигабайтов
            МБ=мегабайт|мегабайта|мегабайтов; мин=минута|минуты|минут
        """),
        currencies=_pairs("₽=рубль|рубля|рублей/копейка|копейки|копеек; $=доллар|доллара|долларов/цент|цента|центов;"
                          "€=евро|евро|евро/цент|цента|центов; £=фунт|фунта|фунтов"),
        cents="",
        number="номер",
        abbreviations=_pairs("т. д.=так далее; т.д.=так далее; т. е.=то есть; т.е.=то есть; т. к.=так как;"
                             "д-р=доктор; г.=год; гг.=годы; др.=другие; руб.=рублей; млн=миллионов; млрд=миллиардов"),
        magnitudes=("тысяч", "миллион", "миллиона", "миллионов", "млн", "миллиард", "миллиардов", "млрд"),
        ordinals=_RUSSIAN,
        feminine_ordinals=_end(_RUSSIAN, ("ретий", "ретья"), ("ый", "ая"), ("ой", "ая")),
        day_ordinals=_end(_RUSSIAN, ("ретий", "ретье"), ("ый", "ое"), ("ой", "ое")),
        century=("век", "века", "веке"),
    ),
    "tr": SpokenForms(
        months=_words("Ocak Şubat Mart Nisan Mayıs Haziran Temmuz Ağustos Eylül Ekim Kasım Aralık"),
        date="{day} {month} {year}",
        units=_pairs("""
            km=kilometre|kilometre; m=metre|metre; cm=santimetre|santimetre; mm=milimetre|milimetre
            kg=kilogram|kilogram
            g=gram|gram; l=litre|litre; km/sa=kilometre saat|kilometre saat; °C=santigrat derece|santigrat derece
            m²=metrekare|metrekare; GB=gigabayt|gigabayt; MB=megabayt|megabayt; dk=dakika|dakika
        """),
        currencies=_pairs("₺=lira|lira/kuruş|kuruş; $=dolar|dolar; €=avro|avro; £=sterlin|sterlin"),
        cents="",
        number="numara",
        abbreviations=_pairs("Dr.=Doktor; Prof.=Profesör; vb.=ve benzeri; vs.=vesaire; örn.=örneğin; yy.=yüzyıl"),
        magnitudes=("bin", "milyon", "milyar"),
        ordinals=_TURKISH,
    ),
    "hi": SpokenForms(
        months=_words("जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर"),
        date="{day} {month} {year}",
        units=_pairs("""
            km=किलोमीटर|किलोमीटर; किमी=किलोमीटर|किलोमीटर; m=मीटर|मीटर; cm=सेंटीमीटर|सेंटीमीटर; kg=किलोग्राम|किलोग्राम
            किग्रा=किलोग्राम|किलोग्राम; g=ग्राम|ग्राम; l=लीटर|लीटर; °C=डिग्री सेल्सियस|डिग्री सेल्सियस
            km/h=किलोमीटर प्रति घंटा|किलोमीटर प्रति घंटा; GB=गीगाबाइट|गीगाबाइट
        """),
        currencies=_pairs("₹=रुपया|रुपये/पैसा|पैसे; $=डॉलर|डॉलर; €=यूरो|यूरो; £=पाउंड|पाउंड"),
        cents="",
        number="नंबर",
        abbreviations=_pairs("डॉ.=डॉक्टर; प्रो.=प्रोफ़ेसर"),
        decimal=".",
        magnitudes=("हज़ार", "लाख", "करोड़"),
    ),
}  # fmt: skip

# The rulers whose Roman numbers are ordinals, as their names are written in the languages above.
KINGS = frozenset(
    _words("""
    Louis Ludwig Luis Luigi Luís Lodewijk Ludwik Людовик Henry Heinrich Henri Enrique Enrico Henrique Hendrik Henryk
    Генрих Charles Karl Carlos Carlo Karel Karol Карл George Georg Georges Jorge Giorgio Joris Jerzy Георг William
    Wilhelm Guillaume Guillermo Guglielmo Guilherme Willem Вильгельм James Jakob Jacques Edward Eduard Édouard Eduardo
    Richard Ricardo Riccardo Ryszard Philip Philipp Philippe Felipe Filippo Filipe Filips Filip Филипп Friedrich
    Frederick Frédéric Federico Frederico Frederik Fryderyk Фридрих Alexander Alexandre Alejandro Alessandro Aleksander
    Александр Nicholas Nikolaus Nicolas Николай Peter Pierre Pedro Pietro Piotr Пётр Петр Ivan Иван Pius Pie Pío Pio
    John Johannes Jean Juan Giovanni João Jan Paul Pablo Paolo Paulo Paweł Павел Benedict Benedikt Benoît Benedicto
    Benedetto Gregory Gregor Innocent Innozenz Napoleon Napoléon Napoleón Napoleone Наполеон Ramses Ramesses Leo Leopold
    Otto Alfonso Afonso Francis Franz Francisco Francesco François Zygmunt Stanisław Mehmed Murad Süleyman Mehmet
""")
)
QUEENS = frozenset(
    _words("""
    Elizabeth Elisabeth Élisabeth Isabel Elisabetta Elżbieta Елизавета Catherine Katharina Catalina Caterina Catarina
    Katarzyna Екатерина Mary Maria Margaret Margarethe Margrethe Victoria Wilhelmina Beatrix Cleopatra Kleopatra
""")
)
