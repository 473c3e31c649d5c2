"""Selectors: which messages a consumer wants, said in the language of JMS (Jakarta Messaging 3.1 §3.8).

`Selector("price > 100 AND venue = 'LSE'").matches({"price": 101, "venue": "LSE"})`. The way of a text: `lexer` (words
and numbers), `parser` (the grammar and the types, to the nodes of `tree`), `codegen` (to one Python function), whose
comparisons and sums are those of `runtime` and whose patterns are those of `like`. `docs/selectors.md` teaches it.
"""

from unimsg.selector.selector import Selector, compile_selector

__all__ = ["Selector", "compile_selector"]
