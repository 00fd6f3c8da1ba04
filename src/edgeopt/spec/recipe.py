"""The recipe's shape, schema version 1: everything but the parameters of the steps.

A step's parameters belong to its transform (`transforms/<name>.py`, class `Params`), so that a new
transform brings its own words with it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from edgeopt.spec.tasks import MEASURED, TASKS, THROUGHPUT, TIMED, GateMetric, TaskMetric, TaskType, heads_of, range_of
from edgeopt.support.errors import Path_
from edgeopt.support.words import as_share

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

#: What rows are grouped by without a column.
GROUPINGS = ("label", "length")


class Strict(BaseModel):
    """Base of every part of a recipe: frozen, unknown keys refused, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    @classmethod
    def unfit(cls, given: Mapping[str, object]) -> set[str]:
        """Keys that do not go with the others that are given, and so are not what a misspelled one meant."""
        return set()


Name = Annotated[str, Field(min_length=1)]
Files = Annotated[list[Name], Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


class TokenizerTraining(Strict):
    """A tokenizer trained on text, by the tokenizers library. The same text gives the same tokenizer."""

    files: Name | Files = Field(description="text to train it on, in the formats of [corpus](#corpus)")
    text: Name = Field("text", description="column of the text, where the files have columns")
    vocab: int = Field(30_522, ge=300, le=1_000_000, description="number of tokens, at most")
    algorithm: Literal["wordpiece", "bpe"] = Field(
        "wordpiece", description="BERT's pieces of words, or RoBERTa's pairs of bytes"
    )
    lowercase: bool = Field(True, description="read texts in small letters without accents")


class NewTokenizer(Strict):
    """A tokenizer that is trained."""

    train: TokenizerTraining = Field(description="see [model.tokenizer.train](#modeltokenizertrain)")


class Mended(ValueError):
    """What is wrong with a value, and how to mend it, for the error's `help` line."""

    def __init__(self, message: str, help: str | None) -> None:
        super().__init__(message)
        self.help = help


class ModelSpec(Strict):
    """A pretrained encoder (hub id or local folder), or `config` and `tokenizer`: one that begins from random weights.

    Paths are absolute, or relative to the recipe. Random weights are drawn from the recipe's `seed`, with several seeds
    from the first.
    """

    id: str = Field("", description="hub id, or a local folder in transformers' format")
    revision: str | None = Field(None, description="hub branch, tag or commit")
    config: str | dict[str, str | int | float | bool] | None = Field(
        None,
        description="name of a shape, such as bert-tiny or electra-small; or numbers in the words of transformers' "
        "configs: `{model_type: bert, num_hidden_layers: 4, …}`, `{like: electra-small, num_hidden_layers: 4}`",
    )
    tokenizer: Name | NewTokenizer | None = Field(
        None, description="with `config`: a folder with a tokenizer, or `{train: …}`"
    )

    @model_validator(mode="after")
    def _one_origin(self) -> ModelSpec:
        if bool(self.id) == (self.config is not None):
            raise ValueError("give exactly one of 'id' (hub id or folder) and 'config' (to begin from random weights)")
        if self.config is None and self.tokenizer is not None:
            raise ValueError("'tokenizer' belongs to 'config'; a pretrained model has its own")
        if self.config is not None and self.tokenizer is None:
            raise ValueError("'config' needs 'tokenizer': a folder that has one, or {train: {files: …}}")
        if self.config is not None and self.revision is not None:
            raise ValueError("'revision' belongs to a hub id, not to 'config'")
        return self

    @property
    def named(self) -> str:
        """How it is called in a report."""
        if self.config is None:
            return self.id
        if isinstance(self.config, str):
            return self.config
        return str(self.config.get("like", self.config.get("model_type", "a new model")))


class DataFiles(Strict):
    """Files of each split: csv, tsv, jsonl, json, parquet or conll, each also with .gz.

    Paths are absolute, or relative to the recipe.
    """

    train: Name | Files | None = Field(None, description="needed where a step or the baseline reads it")
    validation: Name | Files | None = None
    test: Name | Files | None = None

    @model_validator(mode="after")
    def _any(self) -> DataFiles:
        if not (self.train or self.validation or self.test):
            raise ValueError("'data_files' names no file: give train and validation, or where nothing trains one alone")
        return self


class MaxRows(Strict):
    """Keep only the first rows of a split after a seeded shuffle: for quick trials on big data.

    Of coreference whole documents are kept.
    """

    train: Annotated[int, Field(ge=1)] | None = None
    validation: Annotated[int, Field(ge=1)] | None = None
    test: Annotated[int, Field(ge=1)] | None = None


class SplitSpec(Strict):
    """Draw the validation rows from train, where the data have none; they are in no training.

    Of each class the same share is drawn. Copies of one text, but for case, spaces and punctuation, stay together, and
    so do the rows of a document. The same rows are drawn on every machine, for every `seed` of the recipe, in every
    order of the file.
    """

    validation: float = Field(gt=0, lt=1, description="share of train's rows")
    seed: Seed = Field(0, description="seed of the draw; another seed draws other rows")


Delimiter = Annotated[str, Field(min_length=1, max_length=1)]
DELIMITER = "character between the cells of csv and tsv files, such as `;`; default: a comma, or a tab in tsv files"
NO_DELIMITER = "'delimiter' is one character that separates cells, such as ';', but no quote, space or line break"


def is_delimiter(text: str) -> bool:
    """Whether a text is one character that may stand between cells."""
    return len(text) == 1 and text not in "\"'\r\n\0 "


class DatasetSpec(Strict):
    """A hub dataset (`path`, `name`, `revision`), a local folder as `path`, or `data_files`."""

    path: str | None = Field(
        None, min_length=1, description="hub dataset id, or a folder with train.* and validation.* files"
    )
    name: str | None = Field(None, description="configuration of the hub dataset")
    revision: str | None = None
    data_files: DataFiles | None = None
    delimiter: Delimiter | None = Field(None, description=DELIMITER)
    max_rows: MaxRows = MaxRows()
    split: SplitSpec | None = Field(
        None,
        description="draws validation rows from train if there is no validation file, see "
        "[task.dataset.split](#taskdatasetsplit)",
    )

    @model_validator(mode="after")
    def _one_source(self) -> DatasetSpec:
        if (self.path is None) == (self.data_files is None):
            raise ValueError("give exactly one of 'path' (hub id or folder) and 'data_files'")
        if self.data_files is not None and (self.name or self.revision):
            raise ValueError("'name' and 'revision' belong to a hub dataset, not to 'data_files'")
        if self.delimiter is not None and not is_delimiter(self.delimiter):
            raise ValueError(NO_DELIMITER)
        if self.delimiter is not None and (self.name or self.revision):
            raise ValueError("'delimiter' belongs to csv and tsv files, not to a hub dataset")
        if self.split and self.data_files and self.data_files.validation:
            raise ValueError("'split' draws validation rows from train, but 'data_files' already has a validation file")
        return self


class TextSource(Strict):
    """Rows of another dataset."""

    dataset: DatasetSpec = Field(description="same keys as the task's; only its train split is read")
    text: Annotated[list[str], Field(min_length=1, max_length=2)] | str | None = Field(
        None, description="default: the task's"
    )

    @model_validator(mode="after")
    def _train_alone(self) -> TextSource:
        if self.dataset.split:
            raise ValueError(
                "'dataset.split' only applies to the task's own dataset; all train rows of this one are used"
            )
        if self.dataset.data_files and not self.dataset.data_files.train:
            raise ValueError("'dataset.data_files' names no train, which alone is read of this dataset")
        return self


class TrainSource(TextSource):
    """More rows to train on, for the same classes or scores: the train split of another dataset.

    Nothing is selected by, calibrated or measured on them. Rows whose text the report split holds too are left out.
    """

    label: str | None = Field(None, description="default: the task's")
    labels: list[str] | None = Field(
        None, min_length=1, description="the task's class for each class number of this dataset, in order"
    )


class PairsSpec(Strict):
    """Which earlier mentions a mention is paired with, and how much of a pair the model reads.

    Mentions are the gold ones.
    """

    max_antecedents: int = Field(
        10,
        ge=1,
        description="largest number of pairs per mention: with the nearest mentions before it, and always with the "
        "nearest one",
    )
    window: int = Field(5, ge=0, description="how many sentences back these mentions may be")
    context: int = Field(25, ge=0, description="words kept on each side of a mention, within its sentence")


class PromptsSpec(Strict):
    """What stands before a text, as the model was trained with, such as `query: ` and `passage: `."""

    query: str = Field("", description="before the texts of the first column")
    passage: str = Field("", description="before the texts of the second column")


class PassagesSpec(Strict):
    """The passages that queries are searched for in, each with an id, and which of them are relevant to a query.

    A relevant passage may have a grade above 0, which nDCG counts. A row to train on becomes a row for each of its
    relevant passages. Queries without a relevant passage are left out of the report split, and counted.
    """

    data_files: Name | Files = Field(
        description="csv, tsv, jsonl, json or parquet, each also with .gz; absolute, or relative to the recipe"
    )
    id: Name = Field("id", description="column with the id of a passage")
    text: Name = Field("text", description="column with the passage")
    relevant: Name = Field(
        "relevant",
        description="column of the task's rows with the relevant passages: an id, a list of ids, or a mapping from ids "
        "to grades",
    )


#: Keys of a task that say how an embedding is made, or is measured.
_EMBEDS = ("pooling", "normalize", "prompts", "dimensions", "corpus")


class TaskSpec(Strict):
    """What the model is asked to do, and on which rows."""

    type: TaskType
    dataset: DatasetSpec
    text: Annotated[list[str], Field(min_length=1, max_length=3)] | str = Field(
        description="one column, or two for a sentence pair. For embedding also three: a text, one like it, and one "
        "unlike it. For token-classification, a column with lists "
        "of words; for "
        "coreference, a column with a document's sentences (`sentences` in conll files and CoNLL-2012 on the "
        "hub); "
        "for summarization, the document"
    )
    choices: Annotated[list[str], Field(min_length=2)] | str | None = Field(
        None,
        description="multiple-choice: one column with the list of choices (or {label, text}), or one column per choice",
    )
    pairs: PairsSpec | None = Field(None, description="coreference: see [task.pairs](#taskpairs)")
    label: Annotated[list[str], Field(min_length=2)] | str | None = Field(
        None,
        description="the column with the class (number or name), the score or the summary; coreference has none; "
        "default: `label`. For multi-label-classification a column with lists of classes, or of a 0 or 1 for each "
        "class; or several columns of 0 and 1, whose names are the classes. For embedding "
        "the similarity of two texts; without this key its rows have no labels",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="multi-label-classification: the probability above which a class is answered; default: 0.5",
    )
    labels: list[str] | None = Field(
        None,
        min_length=2,
        description="class names, in the order of the class numbers; for a trained head, in the order of its outputs",
    )
    missing_label: int | str | None = Field(
        None,
        description="value in the label column of rows without a label, such as -1; these rows are left out "
        "and counted; "
        "default: every row must have a label",
    )
    leaks: Literal["report", "drop", "refuse"] = Field(
        "report",
        description="what to do with rows of the report split whose text is also in train: report their number, drop "
        "them from the report split, or refuse to run",
    )
    metrics: list[TaskMetric] | None = Field(
        None,
        min_length=1,
        description="default, by task: accuracy, f1 (text-classification); pearson, spearman "
        "(text-regression); accuracy "
        "(multiple-choice); f1_micro, f1_macro (multi-label-classification); f1, accuracy (token-classification); "
        "conll_f1, f1 (coreference); rouge1, rouge2, "
        "rougeL (summarization); spearman, pearson, agreement (embedding), agreement where its rows have no labels, "
        "or with `corpus` ndcg@10, mrr@10, recall@10, map, agreement; ndcg@10, mrr@10, map (reranking)",
    )
    pooling: Literal["mean", "cls", "last", "max"] | None = Field(
        None,
        description="embedding: how the states of a text's tokens become one; default: as the model's folder says in "
        "modules.json, else mean",
    )
    normalize: bool | None = Field(
        None,
        description="embedding: whether embeddings are made of length 1; default: as the model's folder says, else "
        "true",
    )
    prompts: PromptsSpec | None = Field(
        None, description="embedding: see [task.prompts](#taskprompts); default: as the model's folder says"
    )
    dimensions: (
        Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)] | Annotated[int, Field(ge=1)] | None
    ) = Field(
        None,
        description="embedding: how many numbers of an embedding are kept, the first ones; default: all. A list "
        "keeps as many as its largest number; trained steps add the losses of all (Matryoshka), and the metrics of "
        "the smaller ones are in the report",
    )
    corpus: Literal["rows"] | PassagesSpec | None = Field(
        None,
        description="embedding: what each row's query is searched for in, for the metrics of retrieval. `rows`: the "
        "passages of all rows, the second text of each, where equal ones are one; or see [task.corpus](#taskcorpus). "
        "`max_rows` leaves the corpus whole",
    )
    group: str | None = Field(
        None,
        description="reranking: the column that is equal for all passages of one query; default: the query itself",
    )
    max_length: int = Field(128, ge=4, le=8192, description="tokens; longer texts are cut")
    max_target_length: int | None = Field(
        None,
        ge=4,
        le=1024,
        description="summarization: tokens per summary, including two special ones; longer summaries are "
        "cut; default: 64",
    )
    long_text: Literal["truncate", "window"] = Field(
        "truncate",
        description="longer texts are cut, or read in overlapping windows whose logits are averaged",
    )
    stride: int | None = Field(
        None, ge=1, description="tokens that neighboring windows have in common; default: a quarter of max_length"
    )
    report: Literal["validation", "test"] | None = Field(None, description="split that every figure is measured on")
    selection: float = Field(
        0.1,
        gt=0,
        lt=0.5,
        description="share of train that is held out to choose a checkpoint, int8 settings (`policy: auto`) "
        "or the export",
    )
    slices: list[str] | None = Field(
        None,
        min_length=1,
        description="columns with few values; the report also shows differences by these, besides label and length. "
        "Their values are kept in the run folder",
    )
    train_with: list[TrainSource] = Field(
        default=[], description="more datasets to train on, see [task.train_with](#tasktrain_with)"
    )

    @property
    def each(self) -> dict[Path_, TaskSpec]:
        """Every task by the path of its keys: this one, or each of several."""
        return {("task",): self}

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the texts, those of the choices last."""
        text = (self.text,) if isinstance(self.text, str) else tuple(self.text)
        choices = (self.choices,) if isinstance(self.choices, str) else tuple(self.choices or ())
        return text + choices

    @property
    def label_columns(self) -> tuple[str, ...]:
        """Columns of the label."""
        return (self.label,) if isinstance(self.label, str) else tuple(self.label or ())

    @property
    def class_names(self) -> list[str] | None:
        """The classes as the recipe lists them, by name or by their columns; None where it does not."""
        return list(self.label_columns) if isinstance(self.label, list) else self.labels

    @property
    def cut(self) -> float:
        """The probability above which a class is answered, where a row may have several."""
        return 0.5 if self.threshold is None else self.threshold

    @property
    def passages(self) -> PassagesSpec | None:
        """The corpus, where it is apart from the rows."""
        return self.corpus if isinstance(self.corpus, PassagesSpec) else None

    @property
    def texts_a_row(self) -> int:
        """Texts of a row to train on."""
        return max(2, len(self.columns)) if self.corpus is not None else len(self.columns)

    @property
    def pairing(self) -> PairsSpec:
        """How mentions are paired, by default where the recipe does not say."""
        return self.pairs or PairsSpec()

    @property
    def sliceable(self) -> bool:
        """Whether parts of the rows are measured apart."""
        return TASKS[self.type].sliced and self.corpus is None

    @property
    def known_metrics(self) -> tuple[str, ...]:
        """What the task can be measured by."""
        return TASKS[self.type].known_metrics

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What the task is measured by, in the recipe's order, or the task's defaults."""
        kind = TASKS[self.type]
        default = kind.default_metrics if self.label else kind.unlabelled_metrics
        if self.corpus is not None:
            default = (*kind.searched_metrics, *kind.unlabelled_metrics)
        return tuple(dict.fromkeys(self.metrics or ())) or default

    @property
    def target_length(self) -> int | None:
        """Tokens of a summary; None where the task writes none."""
        return (self.max_target_length or 64) if self.type == "summarization" else None

    @property
    def window_stride(self) -> int | None:
        """Tokens that neighboring windows share; None where long texts are cut."""
        return None if self.long_text == "truncate" else self.stride or self.max_length // 4

    @model_validator(mode="before")
    @classmethod
    def _usual_label(cls, given: Any) -> Any:
        """The usual column of the labels, for a task whose rows must have some."""
        if not isinstance(given, dict) or "label" in given:
            return given
        kind = TASKS.find(name) if isinstance(name := given.get("type"), str) and name in TASKS else None
        return given if kind is None or kind.unlabelled_metrics else {**given, "label": "label"}

    @model_validator(mode="after")
    def _embedding_fits(self) -> TaskSpec:
        kind = TASKS[self.type]
        if self.label is None and not kind.unlabelled_metrics:
            raise ValueError(f"'label' must name a column: {self.type} has no rows without labels")
        if not kind.embeds and (given := [key for key in _EMBEDS if getattr(self, key) is not None]):
            raise ValueError(f"'{given[0]}' belongs to embedding, not to {self.type}")
        if not kind.embeds and not isinstance(self.text, str) and len(self.text) > 2:
            raise ValueError(f"'text' names {len(self.text)} columns, and {self.type} reads two at most")
        if kind.embeds and self.label and len(self.columns) != 2:
            raise ValueError("'label' is the similarity of two texts: give 'text' two columns, or leave 'label' out")
        compares = {*kind.known_metrics} - {*kind.unlabelled_metrics, *kind.searched_metrics}
        if wrong := [m for m in self.metrics or () if not self.label and m in compares]:
            raise ValueError(
                f"'metrics' names {', '.join(wrong)}, which compares with labels: name their column in 'label'"
            )
        return self

    @model_validator(mode="after")
    def _classes_fit(self) -> TaskSpec:
        several = TASKS[self.type].several_classes
        if isinstance(self.label, list):
            if not several:
                raise ValueError(f"'label' names {len(self.label)} columns, and {self.type} reads one")
            if self.labels:
                raise ValueError("'labels' names classes, and the columns of 'label' do: remove it")
            if len(set(self.label)) < len(self.label):
                raise ValueError("'label' names a column twice")
        if self.threshold is not None and not several:
            raise ValueError(f"'threshold' belongs to multi-label-classification, not to {self.type}")
        return self

    @model_validator(mode="after")
    def _groups_fit(self) -> TaskSpec:
        grouped = TASKS[self.type].grouped
        if self.group is not None and not grouped:
            raise ValueError(f"'group' belongs to reranking, not to {self.type}")
        if grouped and len(self.columns) != 2:
            raise ValueError("'text' names two columns: a query and a passage")
        return self

    @model_validator(mode="after")
    def _corpus_fits(self) -> TaskSpec:
        searched = TASKS[self.type].searched_metrics
        if self.corpus is None:
            if wrong := [m for m in self.metrics or () if m in searched]:
                raise ValueError(f"'metrics' names {', '.join(wrong)}, which need a corpus to search: give 'corpus'")
            return self
        if self.label:
            raise ValueError("'label' is the similarity of two texts, and 'corpus' has its own: leave one of them out")
        if self.corpus == "rows" and len(self.columns) < 2:
            raise ValueError("'corpus: rows' needs two columns in 'text': a query and its passage")
        if self.passages is not None and len(self.columns) > 1:
            raise ValueError("'text' names the column of the queries alone: the passages are those of 'corpus'")
        if self.passages is not None and self.train_with:
            raise ValueError("'train_with' does not go with passages apart from the rows: use 'corpus: rows'")
        return self

    @model_validator(mode="after")
    def _metrics_fit(self) -> TaskSpec:
        wrong = [m for m in self.metrics or () if m not in self.known_metrics]
        if wrong:
            raise Mended(
                f"'metrics' names {', '.join(wrong)}, which {self.type} does not have",
                f"metrics of {self.type}: {', '.join(self.known_metrics)}",
            )
        if not TASKS[self.type].has_classes and (self.labels or any(source.labels for source in self.train_with)):
            raise ValueError(f"'labels' names classes, but a {self.type.removeprefix('text-')} has none")
        twice = [name for i, name in enumerate(self.labels or ()) if name in (self.labels or ())[:i]]
        if twice:
            raise ValueError(f"'labels' names {twice[0]!r} twice")
        return self

    @model_validator(mode="after")
    def _keys_fit(self) -> TaskSpec:
        if (self.type == "multiple-choice") != (self.choices is not None):
            raise ValueError("multiple-choice needs 'choices', the column with the choices; other tasks do not take it")
        if self.type != "coreference" and self.pairs is not None:
            raise ValueError(f"'pairs' belongs to coreference, not to {self.type}")
        if self.type == "coreference" and self.missing_label is not None:
            raise ValueError("coreference does not take 'missing_label', because its documents contain the entities")
        if self.type == "coreference" and self.labels:
            raise ValueError("coreference does not take 'labels': its classes are no and yes")
        if self.type in ("multiple-choice", "token-classification", "coreference", "summarization") and not isinstance(
            self.text, str
        ):
            raise ValueError(f"{self.type} reads one 'text' column")
        if self.max_target_length is not None and self.type != "summarization":
            raise ValueError("'max_target_length' belongs to summarization")
        if self.long_text == "window" and not TASKS[self.type].windowed:
            raise ValueError(
                f"'long_text: window' belongs to a classification or regression of texts, not to {self.type}"
            )
        if self.slices and not self.sliceable:
            raise ValueError(f"{self.type} does not take 'slices', because its rows are not measured separately")
        if taken := sorted({*(self.slices or ())} & {*GROUPINGS, "worst"}):
            raise ValueError(f"'slices' names columns, and {taken[0]!r} is a word of edgeopt's own: rename the column")
        if self.stride is not None and self.long_text != "window":
            raise ValueError("'stride' belongs to 'long_text: window'")
        if self.stride is not None and self.stride > self.max_length // 2:
            raise ValueError(
                f"'stride' is {self.stride}, but windows of {self.max_length} tokens may have at most half of "
                f"them in common"
            )
        return self


