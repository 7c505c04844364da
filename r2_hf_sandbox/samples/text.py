"""Sample transcripts: random words of a short list per language, in many scripts."""

import random

WORDS = {
    "en": "the show today we talk about how people learn and why it matters so much to them in this city right now",
    "de": "heute sprechen wir darüber wie Menschen lernen und warum das für viele größer wird als gedacht natürlich",
    "fr": "aujourd'hui nous parlons de la façon dont on apprend et pourquoi ça compte déjà très fort chez nous là-bas",
    "es": "hoy hablamos de cómo aprende la gente y por qué importa tanto mañana también en esta ciudad pequeña",
    "ru": "сегодня мы говорим о том как люди учатся и почему это так важно для всех нас именно сейчас",
    "sr": "данас говоримо о томе како људи уче и зашто је то толико важно за све нас овде",
    "tr": "bugün insanların nasıl öğrendiğini ve bunun neden önemli olduğunu konuşuyoruz çünkü herkes için değişiyor",
    "id": "hari ini kita bicara tentang bagaimana orang belajar dan mengapa itu penting bagi kita semua di kota ini",
    "he": "היום אנחנו מדברים על איך אנשים לומדים ולמה זה כל כך חשוב לכולנו עכשיו",
    "ar": "اليوم نتحدث عن كيف يتعلم الناس ولماذا هذا مهم جدا لنا جميعا الآن",
    "hi": "आज हम बात करते हैं कि लोग कैसे सीखते हैं और यह हम सब के लिए इतना ज़रूरी क्यों है",
}
UNSPACED = {
    "ja": "今日 は 人 が どう やって 学ぶ の か を 話し ます とても 大切 です から ね この 街 で",
    "zh": "今天 我们 来 聊 人们 怎么 学习 以及 为什么 这 很 重要 对 大家 来说 都 是 一样",
    "yue": "今日 我哋 傾下 啲 人 點樣 學嘢 同埋 點解 咁 重要 呢 個 城市",
}
WORDS_A_SECOND = 2.5


def sentence(language: str, seconds: float, rng: random.Random) -> str:
    """Return a sentence of about `seconds`; English where the language has no list."""
    words = (UNSPACED.get(language) or WORDS.get(language) or WORDS["en"]).split()
    picked = rng.choices(words, k=max(2, round(seconds * WORDS_A_SECOND)))
    if language in UNSPACED:
        return "".join(picked) + "。"
    text = " ".join(picked)
    return f"{text[0].upper()}{text[1:]}{rng.choice('..?!')}"
