"""`python -m lossdoctor`: the same as `lossdoctor`, for where only the interpreter is on the path."""

from __future__ import annotations

from lossdoctor.cli.main import run

if __name__ == "__main__":
    run()
