"""The report is well formed, needs nothing from elsewhere, and shows no text as markup."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline

from skcnn import PixelExtractor, compare_pipelines

from .estimators import Failing, Noisy

VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Collects tags and text, and checks that every tag is closed where it should be."""

    def __init__(self, page):
        super().__init__()
        self.stack, self.tags, self.attributes, self.text = [], [], [], []
        self.feed(page)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(comparison):
    return comparison.to_html()


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def test_sections(outline):
    text = "".join(outline.text)
    for title in (
        "Comparison of 4 pipelines",
        "Ranking",
        "Scores per fold",
        "Score against cost",
        "Chosen parameters",
        "Errors",
        "Setting",
    ):
        assert title in text
    assert "200 images · 4 classes · 8 × 8 pixels · 3 folds" in text  # noqa: RUF001
    assert "gaussiannb__var_smoothing" in text
    assert "scikit-learn" in text


def test_no_text_becomes_markup(page, outline):
    assert "script" not in outline.tags
    assert not {"i", "u"} & set(outline.tags)
    text = "".join(outline.text)
    assert "<script>alert('name')</script>" in text
    assert "<i>zero</i>: " in text
    assert "RuntimeError: <b>broken</b>" in text
    assert "<script" not in page


@pytest.mark.parametrize(
    "text", ["<script>x</script>", '"><img src=x onerror=y>', "&lt;b&gt;", "'"]
)
def test_every_kind_of_text_is_escaped(images, labels, text):
    comparison = compare_pipelines(
        {text: make_pipeline(PixelExtractor(), GaussianNB()), f"{text} fails": Failing(text)},
        images,
        np.char.add(text, labels),
        cv=2,
    )
    comparison.setting["scoring"] = comparison.setting["cv"] = text
    comparison.setting["machine"] = comparison.setting["versions"] = {text: text}
    for name, fold in enumerate(comparison.folds):
        object.__setattr__(fold, "best_params", {text: text})
        object.__setattr__(fold, "warnings", (f"{text}{name}",))
    for html in (comparison.to_html(), comparison._repr_html_()):
        outline = Outline(html)
        assert not {"script", "img"} & set(outline.tags)
        assert not any(name.startswith("on") for name, _ in outline.attributes)
        assert text in "".join(outline.text)


def test_nothing_is_fetched(page, outline):
    linking = {"src", "href", "data", "action", "srcset", "poster"}
    assert not [(name, value) for name, value in outline.attributes if name in linking]
    assert not {"link", "iframe", "object", "embed", "base"} & set(outline.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_works_in_light_and_dark_and_print(page):
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    # Colours come from the variables only, so no picture keeps a light colour in the dark.
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        assert not re.search(r'(fill|stroke)="', svg)


def test_pictures_are_well_formed_and_labelled(page):
    pictures = [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page)]
    charts = [picture for picture in pictures if picture.get("role") == "img"]
    assert len(charts) == 3
    for chart in charts:
        assert chart.get("aria-label")
        texts = [element.text for element in chart.findall(".//{*}text")]
        assert "centroid" in texts
        assert "<script>alert('name')</script>" in texts
    axis_titles = [
        e.text for c in charts for e in c.findall(".//{*}text") if e.get("class") == "axis"
    ]
    assert any("fit time" in title for title in axis_titles)
    assert any("prediction time per image" in title for title in axis_titles)
    assert any("mean accuracy" in title for title in axis_titles)


def test_folds_are_drawn_with_their_values(page, comparison):
    titles = [element.text for svg in re.findall(r"<svg.*?</svg>", page)
              for element in ElementTree.fromstring(svg).findall(".//{*}title")]  # fmt: skip
    score = comparison.scores["centroid"][1]
    assert f"centroid, fold 2: {score:.4f}" in titles


def test_tracebacks_and_warnings_are_folded_away(images, labels):
    comparison = compare_pipelines({"a": Noisy(), "b": Failing()}, images, labels, cv=2)
    page = comparison.to_html()
    assert page.count("<details>") == 2 + 1
    assert "in 2 of 2 folds" in page
    assert "Traceback (most recent call last)" in page
    assert "&lt;u&gt;slow&lt;/u&gt;" in page


def test_everything_failed(images, labels):
    page = compare_pipelines({"a": Failing("")}, images, labels, cv=2).to_html()
    text = "".join(Outline(page).text)
    assert "Every pipeline failed" in text
    assert "RuntimeError" in text
    assert "Scores per fold" not in text


def test_many_classes_are_cut_short(images):
    y = np.arange(200) // 5
    pipelines = {"a": make_pipeline(PixelExtractor(), GaussianNB())}
    assert "and 10 more classes" in compare_pipelines(pipelines, images, y, cv=2).to_html()


def test_odd_characters_reach_the_file(images, labels, tmp_path):
    name = "日本語 \udcff \x00"
    comparison = compare_pipelines(
        {name: make_pipeline(PixelExtractor(), GaussianNB())}, images, labels, cv=2
    )
    comparison.to_html(tmp_path / "page.html")
    comparison.to_csv(tmp_path / "table.csv")
    assert "日本語" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_notebook_table(comparison):
    outline = Outline(comparison._repr_html_())
    assert "table" in outline.tags
    assert "centroid" in "".join(outline.text)
