"""How examples of a document are read and compared: a comparison that could not fail would prove nothing."""

from __future__ import annotations

import pytest
from support.console import Example, Shell, examples, filled, same

TEXT = """Words.

```console
$ echo one \\
    two
one two
$ true
$ cat <<EOF
> two
> lines
> EOF
two
lines
```

```yaml
$ not: this
```

```console
$ false
(exit status 1)
```
"""


def test_commands_and_their_outputs_are_found_with_their_lines():
    assert examples(TEXT) == [
        Example(4, "echo one \\\n    two", "one two\n"),
        Example(7, "true", ""),
        Example(8, "cat <<EOF\ntwo\nlines\nEOF", "two\nlines\n"),
        Example(21, "false", "(exit status 1)\n"),
    ]


def test_what_a_shell_shows_fills_the_document(tmp_path):
    shell = Shell(tmp_path, {"8443": "1234"})
    assert filled(TEXT, [shell.run(one.command) for one in examples(TEXT)]) == TEXT
    assert shell.run("echo port 8443 in $PWD >&2") == "port 8443 in /etc/gateway\n"


@pytest.mark.parametrize(
    ("pasted", "came"),
    [
        ("until 2026-11-22 (89 days)\n", "until 2027-01-02 (7 days)\n"),
        ("id   " + "a" * 64 + "\n", "id  " + "1" * 64 + "\n"),
        ("generation 12 serves it\n", "generation 3 serves it\n"),
        ("a\n...\nb\n", "a\nx\ny\nb\n"),
    ],
)
def test_what_differs_from_run_to_run_is_no_difference(pasted, came):
    assert same(pasted, came)


@pytest.mark.parametrize(
    ("pasted", "came"),
    [
        ("Minimum TLS version supported: 1.2\n", "Minimum TLS version supported: 1.3\n"),
        ("saved\n", ""),
        ("", "error: no\n"),
        ("a\n", "a\nb\n"),
        ("(exit status 1)\n", "(exit status 2)\n"),
        ("a.test\n", "axtest\n"),
    ],
)
def test_everything_else_is(pasted, came):
    assert not same(pasted, came)
