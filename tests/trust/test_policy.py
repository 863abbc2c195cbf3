"""``trust.toml``: what it says is read strictly, and a slip in it is refused with the word that was meant."""

from __future__ import annotations

import pytest

from lading.errors import InvalidSetting, KeyInvalid
from lading.trust.policy import TrustPolicy
from lading.trust.roles import assignment
from support.signing import policy_file, private_file, public_file

RULE = '[[model]]\nnames = ["*"]\n'


def read(tmp_path, rules: str = "", **options) -> TrustPolicy:
    return TrustPolicy.read(policy_file(tmp_path, rules, **options))


def test_what_a_rule_leaves_out_is_the_careful_choice(tmp_path):
    (rule,) = read(tmp_path, RULE).rules
    assert (rule.allow, rule.signers, rule.roles, rule.attested, rule.max_age_s) == ("none", 1, (), (), None)
    assert [key.name for key in rule.keys] == ["ci", "ann"]


def test_all_of_a_rule_is_read(tmp_path):
    text = (
        '[[model]]\nnames = ["fraud", "credit-*"]\nkeys = ["ci", "ann"]\nsigners = 2\nroles = ["packer", '
        '"approver"]\nallow = "code"\nattested = ["evidence", "https://example.com/bias/v1"]\n'
        "max_age_days = 0.5\n"
    )
    (rule,) = read(tmp_path, text).rules
    assert (rule.names, rule.signers, rule.roles) == (("fraud", "credit-*"), 2, ("packer", "approver"))
    assert rule.attested == ("urn:lading:evidence:v1", "https://example.com/bias/v1")
    assert (rule.allow, rule.max_age_s) == ("code", 43_200.0)


def test_the_first_rule_that_names_a_model_counts_and_without_one_none_does(tmp_path):
    policy = read(tmp_path, '[[model]]\nnames = ["fraud"]\nsigners = 0\n[[model]]\nnames = ["f*"]\n')
    assert policy.rule_for("fraud").signers == 0
    assert policy.rule_for("fish").signers == 1
    assert policy.rule_for("iris") is None
    assert policy.rule_for("FRAUD") is None


def test_the_digest_of_a_policy_covers_its_keys(tmp_path):
    (tmp_path / "ci.pub").write_bytes(public_file("ci").read_bytes())
    path = tmp_path / "trust.toml"
    path.write_text(f'[key.ci]\nfile = "ci.pub"\n{RULE}')
    before = TrustPolicy.read(path).digest
    assert TrustPolicy.read(path).digest == before
    (tmp_path / "ci.pub").write_bytes(public_file("ann").read_bytes())
    assert TrustPolicy.read(path).digest != before


