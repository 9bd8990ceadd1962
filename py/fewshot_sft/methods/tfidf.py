"""``tfidf``: TF-IDF of words and of characters, logistic regression. No language model, seconds on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from ..settings import Settings
from . import Answers, Task, logistic


def answer(tasks: Sequence[Task], settings: Settings) -> Iterator[Answers]:
    """Return the answers of each task. Characters serve languages without spaces, and words that are misspelled."""
    return (learn(task, settings)(task.asked) for task in tasks)


def features() -> FeatureUnion:
    """Return what makes texts a sparse matrix, a row each: TF-IDF of words, their pairs, and 2 to 4 characters."""
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=50_000)
    return FeatureUnion([("words", words), ("characters", characters)])


def learn(task: Task, settings: Settings) -> Callable[[Sequence[str]], Answers]:
    """Return what answers to texts, having learnt from the task's."""
    made = features()
    model, facts = logistic.fit(task, made.fit_transform(task.texts))
    return lambda texts: logistic.answers_of(replace(task, asked=texts), model, made.transform(texts), facts)
