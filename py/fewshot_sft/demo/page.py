"""The page, as Streamlit runs it: from top to bottom, anew after each click. py/demo.py shows it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from fewshot_sft import runs
from fewshot_sft.catalogue import Words
from fewshot_sft.demo import labelling, uploads
from fewshot_sft.demo.labelling import Said
from fewshot_sft.demo.session import shared
from fewshot_sft.errors import UserError, describe
from fewshot_sft.evaluation import questions
from fewshot_sft.evaluation.questions import EvaluationSet
from fewshot_sft.jsonio import read_json
from fewshot_sft.quality.spreadsheets import to_csv
from fewshot_sft.runs import Run
from fewshot_sft.text import comparable
from fewshot_sft.words import one_line

LANGUAGES = {"en": "English", "zh": "中文"}
EXAMPLES = 50
SHORT = 90  # columns of a text in a list
# No empty head, and nothing wider than a telephone: long labels break.
STYLE = """<style>
.stMainBlockContainer {padding-top: 3rem}
h1 {font-size: 1.8rem !important; padding: 0 !important}
.stMarkdown, button {overflow-wrap: anywhere}
</style>"""


@st.cache_data(show_spinner=False)
def test_set() -> tuple[EvaluationSet, str]:
    """Return the test set, and what stands before each text."""
    settings = shared().settings
    manifest = read_json(Path(settings["DATA_DIR"]) / "manifest.json")
    return questions.load(settings.data_dir, "test"), manifest["document_prefix"]


@st.cache_resource(show_spinner=False, max_entries=8)
def learnt(name: str, changed: int) -> labelling.Learnt:
    """Return a method's run that has learnt; it learns anew when its subset's file has changed."""
    return labelling.learn(choices_by_name()[name], test_set()[0].labels)


def choices_by_name() -> dict[str, Run]:
    """Return the runs that can be asked."""
    return {run.name: run for run in labelling.choices(shared().sweeps)}


def name_of(run: Run, say: Words) -> str:
    """Return what a run is called here."""
    model = f"{run.model}: " if run.model and len(shared().sweeps) > 1 else ""
    if run.size is None:
        return model + say("run.base")
    seed = f", {say('run.seed', seed=run.seed)}" if len(run.settings.seeds) > 1 else ""
    return f"{model}{run.method}, N = {run.size}{seed}"


def main() -> None:
    """Show the page."""
    settings = shared().settings
    st.set_page_config(page_title="few-shot-sft", layout="wide", initial_sidebar_state="collapsed")
    st.html(STYLE)
    chosen_language = st.session_state.get("language") or settings["REPORT_LANG"]
    say = Words(chosen_language, Path(__file__).parent / "words")
    st.title(say("title"))
    st.segmented_control(
        "Language / 语言",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        default=settings["REPORT_LANG"],
        key="language",
        label_visibility="collapsed",
    )
    data, prefix = test_set()
    st.caption(say("intro", sweep=settings["SWEEP_NAME"], count=len(data.labels)))
    chosen = choose(say)
    given, truth = give(say, data, prefix)
    if st.button(say("go"), type="primary"):
        if not chosen:
            st.warning(say("none.runs"))
        elif not given:
            st.warning(say("none.texts"))
        else:
            answered = ask(chosen, [prefix + text for text in given], say)
            st.session_state.result = (given, truth, answered)
            remember(given, truth, answered)
    if "result" in st.session_state:
        given, truth, answered = st.session_state.result
        show(given, truth, answered, say)
    show_history(say)


def kept(name: str, first: Any, say: Words) -> tuple[str, Any]:
    """Return the key and the default of a widget that comes and goes, or changes its words with the language.

    Each time it begins with the value that it had last. Not through the session's state: such a value gets lost in the
    browser, or replaces what was clicked, where a click interrupts the page before it is whole.
    """
    key, begun = f"{name}.{say.language}", f"{name}.first"
    if key not in st.session_state:
        st.session_state[begun] = st.session_state.get(name, first)
    return key, st.session_state[begun]


def choose(say: Words) -> list[Run]:
    """Return the runs that were chosen."""
    settings = shared().settings
    found = labelling.choices(shared().sweeps)
    names = {run.name: run for run in found}

    def caption(name: str) -> str:
        score = found[names[name]]
        return name_of(names[name], say) + (f" · {score:.3f}" if score is not None else "")

    best = [
        max(some, key=lambda run: found[run] or 0.0).name
        for wanted in (runs.LORA, "tfidf")
        if (some := [run for run in found if run.method == wanted])
    ]
    key, first = kept("runs", best, say)
    picked = st.multiselect(
        say("runs"),
        list(names),
        format_func=caption,
        default=[each for each in first if each in names],
        key=key,
        help=say("runs.help", split=settings["SPLIT"]),
    )
    st.session_state.runs = picked
    if settings["SERVER"] != "vllm" and sum(labelling.is_served(names[name]) for name in picked) > 1:
        st.caption(say("run.served"))
    return [names[name] for name in picked]


def give(say: Words, data: EvaluationSet, prefix: str) -> tuple[list[str], list[str | None]]:
    """Return the texts that were given, and their true labels where they are known."""
    ways = ("type", "file", "examples")
    key, first = kept("way", "type", say)
    way = st.segmented_control(
        say("tab.type"),
        ways,
        format_func=lambda each: say(f"tab.{each}"),
        default=first,
        key=key,
        label_visibility="collapsed",
    )
    st.session_state.way = way
    if way == "file":
        label = say("file.label", column=shared().settings["TEXT_COLUMN"], most=uploads.MOST)
        file = st.file_uploader(label, type=list(uploads.SUFFIXES), key="file")
        if file is None:
            return [], []
        try:
            found, labels = uploads.uploaded(file.name, file.getvalue(), shared().settings)
        except UserError as error:
            st.error(say("error.file", error=error))
            return [], []
        st.caption(say("file.found", name=file.name, count=len(found)))
        return found, labels
    if way == "examples":
        items = data.items[:EXAMPLES]
        key, first = kept("example", 0, say)
        index = st.selectbox(
            say("examples.label"),
            range(len(items)),
            format_func=lambda each: one_line(items[each].input.removeprefix(prefix), SHORT),
            index=first,
            key=key,
        )
        st.session_state.example = index
        text = items[index].input.removeprefix(prefix)
        st.markdown(f"> {escaped(text)}")
        st.caption(say("examples.true", label=escaped(items[index].output)))
        return [text], [items[index].output]
    key, first = kept("text", "", say)
    typed = st.text_area(say("type.label"), first, placeholder=say("type.placeholder"), height=160, key=key)
    st.session_state.text = typed
    text = typed.strip()
    if len(text) > uploads.LONGEST:
        st.error(say("error.long", count=f"{len(text):,}", most=f"{uploads.LONGEST:,}"))
        return [], []
    return ([text], [None]) if text else ([], [])


def ask(chosen: Sequence[Run], asked: Sequence[str], say: Words) -> dict[str, list[Said]]:
    """Return what each run says; one that fails is told on the page, and the others go on."""
    data, _ = test_set()
    server = shared().server
    served = [run for run in choices_by_name().values() if labelling.is_served(run)]
    answered = {}
    for run in sorted(chosen, key=lambda each: each.settings.sweep_name):  # no model's server is started twice
        name = name_of(run, say)
        try:
            if labelling.is_served(run):
                begins = "work.asking" if server.serves(run, served) else "work.starting"
                bar = st.progress(0.0, say(begins, run=name))

                def progress(share: float, bar: Any = bar, name: str = name) -> None:
                    bar.progress(share, say("work.asking", run=name))

                try:
                    answered[run.name] = labelling.ask_served(run, server, served, data, asked, progress)
                finally:
                    bar.empty()
            else:
                with st.spinner(say("work.learning", run=name, size=run.size)):
                    ready = learnt(run.name, run.data_file.stat().st_mtime_ns)
                    answered[run.name] = labelling.ask_learnt(ready, data.labels, asked)
        except UserError as error:
            st.error(say("error.run", run=name, error=escaped(str(error))))
        except Exception as error:  # of libraries: the page stays, and says so
            st.error(say("error.unknown", run=name, error=escaped(describe(error))))
    return {run.name: answered[run.name] for run in chosen if run.name in answered}


def remember(given: Sequence[str], truth: Sequence[str | None], answered: dict[str, list[Said]]) -> None:
    """Add to the history."""
    moment = time.strftime("%Y-%m-%d %H:%M:%S")
    rows = st.session_state.setdefault("history", [])
    for run, said in answered.items():
        for text, label, each in zip(given, truth, said, strict=True):
            probability = "" if each.probability is None else round(each.probability, 4)
            row = {"time": moment, "run": run, "text": text, "true": label or "", "label": each.label or ""}
            rows.append(row | {"probability": probability, "seconds": round(each.seconds, 4), "answer": each.text})


def show(given: list[str], truth: list[str | None], answered: dict[str, list[Said]], say: Words) -> None:
    """Show the result: one text as cards, several as a table."""
    if not answered:
        return
    st.subheader(say("result"))
    known = choices_by_name()
    names = {run: name_of(known[run], say) if run in known else run for run in answered}
    if len(given) == 1:
        show_one(given[0], truth[0], answered, names, say)
    else:
        show_many(given, truth, answered, names, say)


def is_right(said: Said, label: str) -> bool:
    """Return whether the label is the true one."""
    return said.label is not None and comparable(said.label) == comparable(label)


def show_one(text: str, label: str | None, answered: dict[str, list[Said]], names: dict[str, str], say: Words) -> None:
    """Show a card for each run."""
    st.caption(escaped(one_line(text, 2 * SHORT)))
    for column, (run, (said,)) in zip(st.columns(len(answered)), answered.items(), strict=True):
        with column, st.container(border=True):
            st.caption(names[run])
            st.markdown(f"**{escaped(said.label or say('result.outside'))}**")
            parts = []
            if label is not None:
                right = is_right(said, label)
                parts.append(f":{'green' if right else 'red'}[{say('result.right' if right else 'result.wrong')}]")
            if said.probability is not None:
                parts.append(say("result.probability", p=f"{said.probability:.2f}"))
            parts.append(say("result.time", ms=milliseconds(said.seconds)))
            st.markdown(" · ".join(parts))
            if said.label is None:
                st.caption(say("result.said", text=escaped(one_line(said.text, 200))))
    if label is not None:
        st.caption(say("examples.true", label=escaped(label)))
    if len(answered) > 1:
        labels = {said.label for (said,) in answered.values()}
        st.markdown(say("result.all_agree" if len(labels) == 1 and None not in labels else "result.differ"))


def show_many(
    given: list[str], truth: list[str | None], answered: dict[str, list[Said]], names: dict[str, str], say: Words
) -> None:
    """Show a row for each text, a column for each run."""
    labels = list(zip(*([said.label for said in each] for each in answered.values()), strict=True))
    if len(answered) > 1:
        agreed = sum(len(set(row)) == 1 and None not in row for row in labels)
        share = f"{100 * agreed / len(given):.0f} %"
        st.markdown(say("result.agreement", agreed=agreed, all=len(given), share=share))
    known = [label for label in truth if label is not None]
    about: list[dict[str, Any]] = []
    for run, said in answered.items():
        row: dict[str, Any] = {say("column.run"): names[run]}
        if known:
            right = sum(label is not None and is_right(each, label) for each, label in zip(said, truth, strict=True))
            row[say("result.accuracy", all=len(known))] = right
        row[say("result.time_per_text")] = milliseconds(sum(each.seconds for each in said) / len(said))
        about.append(row)
    st.dataframe(about, hide_index=True)
    table = []
    for text, label, index in zip(given, truth, range(len(given)), strict=True):
        row = {say("column.text"): text} | ({say("column.true"): label} if known else {})
        for run, said in answered.items():
            each = said[index]
            row[names[run]] = each.label or f"({say('result.outside')}) {each.text}"
            if each.probability is not None:
                row[f"{names[run]}: {say('column.probability')}"] = round(each.probability, 3)
        table.append(row)
    st.dataframe(table, hide_index=True)


def show_history(say: Words) -> None:
    """Show what was asked in this session, to be downloaded."""
    rows = st.session_state.get("history", [])
    with st.expander(f"{say('history')} ({len(rows)})"):
        if not rows:
            st.caption(say("history.empty"))
            return
        shown = [{say(f"column.{key}"): value for key, value in row.items()} for row in rows]
        st.dataframe(shown[::-1], hide_index=True)
        content = to_csv(list(rows[0]), (row.values() for row in rows))
        st.download_button(
            say("history.download"), content, "history.csv", "text/csv", on_click="ignore", key="download"
        )
        if st.button(say("history.clear")):
            st.session_state.history = []
            st.rerun()


def milliseconds(seconds: float) -> float:
    """Return seconds as milliseconds, of few with two digits: TF-IDF takes less than one."""
    value = 1000 * seconds
    return round(value) if value >= 10 else float(f"{value:.2g}")


def escaped(text: str) -> str:
    """Return a text as Markdown shows it letter by letter, in one paragraph."""
    return "".join(f"\\{each}" if each in "\\`*_{}[]()<>#+-.!|~$:" else each for each in " ".join(text.split()))


main()
