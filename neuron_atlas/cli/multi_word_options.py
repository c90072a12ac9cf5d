"""Options that take several words: `--target-tokens COX cyclooxygenase`, up to the next option."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import click


class WordsCommand(click.Command):
    """A command whose repeatable options also take all their words at once."""

    words: Collection[str] = ("--target-tokens", "--exclude")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        return super().parse_args(ctx, list(spread(args, flags=self.words, known=known)))


def spread(args: Sequence[str], *, flags: Collection[str], known: Collection[str]) -> Iterator[str]:
    """`--flag A B` as `--flag A --flag B`. A word that begins with a dash and is no known option is still a word; `--` ends it."""
    flag, is_fresh = "", False
    rest = iter(args)
    for word in rest:
        name, _, value = word.partition("=")
        if word == "--":
            yield from (word, *rest)
        elif name in flags:
            flag, is_fresh = name, not value
            yield from (name, value) if value else (name,)
        elif flag and not _is_option(word, known):
            yield from (word,) if is_fresh else (flag, word)
            is_fresh = False
        else:
            flag = ""
            yield word


def _is_option(word: str, known: Collection[str]) -> bool:
    return word.startswith("--") or word.partition("=")[0] in known
