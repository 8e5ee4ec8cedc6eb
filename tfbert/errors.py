"""The two ways in which a command ends early, each with one clear line and no traceback."""


class TfbertError(Exception):
    """Base of the errors that `tfbert` prints as one line. `exit_status` is the process's."""

    exit_status = 1

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: IPython asks for it instead of printing a traceback."""
        return [f"{type(self).__name__}: {self}"]


class InputError(TfbertError, ValueError):
    """Something the user gave is wrong: a file, a column, a name, an option. Exit status 2."""

    exit_status = 2


class MachineError(TfbertError, RuntimeError):
    """The machine failed: disk full, memory exhausted, device lost. Exit status 1."""


def first_line(message: object) -> str:
    """The first line of another library's message or error, for an error of ours."""
    return str(message).strip().partition("\n")[0]
