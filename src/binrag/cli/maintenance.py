"""Looking after a store's file: verify."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from binrag.cli.output import as_json
from binrag.store.integrity import verify as verify_file

DAMAGED = 3
"""The exit code where something was found."""

_Subparsers = argparse._SubParsersAction  # what add_subparsers returns has no public name


def verify(options: argparse.Namespace) -> int:
    """Print what is wrong with a file; 3 if anything is."""
    findings = verify_file(options.store, False if options.quiet else None)
    if options.json:
        print(as_json([asdict(finding) for finding in findings]))
    else:
        for finding in findings:
            print(finding)
        print(f"{len(findings):,} findings" if findings else "sound")
    return DAMAGED if findings else 0


def add_maintenance(subparsers: _Subparsers[argparse.ArgumentParser]) -> None:
    """Add the commands to the parser."""
    command = subparsers.add_parser(
        "verify",
        help="check everything a store's file holds",
        description="Check every page, record and block of a store's file against its checksum, and its tables against "
        "each other. The file is only read, and others may use it meanwhile. What is found is printed, a line each.",
    )
    command.add_argument("store", help="the store's file; one that cannot be opened any more, too")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    command.add_argument("--json", action="store_true", help="print JSON")
    command.set_defaults(run=verify)