#: The type of the task that stands for all of `tasks`.
SEVERAL = "several"
#: How one of several tasks reads a row of two texts.
HeadKind = Literal["pair", "bi-encoder", "cosine"]


def _task_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,31}", name):
        raise ValueError(
            f"{name!r} cannot be the name of a task, which is part of the names of its metrics and outputs: use at "
            "most 32 letters, digits, '_' and '-', a letter first"
        )
    return name


TaskName = Annotated[str, AfterValidator(_task_name)]


class OneTask(TaskSpec):
    """One of several tasks on one encoder: the keys of [task](#task), and which head it has."""

    head: HeadKind = Field(
        "pair",
        description="pair: both texts in one sequence, as a task alone reads them, or the one text; bi-encoder: each "
        "text by itself, a linear layer over both embeddings; cosine: each text by itself, the cosine of "
        "both embeddings, for text-regression",
    )
    weight: float = Field(1.0, gt=0, description="weight of its loss")

    @model_validator(mode="before")
    @classmethod
    def _learns_from_labels(cls, given: Any) -> Any:
        kind = given.get("type") if isinstance(given, dict) else None
        if isinstance(kind, str) and kind.startswith("pretrain."):
            help = f"make it the first step, before the tasks are trained: `- {{use: {kind}, corpus: {{…}}}}`"
            raise Mended(f"'type' is {kind}, which is a step on plain text and no task yet", help)
        return given

    @model_validator(mode="after")
    def _fits_beside_others(self) -> OneTask:
        heads = heads_of(self.type)
        if not heads:
            able = ", ".join(name for name in TASKS.usable() if heads_of(name))
            raise Mended(f"'type' is {self.type}, which cannot share an encoder yet", f"types in `tasks`: {able}")
        if self.head not in heads:
            raise Mended(f"'head' is {self.head}, which {self.type} does not have", f"its heads: {', '.join(heads)}")
        if self.head != "pair" and len(self.columns) != 2:
            raise ValueError(f"'head' is {self.head}, which compares two texts: give 'text' two columns")
        for key, given in (
            ("train_with", bool(self.train_with)),
            ("slices", self.slices is not None),
            ("long_text", self.long_text == "window"),
        ):
            if given:
                raise ValueError(f"'{key}' does not work with several tasks yet: remove it")
        return self


