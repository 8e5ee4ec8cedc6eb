"""The one line with which a command refuses bad input."""

from tfbert.cli import main


def error_line(command, capsys):
    """The words after `tfbert: error:` of a command line that is refused with status 2."""
    assert main(command) == 2
    error = capsys.readouterr().err
    assert error.startswith("tfbert: error: ") and error.count("\n") == 1
    return error.removeprefix("tfbert: error: ")
