"""``binrag`` with a store of token vectors."""

import json

import pytest
from fakes import WordTokenEncoder

from binrag import FdeConfig, LateInteraction, Store, encoders

TEXTS = {"a": "silver river stone", "b": "copper garden", "c": "winter music forest planet"}
ASKED = ("--late-interaction", "--encoder", "words")


@pytest.fixture
def encoder(monkeypatch):
    """What any name of an encoder of token vectors is taken for."""
    made = WordTokenEncoder(32, name="words")
    monkeypatch.setattr(encoders, "SentenceTokenEncoder", lambda name: made)
    return made


@pytest.fixture
def add(run, encoder, tmp_path):
    """Run ``binrag add`` with lines, of texts by id if none are given; return its summary and standard error."""

    def add(*arguments, lines=None, code=0):
        lines = [{"id": id_, "text": text} for id_, text in TEXTS.items()] if lines is None else lines
        (tmp_path / "in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        found, out, err = run("add", "kb.binrag", "in.jsonl", "--quiet", "--json", *arguments)
        assert found == code, err
        return (json.loads(out) if out else None), err

    return add


def ids_found(run, *words):
    code, out, _ = run("search", "kb.binrag", *words, "--json")
    assert code == 0
    return [hit["id"] for hit in json.loads(out)]


def test_add_search_and_info(run, add):
    assert add(*ASKED, "--token-bits", 1)[0]["added"] == 3
    assert ids_found(run, "river", "stone")[0] == "a"
    assert ids_found(run, "planet")[0] == "c"
    code, out, _ = run("info", "kb.binrag", "--json")
    facts = json.loads(out)
    assert code == 0
    assert LateInteraction.from_record(facts["late_interaction"]) == LateInteraction(token_bits=1)
    assert (facts["dim"], facts["similarity"], facts["encoder"]) == (32, "cosine", "words")
    assert facts["vector_disk_bytes"] == 9 * (8 + 2)  # nine words, each of a word of code and a factor
    assert facts["document_bytes"]["vectors"] == pytest.approx(30)
    shown = run("info", "kb.binrag")[1]
    assert "token_bits=1" in shown
    assert "final_projection_dim=2560" in shown


def test_add_goes_on_without_being_told_what_the_store_is(run, add, encoder):
    lines = [{"id": id_, "text": text} for id_, text in TEXTS.items()]
    add(*ASKED, "--token-bits", 1, lines=lines[:2])
    summary, err = add()
    assert summary == {"added": 1, "unchanged": 2, "repeated": 0, "skipped": 0, "count": 3}
    assert "encoder: words" in err
    assert encoder.n_encoded == 3 + 3 + 3  # documents, and twice the texts that an encoder is known by
    for arguments in (ASKED, ("--late-interaction",), (*ASKED, "--token-bits", 1)):
        assert add(*arguments)[0]["unchanged"] == 3
    _, err = add(*ASKED, "--token-bits", 2, code=1)
    assert "token_bits=2" in err and "token_bits=1" in err and "leave it out" in err


def test_settings_of_a_store_made_elsewhere_stay(add, encoder):
    config = LateInteraction(FdeConfig(4, 2, 8, final_projection_dim=64), token_bits=1, group_tokens=0.9)
    with Store.open("kb.binrag", encoder=encoder, late_interaction=config):
        pass
    assert add("--late-interaction", "--encoder", "words", "--token-bits", 1)[0]["added"] == 3
    with Store.open("kb.binrag", "r") as store:
        assert LateInteraction.from_record(store.info().late_interaction) == config


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--encoder", "words", "--token-bits", 1), "add --late-interaction, or leave it out"),
        (("--late-interaction",), "--late-interaction needs --encoder"),
        ((*ASKED, "--keep-vectors", "int8"), "keep_vectors"),
        ((*ASKED, "--binarizer", "sign"), "binarizer"),
    ],
)
def test_options_that_make_no_store_are_refused(add, tmp_path, arguments, message):
    assert message in add(*arguments, code=1)[1]
    assert not (tmp_path / "kb.binrag").exists()