class SeveralTasks(TaskSpec):
    """All of a recipe's `tasks` as the one task that the rest of edgeopt works on."""

    type: Literal["several"] = SEVERAL  # type: ignore[assignment]
    parts: dict[str, OneTask]

    @classmethod
    def of(cls, parts: Mapping[str, OneTask]) -> SeveralTasks:
        """The task that stands for these, in the order of their names, as no order of keys means anything.

        What only one task has, such as a dataset, it does not have.
        """
        return cls.model_construct(
            parts=dict(sorted(parts.items())),
            dataset=DatasetSpec.model_construct(),
            text="text",
            label="label",
            max_length=max(part.max_length for part in parts.values()),
            selection=next(part.selection for part in parts.values()),
        )

    @property
    def each(self) -> dict[Path_, TaskSpec]:
        return {("tasks", name): part for name, part in self.parts.items()}

    @property
    def sliceable(self) -> bool:
        return False

    @property
    def known_metrics(self) -> tuple[str, ...]:
        return tuple(f"{name}.{metric}" for name, part in self.parts.items() for metric in part.known_metrics)

    @property
    def metric_names(self) -> tuple[str, ...]:
        return tuple(f"{name}.{metric}" for name, part in self.parts.items() for metric in part.metric_names)


class EarlyStopping(Strict):
    """Stop when the first metric of the task has not risen on the selection split."""

    patience: int = Field(
        2,
        ge=1,
        description="evaluations in a row without improvement; there is one per epoch, or one every `eval_steps`",
    )


