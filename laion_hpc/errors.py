"""The errors that a user is meant to read: each says what is at fault and what to do."""

from __future__ import annotations

import errno

EXIT_FAILED = 1
EXIT_USAGE = 2


class LaionHpcError(Exception):
    """A job cannot go on. The message names the file or key at fault and what to do next."""

    exit_code = EXIT_FAILED


class UsageError(LaionHpcError):
    """The command line or the config is wrong; nothing has been started. Exit code 2."""

    exit_code = EXIT_USAGE


class InputError(LaionHpcError):
    """A file that a stage reads is missing, damaged or not what it should be. Exit code 1."""


class AuditError(LaionHpcError):
    """Samples vanished: a ledger does not balance or two stages disagree. Exit code 1."""


def explain_os_error(error: OSError) -> str:
    """One line that says what to do about an error of the operating system."""
    where = error.filename or "a file"
    if error.errno == errno.ENOSPC:
        return (
            f"no space left on the device that holds {where}: free some and run the same "
            "command again, finished work is kept"
        )
    if error.errno == errno.EDQUOT:
        return f"disk quota exceeded at {where}: free some and run the same command again"
    if error.errno == errno.EADDRINUSE:
        return f"{error.strerror}: choose another port with --port"
    if error.errno == errno.ENOENT:
        return f"{where}: no such file or folder"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{where}: permission denied"
    return f"{where}: {error.strerror or error}"