def test_a_store_of_one_vector_a_document_is_refused(add):
    add(lines=[{"id": "a", "text": "silver", "vector": [1.0, 2.0]}])
    _, err = add(*ASKED, code=1)
    assert "the store was made with 'one vector a document'; leave it out, or make a new store" in err


@pytest.mark.parametrize("dim", [8, 32])
def test_a_line_with_one_vector_is_refused(run, add, dim):
    add(*ASKED)
    _, err = add(lines=[{"id": "d", "text": "silver", "vector": [1.0] * dim}], code=1)
    assert f"the token vectors of 'd' have shape ({dim},), expected (n_tokens, dim)" in err
    assert run("count", "kb.binrag")[1].strip() == "3"


def test_export_and_import_carry_texts(run, add, tmp_path):
    add(*ASKED, lines=[{"id": id_, "text": text, "metadata": {"n": len(text)}} for id_, text in TEXTS.items()])
    code, out, err = run("export", "kb.binrag")
    assert (code, err) == (0, "")
    assert [json.loads(line) for line in out.splitlines()] == [
        {"id": id_, "text": text, "metadata": {"n": len(text)}} for id_, text in TEXTS.items()
    ]
    (tmp_path / "out.jsonl").write_text(out)
    assert run("import", "new.binrag", "out.jsonl", "--quiet", *ASKED)[0] == 0
    with Store.open("kb.binrag", "r") as old, Store.open("new.binrag", "r") as new:
        query = WordTokenEncoder(32).encode_query(["river planet garden"])[0]
        assert new.search(query) == old.search(query)
    code, out, err = run("export", "kb.binrag", "--vectors")
    assert (code, out) == (1, "")
    assert "keeps no vectors" in err


def test_maintenance(run, add, tmp_path):
    add(*ASKED)
    before = ids_found(run, "garden", "river")
    assert run("delete", "kb.binrag", "c")[0] == 0
    assert run("verify", "kb.binrag", "--quiet")[:2] == (0, "sound\n")
    code, out, _ = run("compact", "kb.binrag", "--quiet", "--json")
    assert (code, json.loads(out)["n_dropped"]) == (0, 1)
    assert run("verify", "kb.binrag", "--quiet")[:2] == (0, "sound\n")
    assert ids_found(run, "garden", "river") == [id_ for id_ in before if id_ != "c"]
    assert run("backup", "kb.binrag", "copy.binrag")[0] == 0
    assert run("repair", "copy.binrag", "saved.binrag", "--quiet")[0] == 0
    with Store.open("saved.binrag", "r") as saved, Store.open("kb.binrag", "r") as store:
        assert saved.info().late_interaction == store.info().late_interaction
        assert [d.id for d in saved.iter()] == ["a", "b"]


@pytest.mark.parametrize("command", ["probe", "train", "recode"])
def test_commands_about_one_vector_a_document_are_refused(run, add, command):
    add(*ASKED)
    arguments = ("sign",) if command == "recode" else ()
    code, _, err = run(command, "kb.binrag", *arguments)
    assert code == 1
    assert "token" in err


def test_a_model_is_saved_recorded_and_loaded(run, tmp_path, minilm_folder):
    sentence_transformers = pytest.importorskip("sentence_transformers", reason="the encoders extra brings it")
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
    from sentence_transformers.sentence_transformer.modules import Normalize

    modules = [Transformer(minilm_folder), MultiVectorMask(), Normalize(module_input_name="token_embeddings")]
    folder = tmp_path / "model"
    sentence_transformers.MultiVectorEncoder(modules=modules).save_pretrained(str(folder))
    texts = ["The cat sleeps on the sofa.", "Interest rates rose again.", "A recipe for onion soup."]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": text[:3], "text": text}) + "\n" for text in texts))
    asked = ("--late-interaction", "--encoder", folder)
    assert run("add", "kb.binrag", "in.jsonl", "--quiet", *asked)[0] == 0
    code, out, err = run("search", "kb.binrag", "how", "to", "cook", "soup", "--json")
    assert code == 0
    assert f"encoder: {folder}, as the store records" in err
    hits = json.loads(out)
    assert hits[0]["id"] == "A r"
    assert all(-1 <= hit["score"] <= 1 for hit in hits)
