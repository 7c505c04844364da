"""Folder name -> language: the rule that maps a new folder's episodes to a partition.

langcodes normalizes (BCP 47 parsing, ISO 639-2/3 to 639-1, deprecated codes, macrolanguages): en-US, en_gb and ENG are
`en`, deu is `de`, iw is `he`. Its result is accepted if it is in LANGUAGES, a list fixed in code, because partitions
must not depend on the bucket's content; all else is `unknown`. The plan stores each decision (plan/folders.py), so a
change of this rule moves no folder. As in CLDR, Tagalog (tl) is Filipino (fil) and Serbo-Croatian (sh) is Serbian (sr).
langcodes is imported when a name is no member of LANGUAGES itself, because its tables take as long as a command's rest.
"""

from functools import lru_cache

UNKNOWN = "unknown"

# ISO 639-1, as langcodes canonicalizes it.
_ISO_639_1 = """
aa ab ae af ak am an ar as av ay az ba be bg bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es
et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj
kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr
nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th
ti tk tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu
""".split()

# Codes without a two-letter one that Whisper, FLEURS, Common Voice or MMS use for speech.
_ISO_639_3 = """
ast bas bem brx ceb chr ckb cnh doi dyu fil fon gsw haw hsb kab kam kea kmr kok lij ltg luo mai mdf mhr mni mos mrj
myv nan nso sah sat skr tig tok tpi umb vot war yue zgh
""".split()

LANGUAGES: tuple[str, ...] = (*sorted((*_ISO_639_1, *_ISO_639_3)), UNKNOWN)
_KNOWN = frozenset(LANGUAGES) - {UNKNOWN}


@lru_cache(maxsize=4096)
def normalize(tag: str) -> str:
    """Return the member of LANGUAGES for a folder name or a segment's language field, else UNKNOWN."""
    if (tag := tag.strip()) in _KNOWN:
        return tag
    from langcodes import Language, standardize_tag

    try:
        base = Language.get(tag).language or ""
        if base not in _KNOWN:
            base = standardize_tag(base, macro=True).split("-")[0] if base else ""
    except ValueError:  # a LanguageTagError is one
        return UNKNOWN
    return base if base in _KNOWN else UNKNOWN