class Sampling(Strict):
    """How an epoch's rows are drawn where there are several training datasets, or several tasks.

    Of a dataset of N rows a share proportional to N^α. Without this key: proportional. Annealed (Stickland & Murray
    2019): α falls from 1 in the first epoch, in equal steps, to 1 − anneal_by in the last. A dataset that gives less
    than all its rows goes on in the next epoch where it stopped, and one that gives more begins again, shuffled anew.
    Of several tasks each batch holds one, and the shares are of batches.
    """

    method: Literal["proportional", "uniform", "annealed", "round-robin"] = Field(
        "proportional",
        description="α = 1; α = 0; α from large to small; the tasks in turn, for several tasks",
    )
    anneal_by: float = Field(0.8, gt=0, le=1, description="how much α falls over the epochs; the paper uses 0.8")
    steps_per_epoch: int | None = Field(
        None, ge=1, description="optimizer steps per epoch; default: as many as all rows of all datasets need"
    )


Weight = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0)]
Numbers = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Unlabelled(TextSource):
    """More texts to learn from the teacher on: the train split of a dataset, whose labels, if any, are not read.

    The terms of the teacher apply to its rows and `labels` does not, each a mean over the rows that it applies to. To
    `sampling` it is one dataset more. Rows whose text the report split, or the rows held out for selection, hold too
    are left out.
    """

    @property
    def key(self) -> str:
        """A text that is equal exactly where the same rows of the same texts are meant."""
        return self.model_dump_json()


