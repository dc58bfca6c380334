"""The command line's grammar."""

from __future__ import annotations

import argparse
from typing import get_args

from binrag import __version__
from binrag.cli import commands
from binrag.cli.add import DEFAULT_ENCODER, add
from binrag.cli.demo import demo
from binrag.cli.maintenance import add_maintenance
from binrag.cli.train import recode, train
from binrag.cli.transfer import export
from binrag.readers.folders import SUFFIXES
from binrag.readers.splitting import CHUNK
from binrag.store.space import BINARIZERS
from binrag.store.training import KINDS
from binrag.store.words import Language
from binrag.types import Durability, KeepVectors, Legs

_EXIT_CODES = """\
exit codes:
  0    done
  1    an error, said on standard error
  2    wrong usage
  3    not a store, damaged, or of another format version
  4    locked by another writer
  5    another encoder, dimension or binarizer than the store's
  6    done, but input lines or files were skipped (--on-error skip)
  130  interrupted
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser; ``options.run(options)`` runs the chosen command."""
    parser = argparse.ArgumentParser(
        prog="binrag",
        description="Retrieval in one file: text in, answers out.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"binrag {__version__}")
    subparsers = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_add(subparsers)
    _add_readers(subparsers)
    _add_train(subparsers)
    add_maintenance(subparsers)
    return parser


def _add_add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subparsers.add_parser(
        "add",
        aliases=["import"],
        help="add documents from folders, or from JSON lines, such as those of an export",
        description=f"Add the texts of folders and files ({' '.join(SUFFIXES)}), cut into chunks along their "
        "structure: see docs/folders.md. Any other file is JSON lines with id, text, metadata, vector and tenant; each "
        'may be left out, but text or vector is needed. In metadata, {"$date": …} and {"$binary": …} stand for dates, '
        "datetimes and bytes. Reads what `binrag export` wrote. What is stored unchanged already is passed over, so "
        "that an interrupted run goes on where it stopped when it is started again.",
    )
    command.add_argument("store", help="the store's file; created if missing")
    command.add_argument(
        "input",
        nargs="*",
        default=["-"],
        help="folders, files of text, files of JSON lines; - is JSON lines of standard input (default)",
    )
    command.add_argument("--encoder", help=f"model name or folder (default: the recorded one, else {DEFAULT_ENCODER})")
    _add_folders(command)
    command.add_argument(
        "--tenant", help="whose documents they are, where a line names no tenant (default: the unnamed tenant's)"
    )
    command.add_argument(
        "--on-error", choices=["fatal", "skip"], default="fatal", help="what to do at a bad line or file"
    )
    command.add_argument("--batch-size", type=int, default=256, help="texts encoded at once (default: %(default)s)")
    command.add_argument("--commit-every", type=int, default=1000, help="documents a commit (default: %(default)s)")
    _add_new_store(command)
    command.add_argument(
        "--durability",
        choices=get_args(Durability),
        default="commit",
        help="os: do not wait for the disk at every commit; a power cut may take the last ones (default: %(default)s)",
    )
    command.add_argument("--lock-timeout", type=float, default=10.0, help="seconds to wait for another writer")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.add_argument("--json", action="store_true", help="print a JSON summary")
    command.set_defaults(run=add)


def _add_new_store(command: argparse.ArgumentParser) -> None:
    command.add_argument("--keep-vectors", choices=get_args(KeepVectors), help="for a new store (default: int8)")
    command.add_argument("--binarizer", choices=sorted(BINARIZERS), help="for a new store (default: auto)")
    command.add_argument(
        "--lexical",
        choices=get_args(Language),
        help="for a new store: index the words of texts too, by English rules or any",
    )
    command.add_argument("--stop-words", metavar="FILE", help="with --lexical: a text file of words to leave out")
    command.add_argument(
        "--late-interaction",
        action="store_true",
        help="for a new store: --encoder gives a vector for each token, and documents are compared by these (ColBERT)",
    )
    command.add_argument(
        "--token-bits",
        type=int,
        choices=(1, 2),
        help="with it: bits a dimension of a token (default: 2)",
    )
    command.add_argument(
        "--no-auto-fit",
        dest="auto_fit",
        action="store_false",
        default=None,
        help="for a new store: leave its codes signs when there are enough documents to fit codes to",
    )


def _add_folders(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--chunk", type=int, metavar="N", help=f"of texts: characters a document, at most (default: {CHUNK})"
    )
    command.add_argument(
        "--root", metavar="DIR", help="of texts: name documents by the path from here (default: by the path as typed)"
    )
    command.add_argument(
        "--sync",
        action="store_true",
        help="remove the documents of files that are gone from the folders; never others than were read from files",
    )
    command.add_argument("--dry-run", action="store_true", help="say what would be done to the store, and do nothing")


def _add_readers(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    def command(name: str, run: object, text: str) -> argparse.ArgumentParser:
        parser = subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        parser.set_defaults(run=run)
        return parser

    search = command("search", commands.search, "find the documents most similar to a question")
    search.add_argument("store", help="the store's file")
    search.add_argument("query", nargs="+", help="the question; several words need no quotes")
    ask = command("ask", commands.ask, "answer questions typed one after another, or one a line on standard input")
    ask.add_argument("store", help="the store's file")
    for searching in (search, ask):
        _add_searching(searching)
    get = command("get", commands.get, "print documents by id")
    get.add_argument("store", help="the store's file")
    get.add_argument("ids", nargs="+", metavar="id", help="the documents' ids")
    get.add_argument("--tenant", help="whose documents (default: those of the unnamed tenant)")
    get.add_argument("--json", action="store_true", help="print JSON")
    delete = command("delete", commands.delete, "delete documents by id, or those that match a filter")
    delete.add_argument("store", help="the store's file")
    delete.add_argument("ids", nargs="*", metavar="id", help="the documents' ids")
    _add_selection(delete)
    delete.add_argument("--lock-timeout", type=float, default=10.0, help="seconds to wait for another writer")
    delete.add_argument("--json", action="store_true", help="print JSON")
    exporting = command("export", export, "print documents as JSON lines, which `binrag import` reads")
    exporting.add_argument("store", help="the store's file")
    _add_selection(exporting)
    exporting.add_argument("--vectors", action="store_true", help="with their vectors, as the store keeps them")
    for name, run, text in (
        ("count", commands.count, "count the documents"),
        ("info", commands.info, "print what the store is and what it costs"),
        ("probe", commands.probe, "measure what few bits would do to the store's vectors, and keep the verdict"),
    ):
        reader = command(name, run, text)
        reader.add_argument("store", help="the store's file")
        reader.add_argument("--json", action="store_true", help="print JSON")
        if name == "count":
            _add_selection(reader)
    warm = command("warmup", commands.warm, "compile what adding and searching need, so that the first call is quick")
    warm.add_argument("store", nargs="?", help="a store, for its codes (default: signs and what comes with binrag)")
    warm.add_argument("--json", action="store_true", help="print JSON")
    demonstration = command(
        "demo", demo, "build a store from the standard library's documentation and ask it three questions"
    )
    demonstration.add_argument("store", nargs="?", default="demo.binrag", help="the file (default: %(default)s)")


def _add_searching(command: argparse.ArgumentParser) -> None:
    command.add_argument("-k", type=int, default=5, help="hits to return (default: %(default)s)")
    command.add_argument("--n-candidates", type=int, help="rows scored by the float query")
    command.add_argument(
        "--legs", choices=get_args(Legs), default="dense", help="what to find by (default: %(default)s)"
    )
    command.add_argument(
        "--fusion",
        choices=commands.FUSIONS,
        help="how --legs hybrid brings both together (default: coverage)",
    )
    command.add_argument(
        "--weights", nargs=2, type=float, metavar=("DENSE", "LEXICAL"), help="of both legs, for ranks, min-max and z"
    )
    command.add_argument("--diversity", choices=commands.DIVERSITIES, help="choose hits that are not all alike")
    command.add_argument("--explain", action="store_true", help="show each leg's rank and score of a hit")
    command.add_argument("--min-score", type=float, help="leave out hits of a lower score")
    command.add_argument("--rerank", metavar="MODEL", help="order the best 50 by a cross-encoder: a name or folder")
    command.add_argument("--encoder", help="model name or folder (default: the one recorded in the store)")
    _add_selection(command)
    command.add_argument("--json", action="store_true", help="print JSON")


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--where", metavar="JSON", help='only documents whose metadata match: {"year": {"$gte": 2020}}'
    )
    whose = command.add_mutually_exclusive_group()
    whose.add_argument("--tenant", help="whose documents (default: those of the unnamed tenant)")
    whose.add_argument("--all-tenants", action="store_true", help="the documents of all tenants")


def _add_train(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    command = subparsers.add_parser(
        "train",
        help="fit a binarizer to documents, and code a store's anew",
        description="Fit a binarizer to the vectors of a store, say what it gains on held-out queries, and give every "
        "document a new code. Or fit one to the documents of a .jsonl file, read as by `binrag add` and encoded with "
        "--encoder, or to the vectors of a .npy file, and write it to --artefact, for stores to come.",
    )
    command.add_argument(
        "source",
        help="a store's file; a .jsonl file of documents, - for standard input; or a .npy file of float vectors "
        "(n, dim)",
    )
    command.add_argument("--kind", choices=list(KINDS), default="additive", help="default: %(default)s")
    command.add_argument("--code-bytes", type=int, help="bytes a row, everything counted (default: by kind)")
    command.add_argument("--queries", metavar="FILE", help="text file, one query a line, or a .npy file of vectors")
    command.add_argument("--sentences", action="store_true", help="sentences of the documents stand in for queries")
    command.add_argument("--adapt", metavar="ARTEFACT", help="start from this binarizer: a file, or a name of binrag's")
    command.add_argument("--artefact", metavar="FILE", help="write the binarizer to this file too")
    command.add_argument("--on-error", choices=["fatal", "skip"], default="fatal", help="what to do at a bad line")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--force", action="store_true", help="fit few bits even to vectors that they don't suit")
    _add_recoding_options(command)
    command.set_defaults(run=train)
    again = subparsers.add_parser(
        "recode",
        help="code a store's documents anew, by a binarizer that was fitted before",
        description="Give every document of a store a new code, by a binarizer of a file (its path has a dot), by one "
        "that comes with binrag, or by sign or rotated-sign. A binarizer for another encoder is refused.",
    )
    again.add_argument("source", metavar="store", help="the store's file")
    again.add_argument("binarizer", help="a file that `binrag train --artefact` wrote, or a name")
    _add_recoding_options(again)
    again.set_defaults(run=recode)


def _add_recoding_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--encoder", help="model name or folder (default: the store's, where it is needed)")
    command.add_argument("--lock-timeout", type=float, default=10.0, help="seconds to wait for another writer")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.add_argument("--json", action="store_true", help="print JSON")
