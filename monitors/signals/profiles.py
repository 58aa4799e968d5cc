"""What gives a language away: common words, letters of its own, and frequent trigrams.

Word lists are function words, which turn up in any text of a few sentences; trigrams are for
short texts without them. `_` stands for a word boundary.
"""

WORDS: dict[str, str] = {
    "en": "the of and to in is that it for was on are with as you be this have from or by not at "
    "but what all were when we there can an your which their if will how they would has "
    "been who more do about into than could these two may then its our my please should "
    "here i he she his her some any also make write explain give why where know don't i'm "
    "it's does using need want",
    "de": "der die das und ist nicht ich sie es ein eine zu den dem des im mit von für auf auch "
    "sich wie werden wird war als an aus bei oder wir aber nach hat haben kann können einen "
    "einer eines einem nur so noch über um durch vor zum zur wenn was sind sein ihre ihr "
    "ihnen mir mich uns mein meine diese dieser dieses bitte warum wo wer welche schreibe "
    "gibt gut mehr sehr hier man dass doch schon immer heute morgen zwischen sollte unter "
    "kein keine bin bist",
    "fr": "le la les de des du et est un une pour que qui dans en ne pas sur plus par avec ce il "
    "elle je vous nous au aux sont cette ces ou mais comme se sa son ses leur leurs être "
    "été avoir fait tout tous très bien aussi si on mon ma mes votre vos notre comment "
    "pourquoi où quel quelle peut peux c'est n'est j'ai d'un d'une qu'il entre sans ainsi "
    "donc moi ils elles y a été aujourd'hui faire même autre était voici",
    "es": "el la los las de y que en un una es por con no para se del al lo como más pero sus le "
    "ha su este esta son entre cuando muy sin sobre también me hasta hay donde quien desde "
    "todo nos durante todos uno les ni contra otros necesito quiero ayuda dame ese eso ante "
    "ellos e esto mí antes algunos qué unos yo otro cómo está están estoy puede puedo cuál "
    "porque si mi tu usted hacer tiene tengo favor hoy mañana muchas gracias ser fue era "
    "escribe",
    "it": "il lo la i gli le di e che è un una per in con non si da del della dei delle nel nella "
    "al alla ai alle sono come più ma anche ha ho hanno questo questa questi queste quello "
    "dal dalla sul sulla se cosa chi perché quando dove essere stato stata molto tutti "
    "tutto mi ti ci vi suo sua loro io noi tra fra può posso degli agli dopo prima senza "
    "oggi domani sei siamo grazie puoi fare scrivi quale uno l'uomo",
    "pt": "o a os as de e que em um uma é para com não por do da dos das no na nos nas se mais "
    "como mas ao à às foi ser são está estão você eu ele ela eles elas seu sua seus suas "
    "isso isto este esta esse essa muito também já ou quando onde quem porque qual pelo "
    "pela até entre sem sobre depois nós meu minha tem ter há pode posso fazer obrigado "
    "todos todas tudo ainda mesmo hoje amanhã aos num numa favor escreva",
    "nl": "de het een en van is dat die in te zijn op met voor niet aan er om ook als dan maar "
    "bij nog uit naar door over ik je jij hij zij we wij u hun haar mijn zich wat wie waar "
    "hoe waarom welke deze dit was waren wordt worden werd heeft hebben had kan kunnen zou "
    "moet moeten zal geen meer veel of tot onder tegen na al zo alle hier daar vandaag "
    "morgen tussen schrijf omdat graag heel onze jouw uw bent ben me mij",
    "sv": "och att det i en är som på för av med den till inte har de ett om var jag men sig från "
    "vi så kan när år under också efter eller nu vid där hur vad vem varför vilken sin alla "
    "mot ska skulle ut han hon dem då mycket bara in blir bli över mer än upp många din min "
    "här utan mellan ingen något några du mig dig oss er vara varit finns samt sina idag "
    "tack skriv",
    "da": "og at det i en er som på for af med den til ikke har de et om var jeg men sig fra vi "
    "så kan når år under også efter eller nu ved der hvordan hvad hvem hvorfor hvilken sin "
    "alle mod skal skulle ud han hun dem da meget kun bliver blive over mere end op mange "
    "din min her uden mellem ingen noget nogle du mig dig os jer være været findes samt "
    "deres hvis tak skriv denne dette hvor vores",
    "pl": "i w na z do się nie że to jest o jak po co ale od za dla przez przy są był była było "
    "być może czy tak tym tego ten ta te który która które oraz jego jej ich tylko już "
    "jeszcze bardzo gdzie kiedy dlaczego ja ty on ona my wy oni mnie mi ci cię go nas lub "
    "ponieważ przed między bez pod nad można proszę mam masz jestem więc także dzisiaj "
    "jutro dlatego wszystko napisz we ze u",
    "cs": "a v na se je že to s z do o k i ve pro jako ale by od po za jsou byl byla bylo být co "
    "jak které který která tak jen už také nebo si ze při podle jeho její jejich může kde "
    "kdy proč já ty on ona my vy oni mě mi tě ho nás vás ještě velmi mezi bez pod nad před "
    "prosím mám jsem jste jsme není protože tento tato toto než když dnes zítra děkuji "
    "napište",
    "ro": "și de la în a cu pe nu un o care din ce pentru este sunt mai că să se au al ale ai fi "
    "fost ca dar sau după prin între acest această aceste acesta lor lui ei el ea noi voi "
    "eu tu îi le ne îmi te mă cum unde când cine cât foarte tot toate toți doar fără sub "
    "peste dacă poate pot trebuie avea am ați astăzi mâine mulțumesc vă rog este",
    "tr": "ve bir bu da de için ile ne çok mi mı mu mü daha gibi olarak olan en kadar sonra var "
    "yok ben sen o biz siz onlar benim senin onun ama veya ya değil her şey şu nasıl neden "
    "nerede kim hangi ki ise oldu olur olduğu olduğunu göre bütün tüm hem zaman lütfen bana "
    "beni sana bunu şekilde arasında bugün yarın teşekkürler iki üzerinde tarafından çünkü "
    "ancak eden",
    "id": "yang dan di ke dari untuk dengan pada ini itu adalah tidak akan dalam juga oleh atau "
    "sebagai karena bisa dapat ada saya kami kita anda mereka dia ia telah sudah lebih "
    "bahwa seperti jika apa bagaimana mengapa kapan siapa mana lagi sangat semua setiap "
    "antara tentang hanya harus masih belum sedang tersebut secara para satu dua orang "
    "tolong terima kasih hari besok saat namun agar",
    "vi": "và của là có không được trong cho các một với người những này đã để tôi bạn đến khi từ "
    "như về ra vào cũng nhiều thì đó nào gì sẽ tại theo trên nhưng hay hoặc vì sao làm thế "
    "đang phải chúng ta anh chị em rất còn nên bằng hơn ở đi lại sau trước mà cần hãy xin "
    "cảm ơn hôm nay",
    "fi": "ja on ei se että hän oli ovat mutta kun niin kuin joka mitä tämä ne myös voi sen jos "
    "tai vain ole minä sinä me te he kaikki kanssa sekä olla nyt miten missä mikä kuka "
    "miksi ennen jälkeen minun sinun hänen joita jotka heidän",
    "hu": "és az egy hogy nem van is de ha meg már csak volt mint minden ez azt ezt még kell "
    "lehet vagy én te ő mi ti ők nagyon itt ott hol mikor miért hogyan mit ki melyik lesz "
    "vannak sem után előtt között kérem köszönöm ne el majd úgy így",
}
"""Common words by ISO 639-1 code, divided by spaces."""