class Losses(Strict):
    """The terms of the loss of a distillation, each with its weight; one of weight 0 costs nothing.

    Terms of layers are means over the pairs of layers and over the tokens, padding aside.
    """

    labels: Share = Field(0.0, description="the loss on the labels")
    logits: Share = Field(
        1.0,
        description="T²·KL of the logits (Hinton et al. 2015); for a regression, squared distance of the scores; for "
        "embedding that of the embeddings, behind a learned linear layer if widths differ",
    )
    hidden: Share = Field(
        0.0,
        description="mean squared distance between the outputs of matched layers; if widths differ, a linear layer is "
        "learned between them",
    )
    cosine: Share = Field(0.0, description="1 − cosine between the outputs of matched layers (Sanh et al. 2019)")
    attention: Share = Field(0.0, description="the KL of matched layers' attention, softmax(QKᵀ/√d)")
    values: Share = Field(0.0, description="the KL of the last layers' softmax(VVᵀ/√d) (MiniLM: Wang et al. 2020)")

    @property
    def layered(self) -> bool:
        """Whether a term looks inside the teacher, and so needs its tokens to be the student's."""
        return bool(self.hidden or self.cosine or self.attention or self.values)

    @model_validator(mode="after")
    def _something(self) -> Losses:
        if not (self.labels or self.logits or self.layered):
            raise ValueError("every weight is 0, so nothing is learned")
        return self


#: One teacher, several, or one for each of several tasks.
Teachers = Annotated[dict[str, Name], Field(min_length=1)] | Annotated[list[Name], Field(min_length=1)] | Name


class Taught(Strict):
    """Base of what learns from a teacher: the keys that say from which, and how. Which losses there are differs."""

    teacher: Teachers | None
    losses: Strict
    temperature: float = Field(
        2.0, gt=0, description="temperature T that divides the logits of both models; usually 1 to 8"
    )
    match: Literal["uniform", "dynamic"] | Numbers = Field(
        "uniform",
        description="which layers are compared. uniform: every k-th layer of the deeper model; dynamic: evenly spread "
        "layers of the teacher, each with the layer of the student that is currently nearest, in order; or a "
        "list: for each layer of the student, the number of the teacher's layer, from 0",
    )

    @property
    def named(self) -> dict[Path_, str]:
        """The teachers that a term needs, by the path of each one's name."""
        if isinstance(self.teacher, str):
            return {("teacher",): self.teacher}
        each = self.teacher.items() if isinstance(self.teacher, dict) else enumerate(self.teacher or ())
        return {("teacher", at): name for at, name in each}

    @property
    def by_task(self) -> dict[str, str] | None:
        """The teacher of each of several tasks, where each has its own."""
        return self.teacher if isinstance(self.teacher, dict) else None

    @property
    def teachers(self) -> tuple[str, ...]:
        """Names of the teachers that a term needs."""
        return tuple(self.named.values())

    @property
    def reads_alike(self) -> bool:
        """Whether a teacher's tokens must be the student's."""
        return True


class Distillation(Taught):
    """Train towards a teacher, besides the labels or in their place.

    The loss is the sum of the `losses`. What the teacher answers to the training rows is computed once and kept in the
    store.
    """

    teacher: Teachers = Field(
        "baseline",
        description="`baseline` (its last torch model), the id of an earlier step, or a checkpoint with a trained head "
        "(a folder, or a hub id with its owner). For a list, the mean of their probabilities or scores is "
        "used. With several tasks also one for each task, by its name",
    )
    losses: Losses = Field(
        Losses(), description="weights of the losses, see [training.distill.losses](#trainingdistilllosses)"
    )
    relation_heads: int | None = Field(
        None,
        ge=1,
        description="number of parts that Q, K and V are split into; must divide the width in both models; "
        "default: the "
        "number of heads, if both have the same",
    )
    unlabelled: Unlabelled | None = Field(
        None, description="more texts without labels, see [training.distill.unlabelled](#trainingdistillunlabelled)"
    )
    cache_gb: float = Field(
        4.0,
        ge=0,
        description="size limit of the cache of the teacher's answers, in 10^9 bytes; larger sets of answers are "
        "computed again in every epoch",
    )

    @property
    def asks(self) -> bool:
        """Whether it is anything but a training on the labels, as it would be without this."""
        return bool(self.teachers) or self.losses.labels != 1.0

    @property
    def named(self) -> dict[Path_, str]:
        return super().named if self.losses.logits or self.losses.layered else {}

    @property
    def reads_alike(self) -> bool:
        return self.losses.layered

    @model_validator(mode="after")
    def _terms_fit(self) -> Distillation:
        losses = self.losses
        if self.unlabelled is not None and not self.teachers:
            raise ValueError(
                "'unlabelled' rows are learned from the teacher: give 'logits' or a layer loss a weight in 'losses'"
            )
        if losses.layered and isinstance(self.teacher, list) and len(self.teacher) > 1:
            raise ValueError(
                "'hidden', 'cosine', 'attention' and 'values' need a single teacher; only logits can be "
                "averaged over several"
            )
        if self.match == "dynamic" and not losses.hidden:
            raise ValueError("'match: dynamic' compares hidden states: give 'hidden' a weight in 'losses'")
        if self.match != "uniform" and not (losses.hidden or losses.cosine or losses.attention):
            raise ValueError("'match' belongs to 'hidden', 'cosine' and 'attention' of 'losses'")
        if self.relation_heads is not None and not (losses.attention or losses.values):
            raise ValueError("'relation_heads' belongs to 'attention' and 'values' of 'losses'")
        return self


#: Rows of a batch where a recipe does not say it, and what `batch_size: auto` begins with.
BATCH = 32


