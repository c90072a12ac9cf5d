"""Options that take several words: `--target-tokens COX cyclooxygenase`, up to the next option.

click gives an option a fixed number of values, so each word is handed to it with the option repeated:
`--target-tokens COX --target-tokens cyclooxygenase`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import click


class MultiWordCommand(click.Command):
    """A command with repeatable options that also take all their words at once."""

    multi_word_options: Collection[str] = ("--target-tokens", "--exclude")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Called by click with the words of the command line."""
        options = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        return super().parse_args(ctx, list(repeat_options(args, multi_word=self.multi_word_options, options=options)))


def repeat_options(args: Sequence[str], *, multi_word: Collection[str], options: Collection[str]) -> Iterator[str]:
    """`--option A B` as `--option A --option B` for the `multi_word` ones among the `options` of a command.

    A word that begins with one dash and is no option is still a word; `--` ends all options.
    """
    current, is_fresh = "", False
    rest = iter(args)
    for word in rest:
        name, _, value = word.partition("=")
        if word == "--":
            yield from (word, *rest)
        elif name in multi_word:
            current, is_fresh = name, not value
            yield from (name, value) if value else (name,)
        elif current and not _is_option(word, options):
            yield from (word,) if is_fresh else (current, word)
            is_fresh = False
        else:
            current = ""
            yield word


def _is_option(word: str, options: Collection[str]) -> bool:
    return word.startswith("--") or word.partition("=")[0] in options
