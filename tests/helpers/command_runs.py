"""Commands that run in this process, and the files that they leave."""

from pathlib import Path

from typer.testing import CliRunner

from quantgpu import cli


class Ran:
    """How a run of a command ended."""

    def __init__(self, *arguments: str, stdin: bytes | None = None) -> None:
        command = [arguments[0], "--device", "cpu", *arguments[1:]]
        result = CliRunner().invoke(cli.app, command, input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code, self.out, self.err = result.exit_code, result.stdout_bytes, result.stderr
        self.lines = self.out.decode(errors="replace").splitlines()

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.lines}\n{self.err}"


def contents() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}
