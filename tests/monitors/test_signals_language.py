import pytest

from monitors.signals.language import OTHER, language, script_counts

SENTENCES = {
    "en": (
        "All human beings are born free and equal in dignity and rights.",
        "Could you please summarise this article for me in three bullet points?",
        "Paris is the capital of France.",
        "Here is a simple recipe: boil the pasta, then add salt and butter.",
        "Explain quantum computing to a five year old",
        "I can't help with that request.",
        "My order has not arrived yet, what should I do?",
    ),
    "de": (
        "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
        "Bitte fasse diesen Artikel in drei Stichpunkten zusammen.",
        "Paris ist die Hauptstadt von Frankreich.",
        "Meine Bestellung ist noch nicht angekommen, was soll ich tun?",
        "Wie wird das Wetter morgen in Berlin?",
        "Der Vertrag kann mit einer Frist von drei Monaten gekündigt werden.",
    ),
    "fr": (
        "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
        "Paris est la capitale de la France.",
        "Pouvez-vous résumer cet article en trois points ?",
        "Ma commande n'est pas encore arrivée, que dois-je faire ?",
        "Quel temps fera-t-il demain à Lyon ?",
        "Voici une recette simple pour préparer des crêpes.",
    ),
    "es": (
        "Todos los seres humanos nacen libres e iguales en dignidad y derechos.",
        "París es la capital de Francia.",
        "¿Puedes resumir este artículo en tres puntos?",
        "Mi pedido todavía no ha llegado, ¿qué debo hacer?",
        "Necesito ayuda con mi tarea de historia",
        "El cliente puede cancelar el contrato en cualquier momento.",
    ),
    "it": (
        "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti.",
        "Parigi è la capitale della Francia.",
        "Puoi riassumere questo articolo in tre punti?",
        "Il mio ordine non è ancora arrivato, che cosa devo fare?",
        "Come sarà il tempo domani a Roma?",
        "Ecco una ricetta semplice per preparare la pasta.",
    ),
    "pt": (
        "Todos os seres humanos nascem livres e iguais em dignidade e em direitos.",
        "Paris é a capital da França.",
        "Você pode resumir este artigo em três pontos?",
        "Meu pedido ainda não chegou, o que devo fazer?",
        "Como vai estar o tempo amanhã em Lisboa?",
        "O cliente pode cancelar o contrato a qualquer momento.",
    ),
    "nl": (
        "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren.",
        "Parijs is de hoofdstad van Frankrijk.",
        "Kun je dit artikel in drie punten samenvatten?",
        "Mijn bestelling is nog niet aangekomen, wat moet ik doen?",
        "Wat voor weer wordt het morgen in Amsterdam?",
        "Hier is een eenvoudig recept voor pannenkoeken.",
    ),
    "sv": (
        "Alla människor är födda fria och lika i värde och rättigheter.",
        "Min beställning har inte kommit ännu, vad ska jag göra?",
    ),
    "da": (
        "Alle mennesker er født frie og lige i værdighed og rettigheder.",
        "Min bestilling er ikke kommet endnu, hvad skal jeg gøre?",
    ),
    "pl": (
        "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw.",
        "Moje zamówienie jeszcze nie przyszło, co mam zrobić?",
    ),
    "cs": (
        "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv.",
        "Moje objednávka ještě nedorazila, co mám dělat?",
    ),
    "ro": (
        "Toate ființele umane se nasc libere și egale în demnitate și în drepturi.",
        "Comanda mea nu a sosit încă, ce ar trebui să fac?",
    ),
    "tr": (
        "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar.",
        "Siparişim henüz gelmedi, ne yapmam gerekiyor?",
    ),
    "id": (
        "Semua orang dilahirkan merdeka dan mempunyai martabat dan hak-hak yang sama.",
        "Pesanan saya belum sampai, apa yang harus saya lakukan?",
    ),
    "vi": (
        "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
        "Đơn hàng của tôi vẫn chưa đến, tôi phải làm gì?",
    ),
    "ru": (
        "Все люди рождаются свободными и равными в своём достоинстве и правах.",
        "Мой заказ ещё не пришёл, что мне делать?",
        "Париж является столицей Франции.",
    ),
    "uk": ("Всі люди народжуються вільними і рівними у своїй гідності та правах.",),
    "bg": (
        "Всички хора се раждат свободни и равни по достойнство и права, без да се бърза със съда.",
    ),
    "el": ("Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια.",),
    "ar": ("يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق.",),
    "fa": ("تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند، گرچه پیر.",),
    "he": ("כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם.",),
    "zh": (
        "人人生而自由,在尊严和权利上一律平等。",
        "请用三点总结这篇文章。",
        "你可以用 Python 和 JavaScript 来实现。",
    ),
    "ja": (
        "すべての人間は、生まれながらにして自由であり、平等である。",
        "この記事を三点で要約してください。",
    ),
    "ko": ("모든 인간은 태어날 때부터 자유로우며 존엄과 권리에 있어 동등하다.",),
    "hi": ("सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता प्राप्त है।",),
    "th": ("มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",),
}


@pytest.mark.parametrize(
    ("code", "text"), [(code, text) for code, texts in SENTENCES.items() for text in texts]
)
def test_a_sentence_shows_its_language(code: str, text: str) -> None:
    """A real sentence of five words or more is given its own language's code."""
    assert language(text) == code


def test_too_little_text_has_no_language() -> None:
    """A word or two, digits and emoji tell nothing: None, which counts as missing."""
    for text in ("", "ok", "hi there", "42 + 17 = 59", "👍👍👍", "第一"):
        assert language(text) is None


def test_text_of_no_known_language_is_other() -> None:
    """Enough letters that no profile explains are `other`, never a guess."""
    assert language("qxz wvk jjq zzx kqw vvx xqk zwq") == OTHER
    assert language("Բոլոր մարդիկ ծնվում են ազատ ու հավասար") == OTHER


def test_code_blocks_and_links_do_not_count() -> None:
    """A German question about a program stays German."""
    code = "```python\nfor the_item in list_of_items:\n    print(the_item)\n```"
    text = f"Warum gibt dieses Programm nichts aus?\n{code}\nSiehe https://example.com/the/of/and"
    assert language(text) == "de"


def test_only_the_start_is_looked_at() -> None:
    """A text of any length costs the same and is judged by its start."""
    english = "The quick brown fox jumps over the lazy dog because it can. " * 40
    assert language(english + "Das ist nun aber ganz anders. " * 10_000) == "en"


def test_scripts_are_counted_by_letter() -> None:
    """Only letters count, each for its script."""
    assert script_counts("abc де 漢字! 12") == {"latin": 3, "cyrillic": 2, "han": 2}


def test_lone_surrogates_are_survived() -> None:
    """Text that was cut inside an escape is still judged."""
    assert language("\ud800 Как дела, мой друг? Всё хорошо.") == "ru"
