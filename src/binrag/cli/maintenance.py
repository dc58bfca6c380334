"""Looking after a store's file: verify, repair, compact, backup."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast, get_args

from binrag.cli.output import as_json, bytes_as_text
from binrag.errors import InvalidInput
from binrag.store import Store
from binrag.store.words import Language, Lexical
from binrag.types import ALL_TENANTS

DAMAGED = 3
"""The exit code where something was found."""

_Subparsers = argparse._SubParsersAction  # what add_subparsers returns has no public name


def verify(options: argparse.Namespace) -> int:
    """Print what is wrong with a file; 3 if anything is."""
    from binrag.store.integrity import verify as verify_file  # not needed by other commands

    findings = verify_file(options.store, False if options.quiet else None)
    if options.json:
        print(as_json([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(finding)
        print(f"{len(findings):,} findings" if findings else "sound")
    return DAMAGED if findings else 0


def repair(options: argparse.Namespace) -> int:
    """Save what is sound of a file into a new one; 3 if documents were lost."""
    from binrag.store.repairing import repair as repair_file  # not needed by other commands

    done = repair_file(options.store, options.destination, False if options.quiet else None)
    if options.json:
        print(as_json(asdict(done)))
    else:
        for finding in done.findings:
            print(finding)
        print(f"{done.n_saved:,} documents saved, {done.n_lost:,} lost")
    return DAMAGED if done.n_lost else 0


def compact(options: argparse.Namespace) -> int:
    """Give the space of deleted and replaced documents back."""
    with Store.open(options.store, "rw", lock_timeout=options.lock_timeout) as store:
        done = store.compact(False if options.quiet else None)
    if options.json:
        print(as_json(asdict(done)))
        return 0
    print(
        f"{done.n_dropped:,} dead rows dropped, {bytes_as_text(done.bytes_before)} before, "
        f"{bytes_as_text(done.bytes_after)} after"
    )
    if done.was_held_back:
        print("a reader still looks at what was there before: the file gets shorter when it is done")
    return 0


def backup(options: argparse.Namespace) -> int:
    """Copy the last commit to a new file."""
    with Store.open(options.store, "r") as store:
        store.backup(options.destination)
    print(as_json({"path": options.destination}) if options.json else f"copied to {options.destination}")
    return 0


def lexical_asked(language: str | None, stop_words: str | None) -> Any:
    """Return the rules for words that were asked for; the file of stop words has any number a line.

    Raises
    ------
    InvalidInput
        Stop words without a language, or a file that cannot be read as text.
    """
    if stop_words is None:
        return language
    if language is None:
        raise InvalidInput("--stop-words goes with --lexical en or any; name one of them")
    try:
        return Lexical(cast(Language, language), frozenset(Path(stop_words).read_text(encoding="utf-8").split()))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"cannot read the stop words of {stop_words}: {error}") from error


def words(options: argparse.Namespace) -> int:
    """Index the words of a store's texts."""
    lexical = lexical_asked(options.language, options.stop_words)
    with Store.open(options.store, "rw", lock_timeout=options.lock_timeout) as store:
        store.index_words(lexical, progress=False if options.quiet else None)
        n = store.count(tenant=ALL_TENANTS)
    print(
        as_json({"count": n, "language": options.language}) if options.json else f"the words of {n:,} documents indexed"
    )
    return 0


def add_maintenance(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    command = subparsers.add_parser(
        "verify",
        help="check everything a store's file holds",
        description="Check every page, record and block of a store's file against its checksum, and its tables against "
        "each other. The file is only read, and others may use it meanwhile. What is found is printed, a line each.",
    )
    command.add_argument("store", help="the store's file; one that cannot be opened any more, too")
    _finish(command, verify, is_long=True)
    command = subparsers.add_parser(
        "repair",
        help="save what is sound of a damaged store into a new one",
        description="Save every document whose record is sound, and whose vector or code is, into a new store with the "
        "same settings. The damaged file is only read. What is damaged or lost is printed, a line each.",
    )
    command.add_argument("store", help="the damaged file")
    command.add_argument("destination", help="the new file; must not exist")
    _finish(command, repair, is_long=True)
    command = subparsers.add_parser(
        "compact",
        help="give the space of deleted and replaced documents back",
        description="Number the rows that live anew, drop the others, and shorten the file. Needs up to twice the "
        "file's size of free disk meanwhile.",
    )
    command.add_argument("store", help="the store's file")
    command.add_argument("--lock-timeout", type=float, default=10.0, help="seconds to wait for another writer")
    _finish(command, compact, is_long=True)
    command = subparsers.add_parser(
        "words",
        help="index the words of a store's texts, for --legs lexical and hybrid",
        description="Index the words of all texts, so that searches may go by words, or by words and vectors. What is "
        "added later is found by its words at once.",
    )
    command.add_argument("store", help="the store's file")
    command.add_argument(
        "--language", choices=get_args(Language), default="en", help="English rules, or none (default: %(default)s)"
    )
    command.add_argument(
        "--stop-words", metavar="FILE", help="a text file of words to leave out, in place of the language's"
    )
    command.add_argument("--lock-timeout", type=float, default=10.0, help="seconds to wait for another writer")
    _finish(command, words, is_long=True)
    command = subparsers.add_parser(
        "backup",
        help="copy a store to a new file",
        description="Copy the store's last commit to a new file, while others read and write.",
    )
    command.add_argument("store", help="the store's file")
    command.add_argument("destination", help="the new file; must not exist")
    _finish(command, backup)


def _finish(command: argparse.ArgumentParser, run: Callable[[argparse.Namespace], int], is_long: bool = False) -> None:
    if is_long:
        command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=run)
