"""What the demo asks: everyday English first, then longer French and German."""

ENGLISH = (
    "What is the capital of Italy?",
    "Name three fruits that are red.",
    "How do I boil an egg?",
    "Why is the sky blue?",
    "What is a good name for a small dog?",
    "How many days are there in a week?",
    "Give me a synonym for happy.",
    "What should I cook for dinner tonight?",
    "Who wrote Romeo and Juliet?",
    "What is the largest ocean on Earth?",
    "How do plants make their food?",
    "Tell me a short joke about cats.",
    "What colour do you get from blue and yellow?",
    "How can I sleep better at night?",
    "What does the word brave mean?",
    "Which planet is closest to the sun?",
    "How do I tie a simple knot?",
    "What is the boiling point of water?",
    "What is a good hobby for rainy days?",
    "Why do birds fly south in winter?",
    "What is two plus seven?",
    "How do I write a thank you note?",
    "What animals live in the desert?",
    "Give me one tip for learning to cook.",
    "What is the opposite of cold?",
    "How does a bicycle stay upright?",
    "What is your favourite season and why?",
    "What is the name of a country in South America?",
    "How long does it take to bake bread?",
    "What do bees make?",
    "Why do we need to drink water?",
    "Give me a title for a story about a ship.",
    "What is a triangle?",
    "How do I remove a coffee stain?",
    "What is the tallest animal in the world?",
    "How can I be more patient?",
    "What is the main ingredient of cheese?",
    "Which month comes after June?",
    "Why does the moon change its shape?",
    "What can I plant in a small garden?",
    "How do I start a conversation with a stranger?",
    "What is the fastest land animal?",
    "Give me an idea for a birthday gift.",
    "What does a doctor do all day?",
    "How do I keep my plants alive?",
    "What is the difference between a lake and a river?",
)
"""Short questions, one sentence each."""

SHIFTED = (
    (
        "Pouvez-vous m'expliquer en quelques phrases comment préparer une soupe de légumes pour"
        " une famille de quatre personnes avec ce qui reste dans la cuisine ?"
    ),
    (
        "Je voudrais visiter Paris au printemps avec mes enfants ; quels musées et quels"
        " jardins nous conseillez-vous pour une semaine tranquille ?"
    ),
    (
        "Ma commande n'est pas encore arrivée et personne ne répond au téléphone ; que dois-je"
        " faire pour être remboursé avant la fin du mois ?"
    ),
    (
        "Pourquoi les feuilles des arbres changent-elles de couleur à l'automne, et pourquoi"
        " tombent-elles ensuite quand les nuits deviennent froides ?"
    ),
    (
        "Écrivez une lettre courte et polie à mon voisin pour lui demander de baisser la"
        " musique le soir parce que ma fille doit dormir."
    ),
    (
        "Quels sont les avantages et les inconvénients d'une voiture électrique pour quelqu'un"
        " qui habite à la campagne et qui roule beaucoup ?"
    ),
    (
        "Comment puis-je apprendre à jouer de la guitare sans professeur si je n'ai que vingt"
        " minutes par jour après le travail ?"
    ),
    (
        "Donnez-moi trois idées de repas simples et bon marché pour une semaine où je rentre"
        " tard et où il fait très chaud."
    ),
    (
        "Meine Bestellung ist noch nicht angekommen, und ich möchte gern wissen, wann ich mit"
        " der Lieferung rechnen kann und wer mir helfen wird."
    ),
    (
        "Bitte erkläre mir in einfachen Worten, warum der Himmel am Abend rot wird und am Tag"
        " blau ist, damit meine Kinder es verstehen."
    ),
    (
        "Wir wollen im Sommer mit dem Fahrrad durch die Berge fahren; welche Strecke ist für"
        " eine Familie mit kleinen Kindern nicht zu schwer?"
    ),
    (
        "Welche Unterlagen brauche ich, wenn ich in einer neuen Stadt eine Wohnung mieten und"
        " mich danach bei der Behörde anmelden möchte?"
    ),
    (
        "Schreibe bitte eine freundliche Nachricht an meine Kollegin, weil sie mir gestern bei"
        " der schwierigen Aufgabe so sehr geholfen hat."
    ),
    (
        "Was kann ich tun, damit meine Pflanzen auf dem Balkon den Winter überleben, wenn es"
        " draußen sehr kalt und windig ist?"
    ),
    (
        "Warum ist es wichtig, dass man jeden Tag genug Wasser trinkt, und wie viel sollte ein"
        " erwachsener Mensch ungefähr trinken?"
    ),
    (
        "Ich suche ein gutes Buch über die Geschichte der Eisenbahn, das nicht zu lang ist und"
        " das man auch ohne Vorwissen lesen kann."
    ),
)
"""Requests some five times as long, half in French and half in German."""
