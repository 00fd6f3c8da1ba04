"""What a recipe may say of plain text to pre-train on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edgeopt.spec.recipe import DELIMITER, NO_DELIMITER, Delimiter, Files, Name, Strict, is_delimiter


class CorpusFiles(Strict):
    """Files to train on, and files whose texts are only looked at to say how well the model guesses."""

    train: Name | Files = Field(description="files to train on")
    validation: Name | Files | None = Field(None, description="files to guess words of")


class CorpusSpec(Strict):
    """Plain text: `data_files`, a local folder as `path`, or a hub dataset (`path`, `name`, `revision`), streamed.

    Files are txt, jsonl, json, csv, tsv or parquet, each also with .gz. Texts are cleaned (white space, control
    characters), tokenized once and kept in the store, for every run that reads the same texts with the same tokenizer.
    """

    path: str | None = Field(
        None,
        min_length=1,
        description="a folder with train.* (and validation.*) files, or with files that are all read in the order of "
        "their names; or a hub dataset id",
    )
    name: str | None = Field(None, description="configuration of the hub dataset")
    revision: str | None = Field(None, description="branch, tag or commit of the hub dataset")
    data_files: Name | Files | CorpusFiles | None = Field(
        None,
        description="a file, a list of files, or `{train: …, validation: …}`; `*`, `?` and `**` stand for names, as in "
        "`notes/**/*.txt`, and the files are read in the order of their names",
    )
    delimiter: Delimiter | None = Field(None, description=DELIMITER)
    text: Name | Annotated[list[Name], Field(min_length=1)] = Field(
        "text", description="column of the text; the texts of several columns are one document"
    )
    documents: Literal["blank-line", "line", "file"] = Field(
        "blank-line", description="what ends a document in a txt file; in the others each row is one"
    )
    pack: bool = Field(
        True,
        description="join documents, a separator between them, so that each row has max_length tokens; false: each "
        "document by itself, a longer one in several rows",
    )
    held_out: float = Field(
        0.01,
        ge=0,
        lt=0.5,
        description="share of the documents that is not trained on but guessed, where there are no validation files; "
        "copies of one text stay together",
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the texts."""
        return (self.text,) if isinstance(self.text, str) else tuple(self.text)

    @model_validator(mode="after")
    def _one_source(self) -> CorpusSpec:
        if (self.path is None) == (self.data_files is None):
            raise ValueError("give exactly one of 'path' (folder or hub id) and 'data_files'")
        if self.data_files is not None and (self.name or self.revision):
            raise ValueError("'name' and 'revision' belong to a hub dataset, not to 'data_files'")
        if self.delimiter is not None and not is_delimiter(self.delimiter):
            raise ValueError(NO_DELIMITER)
        return self