@pytest.mark.parametrize(
    ("rules", "words", "hint"),
    [
        ('[[model]]\nnames = ["*"]\nsigner = 2', "found `signer`", "did you mean `signers`?"),
        ('[[modle]]\nnames = ["*"]', "expected `key`, `model`, found `modle`", "did you mean `model`?"),
        (
            '[[model]]\nnames = ["*"]\nkeys = ["cii"]',
            "`ci`, `ann`, found `cii`",
            "did you mean `ci`?",
        ),
        ('[[model]]\nnames = ["*"]\nroles = ["paker"]', "found `paker`", "did you mean `packer`?"),
        ('[[model]]\nnames = ["*"]\nattested = ["evidense"]', "found `evidense`", "did you mean `evidence`?"),
        ('[[model]]\nnames = ["*"]\nallow = "all"', "expected `none`, `code` or `pickle`, found `all`", None),
        ('[[model]]\nnames = ["*"]\nallow = ["code"]', "expected `none`, `code` or `pickle`", None),
        ('[[model]]\nnames = "*"', "`names` of `model` 1", None),
        ("[[model]]\nnames = []", "expected `names`, which models it is about, found none", "as in"),
        ('[[model]]\nnames = ["*", "*"]', "expected each text once", None),
        ('[[model]]\nnames = ["*"]\nsigners = true', "expected a whole number of keys", None),
        ('[[model]]\nnames = ["*"]\nsigners = -1', "expected a whole number of keys", None),
        ('[[model]]\nnames = ["*"]\nsigners = 3', "expected 3 keys or more, found 2 that count", "each key"),
        ('[[model]]\nnames = ["*"]\nmax_age_days = 0', "expected a number of days above 0, found `0`", None),
        ('[[model]]\nnames = ["*"]\nmax_age_days = inf', "expected a number of days above 0", None),
        ('[[model]]\nnames = ["*"]\nmax_age_days = nan', "expected a number of days above 0", None),
        ('[[model]]\nnames = ["*"]\nroles = ["releaser"]', "expected different keys for `releaser`", "rule"),
        ('[[model]]\nnames = ["*"]\nsigners = 0\nkeys = []\nattested = ["evidence"]', "a key that may", None),
        ("[model]\nnames = 5", "expected rules, found none", "[[model]]"),
        ("names = [", "expected TOML, found another form", None),
        ("", "expected rules, found none", "[[model]]"),
    ],
)
def test_a_slip_is_refused_by_its_place(tmp_path, rules, words, hint):
    path = policy_file(tmp_path, rules or "#")
    with pytest.raises(InvalidSetting) as caught:
        TrustPolicy.read(path)
    assert words in caught.value.message
    assert "trust.toml" in caught.value.message
    assert (hint or "") in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("keys", "kind", "words"),
    [
        ("[key.a]\n", InvalidSetting, "expected `file`, the path of a public key, found none"),
        ("[key.a]\nfile = 5\n", InvalidSetting, "expected `file`, the path of a public key, found `5`"),
        ('[key.a]\nfile = "x\\u0000"\n', InvalidSetting, "found a NUL character"),
        ('[key.a]\nfile = "none.pub"\n', KeyInvalid, "none.pub`: expected a file that can be read"),
        ("[key.a]\nfile = '{ci}'\nrole = []\n", InvalidSetting, "found `role`"),
        ("[key.a]\nfile = '{ci}'\n[key.b]\nfile = '{ci}'\n", InvalidSetting, "found that of `a` again"),
        ("[key.a]\nfile = '{private}'\n", KeyInvalid, "found a private key"),
        ("key = 5\n", InvalidSetting, "expected tables, found another value"),
        ("[key]\na = 5\n", InvalidSetting, "expected tables, found another value"),
    ],
)
def test_a_key_that_is_none_is_refused(tmp_path, keys, kind, words):
    path = tmp_path / "trust.toml"
    names = {"ci": str(public_file("ci")), "private": str(private_file("ci"))}
    for name, file in names.items():
        keys = keys.replace(f"{{{name}}}", file)
    path.write_text(f"{keys}{RULE}")
    with pytest.raises(kind) as caught:
        TrustPolicy.read(path)
    assert words in caught.value.message


def test_a_file_that_is_no_text_or_not_there_or_endless_is_refused(tmp_path):
    path = tmp_path / "trust.toml"
    with pytest.raises(InvalidSetting, match="found no such file or directory"):
        TrustPolicy.read(path)
    path.write_bytes(b"\xff")
    with pytest.raises(InvalidSetting, match="found bytes not in UTF-8"):
        TrustPolicy.read(path)
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(InvalidSetting, match="at most 1,048,576 bytes"):
        TrustPolicy.read(path)


def test_two_roles_of_one_person_are_filled_by_two():
    assert assignment({"packer": {"ann"}, "approver": {"ann"}}) is None
    assert assignment({"packer": {"ann", "bob"}, "approver": {"ann"}}) == {"packer": "bob", "approver": "ann"}
    assert assignment({"packer": {"a", "b"}, "approver": {"a", "b"}, "releaser": {"a", "b"}}) is None
    assert assignment({}) == {}