LETTERS: dict[str, str] = {
    "de": "ßäöü",
    "fr": "çèêëàùûîôœé",
    "es": "ñ¿¡áíóúé",
    "it": "òìùàè",
    "pt": "ãõçâêôáíóú",
    "sv": "åäö",
    "da": "åæø",
    "pl": "łążźśćęńó",
    "cs": "ěščřžýůťďňáí",
    "ro": "șțşţăâî",
    "tr": "ığşçöü",
    "vi": "ơưđạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹăâê",
    "fi": "äö",
    "hu": "őűáéíóöúü",
}
"""Letters beyond a-z that a language writes; those of few languages weigh more."""

TRIGRAMS: dict[str, str] = {
    "en": "_th the he_ ies ies_ ee_ ap cit pea ean ity mak ist_ ing ng_ _an and nd_ _wh igh ght "
    "_sh tio ion ous ly_ ed_ _wi ith hat _wr oul uld ful ess ake ook ick ow_ ay_ ough",
    "de": "en_ er_ ch_ sch ein ich cht ung ng_ gen eit ver _ge _be ten ste lich _zu ühr äch tz_ "
    "keit ier eun auf _un über",
    "fr": "es_ nt_ ent ion que ous our eur ux_ aux eau ait oir ire ais ais_ _qu tre ment ez_ oi_ "
    "uis eux l'a d'a qu' elle ille",
    "es": "os_ as_ ción bra mbr ales les_ mez cl ez_ huev eche ado ada ión ien ar_ er_ es_ _el "
    "nte mos ero dad llo ue_ _qu que ando iendo _ll cio ía_ aba uel",
    "it": "re_ to_ ne_ nca tre_ pee ali_ ee_ ert ugg rto_ col lat zione are ere ato gli che ell "
    "lla tta tto _il del nte ità zio gio ono _è_ ggi cch azz essa one_",
    "pt": "ção ões rês ais_ eia eias ite apit ão_ ado ada os_ as_ ar_ nte que mos dade lho nho "
    "inh ens em_ _do _da ram eir ção_ oss ou_ lh",
    "nl": "en_ een aan eie zoe loe ied oem _me mel elk rie ste ede ij_ het ijk oor ver sch _ge "
    "cht eer oo aar lijk ing ijn gen _ee uit eid den_ ouw ooi aat",
    "sv": "ar_ en_ et_ för och att ing _på _är ner tt_ ska sk_ lig ande igt på_ äll ck_ rna när "
    "tig _st öv",
    "da": "er_ en_ et_ for det ing _på ger ske lig ende hed igt nde ede øre ære af_ eg_ ej_ ejd "
    "_og kke",
    "pl": "nie nia ie_ owa rze prz _pr ych ego _po ści czy sz_ ani ać_ ić_ dzi szy ów_ kie ym_ cie",
    "cs": "ní_ ost pro _př ho_ ých ova ce_ ou_ ém_ kte _po ání ch_ je_ ého ti_ sta ně_ ský ých",
    "ro": "ul_ ea_ lor lui are are_ est _în ii_ tă_ ele eşt ești ilor ei_ ția ului ate ăr_ eşte "
    "cu_",
    "tr": "lar ler an_ in_ eri arı lık ınd ind ir_ nın yor nda nde dır dir ları leri ak_ ek_ iyo "
    "ığı",
    "id": "ang ng_ an_ kan men _me per _pe _di nya ber _be ter kan_ aka _ke ah_ ada gan lah asi",
    "vi": "ng_ nh_ _th _ng _nh _ch _tr _kh ông ong ên_ _đư iệ ượ ườ iế uố ải_ ất_ ày_",
    "fi": "en_ in_ ssa ist sta uks lla ään iin tta aan taa ään_ oik sen_ ksi ttä yy_ ää_ aa_ ii_ "
    "uu_ vat",
    "hu": "ek_ ak_ sze gy_ ogy meg ság ság_ ség lán és_ egy ány ely ott_ nak nek ban ben zab mél "
    "_ki ény tel",
}
"""Frequent parts of words by ISO 639-1 code, divided by spaces; `_` is a word boundary."""