class Training(Strict):
    """What every training takes, whatever it learns from."""

    epochs: float = Field(3.0, gt=0)
    max_steps: int | None = Field(None, ge=1, description="optimizer steps; overrides epochs")
    learning_rate: float = Field(5e-5, gt=0, lt=1)
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        BATCH,
        description="rows per step on each device, before accumulation; auto: 32, halved each time that memory runs "
        "out, with `gradient_accumulation` doubled",
    )
    gradient_accumulation: int = Field(1, ge=1)
    gradient_checkpointing: bool = False
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0, lt=1)
    layerwise_lr_decay: float | None = Field(
        None, gt=0, le=1, description="factor of the learning rate per layer, from the head down"
    )
    dropout: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="probability of every dropout in the model during this training; default: those of its config, "
        "which stays as it is",
    )
    freeze: Literal["none", "embeddings", "encoder"] = Field(
        "none",
        description="what stays as it is. embeddings: the embedding tables and their norm; encoder: all but the head",
    )
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="auto: bf16 if a measurement on this machine, at the model's sizes, finds it faster"
    )
    class_weights: Literal["balanced", "effective-number"] | dict[str, Weight] | list[Weight] | None = Field(
        None,
        description="weight of each class in the loss: balanced is n/(k·n_c), effective-number is (1−β)/(1−β^n_c), or "
        "give weights by class name or number. For multi-label-classification, what a yes of the class counts against "
        "a no; balanced is (n − n_c)/n_c",
    )
    effective_beta: float = Field(
        0.999, gt=0, lt=1, description="β of effective-number; closer to 1 gives rare classes more weight"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="share of each label that is spread evenly over all classes"
    )
    sampling: Sampling | None = Field(
        None, description="how rows of several datasets are drawn, see [training.sampling](#trainingsampling)"
    )
    early_stopping: EarlyStopping | None = None
    keep_best: bool = Field(
        False,
        description="keep the best checkpoint on the selection split, by the first metric (for summaries, by the loss)",
    )
    eval_steps: int | None = Field(
        None,
        ge=1,
        description="optimizer steps between evaluations for `keep_best` and `early_stopping`; default: one per epoch",
    )
    seed: Seed | None = Field(None, description="default: the step's seed, which by default is the recipe's")
    _found: int = PrivateAttr(BATCH)

    @model_validator(mode="after")
    def _keys_have_a_use(self) -> Training:
        if self.eval_steps is not None and not self.selects:
            raise ValueError("'eval_steps' belongs to 'keep_best' and 'early_stopping': without them nothing is chosen")
        if self.freeze == "encoder":
            if self.layerwise_lr_decay is not None:
                raise ValueError(
                    "'layerwise_lr_decay' gives layers rates, and 'freeze: encoder' leaves them as they are"
                )
            if self.distillation is not None and self.distillation.losses.layered:
                raise ValueError(
                    "'hidden', 'cosine', 'attention' and 'values' of 'losses' train layers, and 'freeze: encoder' "
                    "leaves them as they are: keep 'labels' and 'logits'"
                )
        return self

    @property
    def batch(self) -> int:
        """Rows of a batch on each device, with `auto` those that were found to fit."""
        return self._found if self.batch_size == "auto" else self.batch_size

    @property
    def accumulation(self) -> int:
        """Batches before an optimizer step, with `auto` as many as make its rows those of a batch that was not cut."""
        return self.gradient_accumulation * (BATCH // self._found if self.batch_size == "auto" else 1)

    def with_batch(self, rows: int) -> Self:
        """The training with the rows that `auto` stands for: 32, 16, 8, 4, 2 or 1."""
        found = self.model_copy()
        found._found = rows
        return found

    @property
    def model_dropout(self) -> float | None:
        """The probability that the model's dropouts get; None: they keep those of its config."""
        return self.dropout

    @property
    def vector_rate(self) -> float | None:
        """The learning rate of biases and norms; None: that of the weights."""
        return None

    @property
    def corrects_bias(self) -> bool:
        """Whether Adam corrects its moments for beginning at zero; False: as ELECTRA has it."""
        return True

    @property
    def selects(self) -> bool:
        """Whether rows must be held out of train to choose a checkpoint by."""
        return self.keep_best or self.early_stopping is not None

    @property
    def of_pairs(self) -> EmbeddingLosses | None:
        """The losses of an embedding model on pairs; None: the task's own."""
        return None

    @property
    def taught(self) -> Taught | None:
        """What it learns from a teacher; None: it learns from the labels alone."""
        return self if isinstance(self, Taught) else None

    @property
    def taught_at(self) -> tuple[str, ...]:
        """Where, below its own keys, those of `taught` are."""
        return ()

    @property
    def distillation(self) -> Distillation | None:
        """What it learns from a teacher with the losses that every training may have."""
        return found if isinstance(found := self.taught, Distillation) else None


class EmbeddingLosses(Strict):
    """The terms of the loss of an embedding model on pairs, or of a reranker on rows, each with its weight.

    They are those of sentence-transformers. Without this key: for embedding `cosent` where rows have labels, else
    `contrastive`; for reranking `mse`.
    """

    contrastive: Share = Field(
        0.0,
        description="the first text of a row is told from the second texts of the other rows of the batch, and from "
        "all third texts (MultipleNegativesRankingLoss)",
    )
    cosent: Share = Field(0.0, description="pairs with higher labels get higher cosines (CoSENTLoss)")
    cosine: Share = Field(
        0.0,
        description="squared distance between the cosine and the label, which is brought to the range from 0 to 1 "
        "(CosineSimilarityLoss)",
    )
    mse: Share = Field(0.0, description="reranking: squared distance between the score and the label")
    bce: Share = Field(
        0.0, description="reranking: binary cross-entropy of the score's sigmoid and the label, which is from 0 to 1"
    )
    scale: float = Field(20.0, gt=0, description="what cosines are multiplied by in `contrastive` and `cosent`")
    mini_batch_size: int | None = Field(
        None,
        ge=1,
        description="rows that are computed at once. The batch is computed in parts, twice, with the gradients of the "
        "whole (GradCache), so that a large batch needs the memory of a small one; default: the whole batch",
    )

    @model_validator(mode="after")
    def _something(self) -> EmbeddingLosses:
        if not (self.contrastive or self.cosent or self.cosine or self.mse or self.bce):
            raise ValueError("every weight is 0, so nothing is learned")
        return self


class TrainParams(Training):
    """What every trained step takes. Rates and counts are those of transformers' TrainingArguments."""

    losses: EmbeddingLosses | None = Field(
        None, description="of an embedding model on pairs, or of a reranker, see [training.losses](#traininglosses)"
    )
    distill: Distillation | None = Field(
        None, description="learn from a teacher, see [training.distill](#trainingdistill)"
    )

    @property
    def of_pairs(self) -> EmbeddingLosses | None:
        return self.losses

    @property
    def taught(self) -> Taught | None:
        return self.distill

    @property
    def taught_at(self) -> tuple[str, ...]:
        return ("distill",)


class Baseline(Strict):
    """The FP32 reference: the model fine-tuned in full, or (without `finetune`) the model as it is."""

    finetune: TrainParams | None = None


#: The format that stands for the fastest of several.
AUTO = "auto"


#: A form in which an index keeps embeddings.
Stored = Literal["int8", "binary"]


class ExportSpec(Strict):
    """One exporter and its options; `edgeopt exporters` lists them.

    `auto` measures several and keeps the fastest that holds the gates.
    """

    format: str
    options: dict[str, Any] = {}
    formats: Annotated[list[str], Field(min_length=1)] | None = Field(
        None,
        description="with `format: auto`: the formats to try; default: every exporter that runs here and "
        "takes the model",
    )
    embeddings: Annotated[list[Stored], Field(min_length=1)] | Stored | None = Field(
        None,
        description="embedding, for the first export: also measure its embeddings stored as a byte or a bit a number, "
        "and write embeddings.json with their ranges beside the model",
    )

    @property
    def stored(self) -> list[Stored]:
        """The forms in which its embeddings are stored."""
        return [self.embeddings] if isinstance(self.embeddings, str) else list(dict.fromkeys(self.embeddings or ()))


class Target(Strict):
    """A device profile: what latency is measured with."""

    name: str = Field(pattern=NAME)
    description: str = ""
    runtime: str | None = Field(
        None,
        description="runtime of the device, if it has only one; default: each export is measured in its own runtime",
    )
    threads: int = Field(1, ge=1, le=256)
    batch: int = Field(1, ge=1, le=1024, description="rows that are answered at once, as a server does with a batch")
    order: Literal["data", "length"] = Field(
        "data",
        description="order of the rows in batches: as in the data, or sorted by length, which needs little padding",
    )
    sequence: list[Annotated[int, Field(ge=4, le=8192)] | Literal["task"]] = Field(
        default=[128, "task"],
        min_length=1,
        description="lengths in tokens; 'task' uses the lengths of the report split, in a batch padded to its longest",
    )
    queries: int = Field(
        700, ge=64, le=1_000_000, description="queries per model and length, each a batch; p90 needs 64, p99 needs 662"
    )
    max_seconds: float = Field(
        60.0,
        gt=0,
        le=86_400,
        description="time limit for each length, including warm-up and loading; a slow model or a noisy machine may "
        "leave gates inconclusive",
    )
    instructions: list[str] = Field(
        default=[],
        description="CPU flags of the device, by their Linux names, with a bar between alternatives; on a machine that "
        "lacks one, latency gates are inconclusive",
    )
    without: list[str] = Field(
        default=[],
        description="CPU flags that the device lacks; on a machine that has one, latency gates are inconclusive",
    )
    device: str | None = Field(
        None,
        min_length=1,
        description="processor that bounds in milliseconds apply to: part of its name, as `edgeopt doctor` shows it",
    )
    memory_mb: float | None = Field(
        None,
        gt=0,
        description="memory of the device in 10^6 bytes; adds a gate on `memory.peak` to every recipe with this target",
    )


class GateSpec(Strict):
    """A bound on one measurement of the candidate, alone or against the baseline."""

    metric: GateMetric
    task: str | None = Field(None, description="with several tasks: the task whose metric it is")
    max_drop: float | None = Field(
        None, ge=0, description="largest allowed loss: baseline minus candidate, as a fraction (one point is 0.01)"
    )
    max_drop_relative: float | None = Field(
        None, ge=0, lt=1, description="largest allowed loss as a share of the baseline's metric"
    )
    min: float | None = Field(None, description="the candidate's metric, or queries a second, by itself")
    max_mb: float | None = Field(None, gt=0, description="10^6 bytes")
    max_ms: float | None = Field(None, gt=0)
    min_speedup: float | None = Field(
        None, gt=0, description="baseline's latency divided by the candidate's, or its queries a second"
    )
    max_ratio: float | None = Field(None, gt=0, description="candidate / baseline")
    confidence: float = Field(
        0.95, ge=0.5, lt=1, description="confidence of the one-sided bound; 0.5 compares the measured values alone"
    )
    target: str | None = Field(None, description="default: the first target")
    sequence: int | Literal["task"] | None = Field(None, description="default: the first of the target")
    slice: str | None = Field(
        None,
        description="the bound must hold on the slice that drops most: among all slices (`worst`), or among those by "
        "`label` (accuracy only), by `length`, or by a column of task.slices; needs max_drop",
    )
    against: Literal["onnx", "torch"] = Field("onnx", description="FP32 baseline that a speed-up is measured against")

    @classmethod
    def unfit(cls, given: Mapping[str, object]) -> set[str]:
        """Bounds that a gate on this metric does not take."""
        return {*BOUNDS} - {*bounds_of(str(given["metric"]))} if "metric" in given else set()

    @property
    def bound(self) -> tuple[str, float]:
        """The one bound's key and value."""
        (found,) = [(k, v) for k in BOUNDS if (v := getattr(self, k)) is not None]
        return found

    @property
    def measured(self) -> str:
        """What its metric is called in a report: with several tasks the task's name stands before it."""
        return self.metric if self.task is None else f"{self.task}.{self.metric}"

    @property
    def timed(self) -> bool:
        """Whether it is on what is timed on a target at one of its lengths."""
        return self.metric in TIMED

    @property
    def compares_exports(self) -> bool:
        """Whether it holds the candidate against the baseline that is exported as it is, and not torch's."""
        return self.bound[0] not in ABSOLUTE and self.against != "torch"

    @property
    def of_device(self) -> bool:
        """Whether its bound is of one device's speed: milliseconds, or queries a second."""
        return self.max_ms is not None or (self.metric == THROUGHPUT and self.min is not None)

    @model_validator(mode="after")
    def _one_bound_that_fits(self) -> GateSpec:
        given = [k for k in BOUNDS if getattr(self, k) is not None]
        allowed = bounds_of(self.metric)
        if len(given) != 1:
            example = f"{{metric: {self.metric}, {allowed[0]}: {_EXAMPLES[allowed[0]]}}}"
            help = f"keep one of {', '.join(given)}" if given else f"add the bound, such as `{example}`"
            raise Mended(f"a gate on {self.metric} takes exactly one of {', '.join(allowed)}", help)
        if given[0] not in allowed:
            raise ValueError(f"{given[0]} does not fit {self.metric}, which takes one of {', '.join(allowed)}")
        if not self.timed and (self.sequence is not None or self.against == "torch"):
            raise ValueError("'sequence' and 'against' only apply to gates on latency or throughput")
        if self.task is not None and self.metric in MEASURED:
            raise ValueError(f"'task' belongs to a gate on a task's metric: all tasks have one {self.metric}")
        if self.slice is not None and (self.metric in MEASURED or self.max_drop is None):
            raise ValueError("'slice' only applies to gates on a metric of the task, with max_drop")
        if why := _decided_already(self.metric, *self.bound):
            key, bound = self.bound
            raise Mended(why, as_share(key, bound) if key in ("max_drop", "min") and bound >= 1 else None)
        if self.slice == "label" and self.metric != "accuracy":
            raise ValueError(
                f"'slice: label' only works with accuracy, because {self.metric} means nothing among rows of one label"
            )
        return self


#: A ratio of two models beyond which a bound holds whatever they are.
_ABSURD = 1000.0


def _decided_already(metric: str, kind: str, bound: float) -> str | None:
    """Why a bound decides nothing, because no model can fail it, or pass it."""
    low, high = range_of(metric)
    between = f"{metric} is between {low:g} and {high:g}" if math.isfinite(high) else f"{metric} is more than {low:g}"
    if kind == "max_drop" and bound >= high - low:
        return f"'max_drop: {bound:g}' cannot fail: {between}, and no drop is larger than {high - low:g}"
    if kind == "min" and bound <= low:
        return f"'min: {bound:g}' cannot fail: {between}"
    if kind == "min" and bound > high:
        return f"'min: {bound:g}' cannot be reached: {between}"
    if kind == "max_ratio" and bound > _ABSURD:
        return f"'max_ratio: {bound:g}' cannot fail: no candidate is that many times its baseline"
    if kind == "min_speedup" and bound < 1 / _ABSURD:
        return f"'min_speedup: {bound:g}' cannot fail: no candidate is that much slower than its baseline"
    return None


#: A value that each bound may have.
_EXAMPLES = {
    "max_drop": 0.01,
    "max_drop_relative": 0.01,
    "min": 0.9,
    "max_mb": 50,
    "max_ms": 20,
    "min_speedup": 1.5,
    "max_ratio": 0.5,
}
#: Bounds that look at the candidate alone.
ABSOLUTE = ("min", "max_mb", "max_ms")
BOUNDS = ("max_drop", "max_drop_relative", "min", "max_mb", "max_ms", "min_speedup", "max_ratio")


def bounds_of(metric: str) -> tuple[str, ...]:
    """Which bounds a gate on this metric may state."""
    if metric == "size" or metric == "memory.peak":
        return ("max_mb", "max_ratio")
    if metric == THROUGHPUT:
        return ("min", "min_speedup")
    if metric in TIMED:
        return ("max_ms", "min_speedup", "max_ratio")
    if metric == "start.cold":
        return ("max_ms", "max_ratio")
    return ("max_drop", "max_drop_relative", "min")


class EmissionsSpec(Strict):
    """Energy and CO2eq of every step that is built, and of 1,000 inferences of both models, by CodeCarbon.

    It is an extra: `pip install '.[emissions]'` in the checkout. Estimated where the machine has no counter. Changes no
    key and no model.
    """

    country: str | None = Field(
        None, description="country whose electricity is used, as three letters of ISO 3166; default: `EDGEOPT_COUNTRY`"
    )
    seconds: float = Field(
        10.0,
        ge=1,
        le=3600,
        description="how long each model answers queries; shorter times give wider bounds, so publish results of 60 or "
        "more",
    )


class Diagnostics(Strict):
    """What the report lists beside the figures. Changes no key and no model."""

    flips: int = Field(
        10,
        ge=0,
        le=1000,
        description="largest number of changed answers to list, per kind; for scores, those that changed most",
    )
    texts: bool = Field(
        True,
        description="show 300 characters of each text; set false if the run folder goes where the data may not",
    )


class StepParams(Strict):
    """Base of a transform's parameters."""


class TrainedStepParams(StepParams, TrainParams):
    """Base of the parameters of a transform that trains."""


class Insert(Strict):
    """A step that a variant brings."""

    before: str | None = Field(None, description="id of the step to insert before")
    after: str | None = Field(None, description="or after")
    step: dict[str, Any] = Field(description="as an entry of `steps`")

    @model_validator(mode="after")
    def _one_place(self) -> Insert:
        if (self.before is None) == (self.after is None):
            raise ValueError("give exactly one of 'before' and 'after', the id of another step")
        return self


class Variant(Strict):
    """What one variant of an axis changes in the recipe.

    In each cell the axes' changes are made in the order of this table, so that nothing depends on the order of the
    axes: a `set` for a step that another axis removed is left out, and so is one for a parameter that the step in its
    place does not have.
    """

    replace: dict[str, dict[str, Any]] = Field(
        default={},
        description="steps by the id of the step they replace; a replacement keeps that id unless it has its own",
    )
    insert: list[Insert] = Field(default=[], description="steps that only this variant has")
    remove: list[str] = Field(default=[], description="ids of steps to remove")
    set: dict[str, Any] = Field(
        default={},
        description="values by key, as `--set` takes them, with a step by its id: `{steps.prune.sparsity: 0.6}`",
    )


Value = str | int | float | bool | None


class Matrix(Strict):
    """Several recipes in one: a cell for each combination of the axes' variants.

    Cells that come out the same are one.
    """

    axes: dict[str, dict[str, Variant | None] | list[Value]] = Field(
        min_length=1,
        description="either a name, with its variants by name (see below), or a key as `--set` takes it, with its "
        "values, as in `seed: [1, 2, 3]`",
    )
    exclude: list[dict[str, Value]] = Field(
        default=[],
        description="combinations to leave out, by the variant of one or more axes, as in `{prune: off}`",
    )


#: Holds the place of `task` until `tasks` is checked.
_STANDS_FOR = SeveralTasks.model_construct(dataset=DatasetSpec.model_construct(), text="text", parts={})


def task_in(resolved: Mapping[str, Any]) -> TaskSpec:
    """The task of a recipe as a lock has it, with its defaults. Raises ValueError or KeyError where there is none."""
    if resolved.get("tasks") is None:
        return TaskSpec.model_validate(resolved["task"])
    return SeveralTasks.of({name: OneTask.model_validate(task) for name, task in resolved["tasks"].items()})


class RecipeHead(Strict):
    """Everything in a recipe but its steps, which are checked against their transforms."""

    edgeopt: Literal[1] = Field(description="schema version")
    name: str = Field(pattern=NAME.replace("63", "127"))  # a cell's name is the matrix' and its variants'
    description: str = ""
    model: ModelSpec
    task: TaskSpec
    tasks: Annotated[dict[TaskName, OneTask], Field(min_length=2)] | None = Field(
        None, description="instead of `task`: several tasks by name, learned by one encoder, see [tasks](#tasks)"
    )
    baseline: Baseline = Baseline()
    steps: list[dict[str, Any]] = []
    export: list[ExportSpec] = Field([ExportSpec(format="onnx")], min_length=1)
    targets: list[str | Target] = Field(default=["cpu-1-thread"], min_length=1)
    gates: list[GateSpec] = []
    emissions: EmissionsSpec | None = Field(
        None, description="`{}` or with keys: also measure energy, see [emissions](#emissions)"
    )
    diagnostics: Diagnostics = Field(
        Diagnostics(), description="how many changed answers the report shows, see [diagnostics](#diagnostics)"
    )
    seed: Seed = 42
    seeds: list[Seed] | None = Field(
        None,
        min_length=2,
        description="instead of `seed`: both chains are built and measured once per seed; the model of the "
        "first seed is "
        "exported, timed and gated",
    )
    matrix: Matrix | None = Field(None, description="several recipes in one, see [matrix](#matrix)")

    @model_validator(mode="before")
    @classmethod
    def _stands_for_several(cls, given: Any) -> Any:
        """`tasks` fills the place of `task`, until it is known that they are right."""
        if isinstance(given, dict) and given.get("tasks") is not None and "task" not in given:
            return {**given, "task": _STANDS_FOR}
        return given

    @field_validator("task", mode="wrap")
    @classmethod
    def _one(cls, given: Any, check: ValidatorFunctionWrapHandler) -> Any:
        return given if given is _STANDS_FOR else check(given)

    @field_validator("tasks")
    @classmethod
    def _together(cls, tasks: dict[str, OneTask] | None, info: ValidationInfo) -> dict[str, OneTask] | None:
        if tasks is not None and not isinstance(info.data.get("task", _STANDS_FOR), SeveralTasks):
            raise ValueError("both 'task' and 'tasks' are given: keep one of the two")
        if len({part.selection for part in (tasks or {}).values()}) > 1:
            raise ValueError("'selection' must be the same share for all tasks")
        return tasks

    @model_validator(mode="after")
    def _as_one(self) -> RecipeHead:
        if self.tasks is not None:
            self.__dict__["task"] = SeveralTasks.of(self.tasks)
        return self

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int] | None) -> list[int] | None:
        twice = [s for i, s in enumerate(seeds or ()) if s in (seeds or ())[:i]]
        if twice:
            raise ValueError(f"{twice[0]} stands there twice")
        return seeds
