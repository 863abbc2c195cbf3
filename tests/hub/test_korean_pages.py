"""No page in Korean has a word of English that is not code, a name, or the words of somebody else."""
from __future__ import annotations
from support.page_words import texts_of, words_of
from support.hub_scene import scene
from support.hub_server import hub_over
from support.hub_routes import examples, empty
from lading.hub.access import Access
from support.hub_person import KEY
import pytest
KEPT = frozenset(("lading ONNX Runtime Python PSI JSON CSV SQL API SHA UTC MB kB GB ms FILE gRPC Open Inference Protocol").split())

def test_walk(people, tmp_path):
    import collections
    found=collections.Counter(); where={}
    with scene(tmp_path) as (registry, clock), hub_over(registry, Access(KEY), clock=clock) as hub:
        page = people.visit(hub.url, language="ko")
        for address in examples(hub.app):
            page.goto(hub.url+address)
            for t in texts_of(page):
                if t.mark=="" and set(words_of(t.text))-KEPT or t.mark=="en":
                    found[(t.element,t.mark,t.text)]+=1; where.setdefault((t.element,t.mark,t.text),address)
    for k,v in found.most_common(): print(v,k,where[k])
    assert 0
