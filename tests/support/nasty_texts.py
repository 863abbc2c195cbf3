"""Texts on which tokenisers differ: several scripts, cases, spaces and signs."""

from __future__ import annotations

TRAINING_TEXTS = [
    "Great food, nice staff!",
    "awful food & rude staff - a b c",
    "lovely caf\u00e9, na\u00efve r\u00e9sum\u00e9",
    "\ub9db\uc788\ub294 \uc74c\uc2dd \ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8",
    "\u043f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440 \u0401\u043b\u043a\u0430",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8 \u6771\u4eac \u30bf\u30ef\u30fc",
    "el ni\u00f1o comi\u00f3 pi\u00f1ata a\u00f1o",
    "\u0130stanbul B\u0130R \u0131\u015f\u0131k",
    "\U0001f600 emoji \U0001f44d\U0001f3fd fun",
    "the food and the staff of the house",
    "\ufb01ne \u00bd cup \uff14\uff12",
    "x\ty\n\nz  a   great   food",
    "",
]

GREEK_TEXTS = [
    "\u039f\u0394\u039f\u03a3 \u03a3\u03bf\u03c6\u03af\u03b1",
    "\u03bb\u03cc\u03b3\u03bf\u03c2 food",
]

OTHER_TEXTS = [
    "CAF\u00c9 cafe\u0301 caf\u00e9s Caf\u00e9",
    "great a food the staff",
    "great\u3000food\u00a0staff\u200bhouse",
    " \n ",
    "!",
    "B\u0130R \u0130stanbul \u0130\u0130 bi\u0307r",
    "\ud55c\uad6d\uc5b4\ub294 \ub9db\uc788\ub294\u2026\uc74c\uc2dd",
    "\u041f\u0420\u0418\u0412\u0415\u0422, \u041c\u0418\u0420! \u0435\u0308\u043b\u043a\u0430",
    "\u6771\u4eac\u30bf\u30ef\u30fc\u3001\u6771\u4eac \u30bf\u30ef\u30fc",
    "fine 1\u20442 cup 42 a\U0001f600b",
    "\u039b\u039f\u0393\u039f\u03a3. \u039f\u0394\u039f\u03a3_ \u03a3",
    "\u039b\u039f\u0393\u039f\u03a3\u200b\u0391 \u039b\u039f\u0393\u039f\u03a3",
    "state-of-the-art co-op don't NI\u00d1O ni\u00f1o1",
]
