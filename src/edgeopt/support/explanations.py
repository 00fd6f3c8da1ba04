"""What each error code means, for `edgeopt explain`: first line what, then why and how to mend it."""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "E100": """The command line is not one that edgeopt takes.

An option, an argument or an error code does not exist, or one is missing. `edgeopt COMMAND --help` shows what
a command takes. `edgeopt explain` lists the codes. In Python, an argument does not apply to the call, such as
`folder=` for a recipe that is a file.""",
    "E101": """The recipe cannot be read, or there is no recipe of that name.

The file does not exist, is not readable, is not UTF-8, or is far too large to be a recipe. These commands
list the recipes that come with edgeopt and copy one:

    edgeopt recipes ls
    edgeopt recipes copy quickstart my.yaml""",
    "E102": """The file is not YAML that edgeopt reads.

The line and column say where reading stopped. The mistake is there or just above: indentation that does not
match, a quote or bracket that is not closed, a missing colon, or a tab. Anchors and aliases (`&x`, `*x`) are
refused: write the value out where it is used. Nesting deeper than 32 levels is refused, too.""",
    "E103": """A key stands twice in the same mapping.

YAML does not say which of the two counts, so edgeopt takes neither. Remove one.""",
    "E104": """There is a key, or an exporter's option, that edgeopt does not know.

Unknown keys are refused everywhere, because a misspelled key that is skipped changes the result without a
word. The message names the closest key where there is one. Where a key is written in another form now, it
shows that form. docs/reference/recipe.md lists all keys. `edgeopt schema` prints them as a JSON schema, which
editors use to complete and to check:

    # yaml-language-server: $schema=recipe-v1.json""",
    "E105": """A key that must be there is missing.

The message names the key and what it belongs under. A recipe needs at least:

    edgeopt: 1
    name: mine
    model: {id: folder-or-hub-id}
    task:
      type: text-classification
      dataset: {path: folder-or-hub-id}
      text: text

A step needs `use`, the name of its transform.""",
    "E106": """A value is not what its key takes.

It has the wrong type, is out of range, is not one of the words allowed, or does not fit with another
value; the message says which. Two traps of YAML: a number in quotes is text ("3" is not 3), and a list
needs brackets or dashes. docs/reference/recipe.md has the type and range of every key.""",
    "E107": """There is no transform of that name.

`use:` names a transform, for example `adapter.lora` or `quantize.static`. The message names the closest one,
or lists those that are installed. A transform of another package is found through its entry point
`edgeopt.transforms`. Check that the package is installed in the same environment.""",
    "E108": """The recipe is of another schema version.

The first key of a recipe says how to read the rest. This edgeopt reads version 1:

    edgeopt: 1""",
    "E109": """A --set cannot be placed.

The form is KEY=VALUE, where KEY is the path of a key with dots. Name a step by its id, a target by its name,
and any other entry of a list by its number, counted from 0. The value is read as YAML.

    --set steps.prune.amount=0.3
    --set gates.0.max_drop=0.01
    --set task.dataset.path=/data/reviews

With `edgeopt gate`, --set changes the gates of a recipe, so it needs --recipe.""",
    "E110": """Two things have the same name, or a name is taken.

Step ids must be unique, because overrides, the log and the report name steps by id. A step without an id gets
the last word of its transform. Target names must be unique, because gates name them. Each export format may
appear once, because each gets its own folder. The ids `baseline`, `load` and `onnx` are reserved.""",
    "E111": """There is no such target, or it is not measured the way a gate asks.

A target is the name of a device profile that comes with edgeopt, or a profile written in place. A gate
may name only targets of the recipe, and only sequence lengths that the target lists:

    targets: [{name: board, threads: 4, sequence: [64, task], device: Cortex-A76}]
    gates: [{metric: latency.p50, max_ms: 20, target: board, sequence: 64}]

A bound in milliseconds says nothing on another machine, so it needs a target with `device`: part of the
processor's name as `edgeopt doctor` shows it. On any other machine that gate is inconclusive.""",
    "E112": """There is no such exporter, or a gate asks for what is not measured or compares a model with itself.

For an exporter: `edgeopt exporters` lists those that are installed. For a metric: add it to `task.metrics`,
or take it out of the gate. accuracy, f1, precision, recall and matthews belong to classification,
pearson and spearman to regression, conll_f1 to coreference.

A recipe without steps, and without `baseline.finetune`, gates a finished model as it is. It is its own
baseline then, so that no drop and no ratio says anything: bound it by `min`, `max_mb` or `max_ms`.""",
    "E113": """The store of finished steps cannot be written.

The store is ~/.cache/edgeopt, or what EDGEOPT_STORE or --store says. Give a folder of your own on a
disk with room:

    edgeopt apply recipe.yaml --store /data/edgeopt-store""",
    "E114": """The output cannot be written there.

--out must be a new or empty folder, or the folder of an earlier run, whose own files are then replaced:
yours stay. A folder of anything else is never touched. A bundle replaces a bundle that holds nothing more,
and its bill of materials (bundle.cdx.json) one that edgeopt wrote. `edgeopt recipes copy` never overwrites a
file, and `edgeopt predict` only with --overwrite. `--junit`, and --out of `edgeopt compare` and `edgeopt
baseline`, are plain files: edgeopt writes no device, no pipe (use stdout) and through no link, and has its
files whole or not at all.""",
    "E115": """This is not the folder of a finished run, or its files are damaged.

`edgeopt gate`, `report`, `compare` and `diff` read what `edgeopt apply --out FOLDER` left: report.json,
recipe.lock, predictions.jsonl and latency.json. A run folder only appears when its run has finished.
Apply the recipe again: steps that are in the store are not rebuilt.""",
    "E116": """There is no readable lock.

--locked compares the run with recipe.lock of an earlier run. By default this is the lock in the --out folder.
Run once without --locked and keep the lock that this writes. If you do not keep the run folder, as is usual
in CI, pass the lock with --lock FILE.""",
    "E117": """The run differs from its lock.

Each line names one difference: a value of the recipe, the fingerprint of the model or the rows, the version
of a package, or the digest of a step. Undo the change, or accept it: run once without --locked, which writes
a new lock. Digests of trained steps also differ between kinds of processors, which add floating-point numbers
in a different order. So a lock is only valid on the kind of machine that wrote it.""",
    "E118": """The gates ask for something that this run did not measure.

`edgeopt gate RUN` decides from what the run measured. It measures nothing itself. So the metric, target and
sequence length of the gate must have been in the recipe when it was applied. Apply the recipe again: only the
measurements are repeated.

`edgeopt gate ARTIFACT --against FILE` measures the model and takes the baseline's figures from the file.
Measure the baseline again with `edgeopt baseline` and the current recipe. A gate with `against: torch` always
needs such a file, because torch cannot run a finished model.

With --recipe you may use the gates of another recipe. Everything else must be the same: model, baseline,
steps, exports, seed, lengths and training data. Otherwise the verdict would be about a different model. A
local model is compared by its files, not by its path.""",
    "E119": """The matrix does not fit the recipe.

Possible reasons: an axis has no variants, a variant changes a step that no cell has, an `exclude` names no
variant of the axes or leaves no cell, or there are more than 256 combinations. Write the recipe with all
steps; variants then remove or change some:

    matrix:
      axes:
        prune: {off: {remove: [prune]}, on: {}}
        steps.prune.sparsity: [0.6, 0.8]

A `set` for a step that another axis removed is ignored. Cells that turn out the same become one. The name of
a cell is made of the names of its axes and variants, so these may have letters, digits, `.`, `_` and `-`.""",
    "E120": """The command needs a single recipe and this one has a matrix, or the other way around.

`edgeopt gate --recipe` takes a single recipe: `--set matrix=null` removes its matrix. Under torchrun or
`accelerate launch`, apply the cells one by one, each into its own folder. Then apply the matrix with one
process. It finds the cells finished and compares them:

    torchrun --nproc_per_node 2 -m edgeopt apply r.yaml --cell P-on --out runs/x/cells/P-on
    edgeopt apply r.yaml --out runs/x

In Python, `edgeopt.apply` takes one recipe, or one cell of a matrix with `cell=`. `edgeopt.apply_cells` runs
all cells.""",
    "E121": """There is no cell of that name.

`edgeopt plan RECIPE` lists the cells of a matrix. A recipe without `matrix` has none.""",
    "E122": """A plugin that the recipe or a run names cannot be used, or is not installed here.

Other packages can add transforms, exporters, tasks and families of models through entry points. A plugin is
only loaded when a recipe names it, so a broken plugin affects no other recipe. Possible reasons:

A run whose task or exporter is a plugin's is opened where that package is installed. Mend the package,
uninstall it, or rename the plugin. `edgeopt doctor` lists every plugin that is installed,
and what is wrong with it. docs/how-to/plugins.md says what a plugin is made of, and how to test one.""",
    "E130": """The run was interrupted, by Ctrl-C or SIGTERM.

Type the same command again. Finished steps are in the store, and training resumes from its last checkpoint,
at most about 30 seconds back. Nothing half-written is left behind.""",
    "E131": """This is not a finished model.

`edgeopt gate` and `edgeopt baseline` measure a folder with tokenizer.json and an ONNX graph that has an
output `logits`: the `model` folder of a run, another folder with the same layout, or the graph itself. For
each query the graph must return floats in the shape of the task: (1, classes) for a text, (1, 1) for a score,
(1, tokens, tags), (1, choices), or (1, tokens of the summary, words). config.json has the names of the
classes. session.json has the options that the graph is opened with. If a folder has several graphs, the one
that session.json names first is used, or else the int8 one.

    edgeopt gate runs/mine/model --recipe mine.yaml --against runs/fp32/model""",
    "E132": """The baseline file cannot be read, or is not as it was written.

`edgeopt baseline` ends the file with the SHA-256 of its content. If any byte has changed, even white space,
the file is refused. Copy it again as a binary file, or measure the baseline again. The digest detects
accidents. It does not prove who wrote the file.""",
    "E133": """The baseline is of another model, other rows or another preprocessing.

Two models are only compared on the same rows, read in the same way. The lines under the message say what
differs:

- the rows of the report split, including their number and order
- max_length, and how longer texts are read
- tokenizer.json (a recipe that distills may have another, because a student may bring its own)
- the classes
- the recipe's model, how and on which rows the baseline was trained, and the seed

Measure the baseline again:

    edgeopt baseline RECIPE --out baseline.json""",
    "E134": """A finished model alone is not enough for this.

Rows and gates come from a recipe. Pass --recipe FILE, unless the model is in the folder of a run. A gate that
compares (max_drop, min_speedup, max_ratio) also needs the baseline:

    edgeopt gate model --recipe mine.yaml --against fp32-model      # measured here, side by side
    edgeopt gate model --recipe mine.yaml --against baseline.json   # written by `edgeopt baseline`

Without --against only `min`, `max_mb` and `max_ms` can be decided.

`edgeopt predict` needs the recipe for the task and its columns, unless the model lies in a run or a bundle.""",
    "E140": """There is no bundle.

`edgeopt bundle RUN` writes one to RUN/bundle.zip, or to the folder or .zip file that `--out` names.""",
    "E141": """A key or a signature of a bundle is wrong.

`edgeopt bundle keygen KEY` makes a private key, KEY, and a public key, KEY.pub. `bundle RUN --sign KEY`
signs. `bundle verify BUNDLE --key KEY.pub` refuses everything that this key did not sign, including unsigned
bundles. Keys are Ed25519 keys in PEM files without a passphrase. Only you may have read access to the private
key. Do not copy it to devices. All this needs the package cryptography: `pip install '.[sign]'` in the
checkout of edgeopt.""",
    "E142": """A bundle is not as its manifest says.

A file was changed, is missing, was added, or has a name that points outside the bundle. Or the zip is cut
short, is compressed, or has extra data between its entries. Nothing in it was loaded or run. Download the
bundle again, or make a new one.""",
    "E143": """The self-test of a bundle failed.

The files are complete, but the model does not load, or its answers to its own test texts differ from those
on the machine that packed it. The reason can be another version of ONNX Runtime, or a processor on which
int8 sums overflow. Measure the run on this machine, or quantize with `reduce_range`. `bundle --tolerance`
sets how far a logit may be off. Embeddings that are nearer to those behind another prompt mean that texts
get the wrong one.""",
    "E144": """The run cannot be bundled.

A bundle serves tasks with one output a query (text-classification, text-regression, coreference, reranking,
embedding) from a file that ONNX Runtime opens. It holds texts to test itself by: rows of the report split,
which must still be where the recipe has them, or your own.

    edgeopt bundle runs/mine --texts texts.jsonl""",
    "E145": """The device, or the way to it, does not fit; nothing was copied.

The address is wrong, ssh cannot reach the device, or the device lacks something: Python 3.10, onnxruntime,
tokenizers, numpy, disk space, or a CPU instruction that the target lists under `instructions`. Without that
instruction the model would be slow or wrong: bundle a run for a target that does not list it. The folder may
also have a `current` or a `history.json` that `edgeopt ship` did not write. These are never replaced.
`edgeopt ship --dry-run` checks all of this and copies nothing.""",
    "E146": """The push was refused, and nothing was sent.

An address is `mlflow:NAME`, a registered model of MLflow's, or `hf:OWNER/NAME` and perhaps `@REVISION`, a
branch of a repository. What is refused:

- a run whose verdict is fail: `--even-failed` pushes it, with that verdict in card and tags;
- a bundle that does not say its verdict, because an earlier version made it: bundle the run again;
- a repository that all can read, without `--public`;
- a revision that holds another bundle, without `--replace`, files of no bundle, or a tag.

docs/how-to/push.md has the whole.""",
    "E147": """The tracker cannot be reached, or there is none of that name.

`apply --track` takes `mlflow` or `wandb`. The tracker is reached before anything is computed, so that a wrong
address costs no training. For MLflow look at MLFLOW_TRACKING_URI and, where the server asks for them, at
MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. For Weights & Biases type `wandb login`, or set
WANDB_MODE=offline. A tracker that is lost later costs a warning alone: type the same command again, and the
finished run is told.""",
    "E150": """A file of the run is not what was written when the run was made.

recipe.lock has the SHA-256 of the model, of the predictions and of everything else that was measured.
report.json has the SHA-256 of recipe.lock and of its own content. If a single byte has changed, the run is
refused, because its verdict would be about something else. Copy the folder again, or apply the recipe again:
steps in the store are not rebuilt. You may not add files to `model/` either. To change the model, copy the
folder, change the copy, and measure it with `edgeopt gate COPY --recipe FILE`.""",
    "E151": """The rows that a run was measured on cannot be found.

Without --recipe, `edgeopt gate RUN/model`, `baseline RUN/model` and `bundle RUN` use the rows of the run.
They look where the recipe was when it was applied. If the whole folder tree was moved, they look at the same
place relative to the run. Rows from files stay files, and rows from the hub stay the hub's. The fingerprint
of the rows must match recipe.lock. Rows in the working directory are never used.""",
    "E156": """A file of that name is there, and edgeopt did not write it.

`--junit`, and --out of `edgeopt compare` and `edgeopt baseline`, replace an empty file, or a file that the
same command wrote earlier. They recognize it by its first line. Any other file might be your only copy, so it
is left alone. Give another name, or remove the file yourself.""",
    "E157": """A state in the store of finished steps is damaged.

Its state.json was cut off, changed, or written by another program. `edgeopt cache ls` shows which one it is.
`edgeopt plan` shows the step as stale, and the next run rebuilds it. `edgeopt cache gc` removes it.""",
    "E158": """The store has no such model.

`edgeopt cache export` copies what a step left in the store into a folder that transformers loads. Name a step
of a run by its id, or a state by its key, which `edgeopt cache ls` shows. The store must be the one that the
run used: give it with --store. If the state was removed, type the `apply` of the run again.

A graph is no such model: RUN/model has it. If a model has an adapter beside it, take a step behind the one
that merges the adapter.""",
    "E161": """A page cannot be made of this run.

`edgeopt page` shows one label or one score for a text or a pair of texts, or the passages that an embedding
model finds for a query. So the task must be text-classification, text-regression, reranking or embedding. For
embedding, `--passages FILE` names what is searched. The page runs an ONNX file, so the first export of the
recipe must write one, such as `{format: onnx}`.""",
    "E162": """npm is not installed.

When edgeopt writes the page, it downloads onnxruntime-web and the tokenizers from npm. Their versions and
digests are locked in edgeopt. npm comes with Node.js, from nodejs.org or from the packages of your system
(`apt install npm`, `brew install node`). The finished page needs neither.""",
    "E163": """The port for `edgeopt page --serve` cannot be used.

Another program uses it, or the system reserves it. Choose another with `--port`; 0 takes any free port. The
page has been written. Any other web server can serve its folder.""",
    "E201": """A step needs something that an earlier step took away.

Usually a step that trains comes after a step that works on the ONNX graph. A graph cannot be turned back into
a torch module. Move the training up:

    steps:
      - {id: prune, use: prune.magnitude, amount: 0.3}   # torch
      - {id: int8, use: quantize.dynamic}                # ONNX from here on

The lines under the message show which step takes the thing away and which needs it.""",
    "E202": """A step needs something that no step before it provides.

For example, `merge` needs an adapter and `prune.magnitude` needs a trained head. Put the step that provides
it first: `adapter.lora` before `merge`, or `finetune` before `prune.magnitude`.""",
    "E203": """A step cannot work on a model with something that an earlier step added.

The rules are:

- An adapter must be merged before pruning, quantizing or export.
- An adapter that changes matrices cannot follow pruning, because merging it would fill the zeros.
- A graph is quantized only once.
- An in-graph adapter (prompt, prefix, bottleneck) cannot be merged. It is exported inside the graph, so steps
  that change the weights must come before it.
- A base in NF4 becomes float again when it is merged.

The help says which step to move, remove or insert:

    - {id: adapt, use: adapter.lora}
    - {id: merge, use: merge}
    - {id: prune, use: prune.magnitude, amount: 0.2}""",
    "E204": """A model without a trained head stands where a trained one is needed.

Every figure is a comparison with an FP32 baseline. The model of this recipe is a bare encoder, so its head
would be random. Say how the baseline is fine-tuned, and put a training step before the steps that need it. Or
start from a model that is already fine-tuned:

    baseline: {finetune: {epochs: 3, learning_rate: 3.0e-5}}
    steps:
      - {id: tune, use: finetune, epochs: 3, learning_rate: 3.0e-5}""",
    "E205": """An exporter cannot take what the last step leaves, or a target cannot run what it writes.

Possible reasons:

- The exporter needs something that the model lacks, such as int8 weights.
- The exporter quantizes the float model itself, but the last step already trained the model in int8.
- The exported file has fixed shapes, but the queries of the task have more axes.
- The target names another `runtime`.

Change the steps or choose another export. `edgeopt exporters` says what each exporter converts.""",
    "E206": """A step or an exporter needs a package that is not installed here.

Some methods need packages that edgeopt does not install by default, because they are large or do not exist
for every machine. edgeopt is on no package index: type these in its checkout. `adapter.qlora` needs
bitsandbytes:

    pip install '.[qlora]'

and token-classification counts its entities with seqeval:

    pip install '.[tasks]'

and `emissions` measures energy with codecarbon:

    pip install '.[emissions]'

`apply --track` and `edgeopt push` tell MLflow or Weights & Biases by their own clients:

    pip install '.[mlflow]'
    pip install '.[wandb]'

An edgeopt that was installed without its dependencies, with those of requirements-gate.txt alone, decides
gates and checks recipes, and needs torch and the others for the rest: `pip install .`.""",
    "E207": """A step names another step, or a model, that it cannot have.

A `teacher` is one of these:

- `baseline`
- the id of an earlier step in the recipe (a later step does not exist yet when this one trains)
- a checkpoint: a folder, or a hub id with its owner. Write `google-bert/bert-base-uncased`, because
  `bert-base-uncased` alone would be read as the id of a step.""",
    "E208": """A teacher or a student does not fit.

A teacher needs a trained head for the same classes in the same order.

To learn from its layers (`hidden`, `cosine`, `attention`, `values`), its tokenizer must produce the same
tokens as the student's, and its layers must match. A list in `match` names one layer of the teacher for each
layer of the student. Attention is compared head by head, unless `relation_heads` splits both models into the
same number of parts. If a task has one answer per text, logits alone can be learned from a teacher with
another tokenizer.

A student's checkpoint must produce the same tokens as the recipe's model, because both are timed on the same
tokens. edgeopt checks this before it computes anything, on the first 2,000 rows of each split. It checks all
rows that are timed once more before timing them.

`edgeopt gate` reports the same error if the candidate's tokenizer produces other tokens than the baseline's.""",
    "E210": """session.json in a model's folder sets an option that edgeopt does not allow.

It has the options of ONNX Runtime that made the graph fastest. Some options can write files, load libraries
or start any number of threads. So only the options that edgeopt itself uses are allowed:
`disabled_optimizers`, `graph_optimization_level`, `intra_op_num_threads` (256 at most),
`enable_cpu_mem_arena`, `enable_mem_pattern`, `session.intra_op.allow_spinning` and
`session.force_spinning_stop`. The graph needs none of them: without session.json, the runtime's defaults are
used.""",
    "E211": """A graph declares other tensors than its file has.

Before ONNX Runtime opens a graph from elsewhere, edgeopt checks every tensor in it. The declared shape must
match the number of bytes. Data outside the graph file must be in the graph's own folder and have the declared
size. No operator may create a tensor of more than 2^28 elements from a constant shape. A damaged file fails
this check, and so does a file that was made to exhaust memory or to read other files.""",
    "E212": """ONNX Runtime cannot answer a query with this graph.

The graph opened, but an operator failed on a row, or one row took more than ten minutes. An index may be
outside a table, shapes may not fit, or the query may need more memory than four times the graph and 8 GB. The
message comes from the runtime. Export the model again, and check that the tokenizer beside it belongs to it.""",
    "E301": """A data file or dataset folder does not exist, or it is not clear which file is meant.

Paths are absolute, or relative to the recipe's folder. They are not relative to the working directory. A
folder must have one train file (train.jsonl, .json, .csv, .tsv, .parquet or .conll) and one validation or
test file. If your files have other names, list them:

    dataset: {data_files: {train: a.csv, validation: b.csv}}""",
    "E302": """A data file is malformed.

The place names the line. These formats are read, each also compressed by gzip (.gz):

- JSON Lines: one complete object per line. A JSON file may also be one list of objects.
- CSV: a header, the same number of cells in each row, and quotes around a cell that contains the separator.
- TSV: as in GLUE, where a quotation mark is part of the text. If a csv writer such as pandas quoted the whole
  file, the quotes are read as quotes.
- conll: CoNLL-2012, with a #begin and an #end line around each document. A mention must end in the sentence
  in which it begins.
- parquet""",
    "E303": """A column that the task names is not in the data.

`task.text` and `task.label` must be column names, written exactly as in the file's header. The help lists the
columns. The place is the key in the recipe. If only a later row lacks the column, the place is that row. If
the header of a csv file came out as a single column, the file uses another separator: set
`delimiter: ";"` where the recipe names the file.

    task: {text: [sentence1, sentence2], label: label}

The same holds for the columns in `task.slices`.""",
    "E304": """A cell does not hold what the task expects.

A text is empty or not a text. Or a label is empty, is not one of the classes of the train split, or is not a
finite number in a regression. The place names the row.

Labels are compared by value: 1, 1.0, "1.0" and true are the same class in every file, but 007 is a word. A
number only stands for a named class if the order of the names is known, from task.labels or from a hub
dataset. More than 1,000 different labels with fewer than two rows each are probably not classes. Then name
another column, list the classes in task.labels, or use `type: text-regression`. Several labels per row
(multi-label) are not supported yet. For coreference, a row is a document: a list of sentences, each {words:
[text, …], coref_spans: [[entity, first, last], …]}.""",
    "E305": """A split is missing or empty, or train has one class only.

There must be a train split and a split to report on: validation, or else test, or the one that `task.report`
names. Figures are never measured on train. If you only have one file, `split` draws validation rows from it:

    dataset: {data_files: {train: reviews.csv}, split: {validation: 0.1, seed: 0}}

In coreference, a row is a pair of gold mentions. So a file that marks no mentions in its last column (or in
coref_spans) has no rows.""",
    "E306": """A data file is not UTF-8 text.

The place names the line and the byte. Convert the file, for example from Latin-1:

    iconv -f latin1 -t utf-8 old.csv > new.csv""",
    "E308": """The model folder does not exist, or is a file.

`model.id` is a hub id such as google/electra-small-discriminator, or a folder in transformers' format. The
folder is absolute, or relative to the recipe's folder. The id is read as a path if such a folder exists, if
it starts with `.`, `/` or `~`, or if it has more than one slash.""",
    "E309": """The model folder lacks config.json or model.safetensors.

edgeopt only reads weights from safetensors, and downloads nothing else from the hub. If a model only exists
in an older format, save it once with transformers and use that folder:

    from transformers import AutoModel, AutoTokenizer
    AutoModel.from_pretrained("NAME").save_pretrained("folder")
    AutoTokenizer.from_pretrained("NAME").save_pretrained("folder")

For a model that is already fine-tuned, use AutoModelForSequenceClassification, which keeps its head.""",
    "E310": """The model has pickled weights only.

Reading a pickle can run any code, so edgeopt never reads one. If you trust the file, save the model as
safetensors with transformers. `edgeopt explain E309` shows the lines.""",
    "E311": """The tokenizer is missing, damaged, or does not belong to the model.

edgeopt ships tokenizer.json, so that a device can tokenize without transformers. Save it into the model's
folder:

    from transformers import AutoTokenizer
    AutoTokenizer.from_pretrained("NAME").save_pretrained("folder")

If there is only vocab.txt, vocab.json with merges.txt, or a SentencePiece model, edgeopt makes tokenizer.json
from it and compares both on the rows. SentencePiece needs a package: `pip install '.[sentencepiece]'` in the
checkout. A tokenizer that fails on a text, or produces no tokens for it, is damaged: an encoder's tokenizer
puts special tokens around each text. If a token has no row in the model's embeddings, the tokenizer belongs
to another model, or the token was added without `model.resize_token_embeddings(len(tokenizer))`.""",
    "E312": """The model or the dataset cannot be loaded from the hub.

The name is misspelled, the repository is private, or the hub cannot be reached from here. The message ends
with what the hub's library said. Local copies need no network:

    edgeopt apply recipe.yaml --set model.id=FOLDER --set task.dataset.path=FOLDER""",
    "E313": """The model comes with its own code.

Its config.json has an `auto_map`, which would download and run Python code. edgeopt never does that. Use a
model of a family that is part of transformers.""",
    "E314": """The model is not of an encoder family that edgeopt knows.

edgeopt must know where the layers, the attention matrices and the head are. The message lists the known
families. Summarization takes fewer families: those for which transformers has a decoder, which excludes
DistilBERT, MPNet, ModernBERT, DeBERTa and data2vec. Only summarization takes a pair of encoder and decoder,
both of these families. Other decoders are not supported.""",
    "E315": """A file of the model is damaged or does not fit the others.

For example, a weights file was cut short, an index names files outside the folder, or config.json is not JSON
or declares weights that do not exist. Copy or download the model again.""",
    "E316": """The model's head is of another kind, or has another number of outputs, than the data needs.

A head with one output gives a score, as cross-encoders do. Use `task.type: text-regression` for it. A head
for multi_label_classification says yes or no for each class. Use `task.type: multi-label-classification`
for it. Otherwise start from the bare encoder, which gets a new head, or use the data that the head was
trained for. If the data has fewer classes than the task, list all classes in `task.labels`.""",
    "E317": """The folder holds an adapter.

With adapter_config.json, transformers would load whatever model its base_model_name_or_path names, and put
the adapter on it. edgeopt never does that. Merge the adapter into its base once:

    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    base = AutoModelForSequenceClassification.from_pretrained("BASE", num_labels=2)
    PeftModel.from_pretrained(base, "ADAPTER").merge_and_unload().save_pretrained("folder")
    AutoTokenizer.from_pretrained("BASE").save_pretrained("folder")

Or give the base as `model.id` and train an adapter with one of the adapter.* steps. If the folder also has a
complete model and you want that, remove adapter_config.json.""",
    "E318": """The classes of the rows do not match the model's trained head, or their order is unknown.

The outputs of a trained head have a fixed order. id2label in the checkpoint's config.json names the class of
each output, and edgeopt keeps that order. Numbers in the rows are numbers of outputs. Names like LABEL_0 do
not say which class is which. If the rows have words, or spell the classes differently, set `task.labels` in
the order of the head's outputs. `task.labels` may not change the order of names that the head has. If the
head was trained for another task, start from the bare encoder.

The same rules hold for teachers (E208) and for `edgeopt gate` on a finished model. The rows of a gate need
not contain every class.""",
    "E319": """The checkpoint has weights that no module of the model takes.

transformers would drop these weights, and the model would compute something else than what was trained. For
example, transformers 5 no longer supports `position_embedding_type: relative_key` in BERT. Only some weights
may be dropped: heads of pretraining and of other tasks (cls, lm_head, generator_predictions and similar), a
pooler that the task's head does not use, and counters such as position_ids. Use another checkpoint, or one
that was saved by a version of transformers with the replacements of these modules.""",
    "E320": """Files of the tokenizer say different things.

Training, measuring and serving use tokenizer.json as it is. Here tokenizer_config.json says something else
about do_lower_case, strip_accents, tokenize_chinese_chars, add_prefix_space or the number of a token, and a
row gets other ids. The lines show the first such row and the first ids that differ. Only you can know how the
model was trained: fix the file that is wrong. A folder with only a vocab.txt that contains capitals must set
do_lower_case. A tokenizer made from older files is compared with those files in the same way.""",
    "E321": """The tokenizer is to cut long texts at their beginning.

`truncation_side: left` in tokenizer_config.json, or `"direction": "Left"` in tokenizer.json, keeps the end of
a text that is too long. edgeopt always keeps the beginning, on devices and in the browser, too. If the model
was trained on beginnings, write "right". If it was trained on ends, cut the texts yourself, both in the data
and before each query.""",
    "E326": """The folder of sentence-transformers has modules that edgeopt does not read.

For `task.type: embedding` edgeopt reads modules.json: a Transformer in the folder itself, one Pooling (mean,
cls, lasttoken or max, of the prompt too), Dense layers, and Normalize. Other modules, or another order of
them, would make other embeddings. Without modules.json, `task.pooling` and `task.normalize` say how
embeddings are made.""",
    "E327": """Rows have no label: it is -1.

SNLI uses -1 for rows that its annotators did not agree on. The hub uses it to hide the labels of test splits.
Treated as a class, -1 would make every figure wrong. To leave such rows out, say how they are marked:

    task: {missing_label: -1}

The report says how many were left out. If -1 really is a class, name all classes:

    task: {labels: ["-1", "1"]}

If a whole split is -1, report on another one: `task.report: validation`.""",
    "E328": """Rows of the report split are also in train, and `task.leaks: refuse` forbids that.

A model may remember rows that it was trained on, so results on them say little about other rows. Texts that
only differ in case, spaces and punctuation count as the same. Remove the rows from one of the two files, or
set `task.leaks: drop` to leave them out of the report split. With the default, `task.leaks: report`, they are
counted and reported.""",
    "E329": """RANK or WORLD_SIZE is not a number that a launcher sets.

`accelerate launch` and torchrun set these environment variables to number their processes: WORLD_SIZE is 1 or
more, and RANK is smaller. Something else has set them here. Without a launcher, remove them:

    unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT""",
    "E401": """A step failed for a reason that edgeopt does not recognize.

The message is the library's. A step, a plugin or a library that tried to end the process is reported here,
too. If the recipe looks right, this is a bug: report it with the recipe, everything on stderr, and the output
of `edgeopt doctor`.""",
    "E402": """A step changed nothing.

Its output has the same weights as its input, which usually hides a mistake. The training may have been too
short to change the adapter, the amount may round to no weights, or the scope may have nothing to quantize.
Change the parameters, or remove the step.""",
    "E403": """A step did not do what it declared, or undid what an earlier one did.

After each step, edgeopt checks its files. The torch module or the graph must be there or gone as declared,
zeros must still be zeros, and int8 weights must exist. A metric must be within its range. With edgeopt's own
transforms and tasks, this is a bug: report it with the recipe. With your own transform, its contract or its
`apply` is wrong. With your own task, its `measure` or its `ranges` is wrong. `edgeopt.testing` has tests that
say which.""",
    "E404": """A step that must not change the model's answers has changed them.

edgeopt compares the ONNX export with torch, and the merged model with its adapter, on real rows of several
lengths. The difference is larger than rounding can explain, so the result cannot be trusted. This is a bug in
edgeopt or in a library: report it with the recipe.""",
    "E405": """The disk is full.

Free space and type the same command again. Finished steps are kept. Nothing half-written is left behind.

    edgeopt cache ls
    edgeopt cache gc --older-than 30""",
    "E406": """There was not enough memory.

Lower `batch_size` and raise `gradient_accumulation` by the same factor, which gives nearly the same result.
On a GPU, `batch_size: auto` does that for you.
Or lower `task.max_length`, or set `gradient_checkpointing: true`. `edgeopt doctor recipe.yaml` estimates what
a recipe needs.""",
    "E407": """Training diverged: the loss or a weight is not a number.

Lower `learning_rate`, raise `warmup_ratio`, or set `precision: fp32`. Usual rates are 1e-5 to 1e-4 for
full fine-tuning (up to 3e-4 for small ELECTRA models) and 1e-4 to 1e-3 for LoRA.""",
    "E408": """The adapter does not fit the model.

Pruning may have removed what the adapter needs. Prefix tuning needs the same number of heads in every layer,
an attention adapter needs at least one head, and NF4 on a CPU needs rows of whole blocks. Or the target
modules do not exist: `target_modules` takes `attention`, `all-linear`, or names of linear layers as
transformers uses them in this family. The help lists them.

    target_modules: [query, value]        # BERT
    target_modules: [q_lin, v_lin]        # DistilBERT""",
    "E409": """The process that measures latency failed.

Latency, cold start and memory are measured in separate processes. A negative exit status is a signal: -9
usually means that the system ran out of memory, and -15 that something stopped the process. Type the same
command again. Only the measurements are repeated.""",
    "E410": """An exporter's library could not convert the model.

The message is the library's. Remove the format from `export` or give it other options, and type the same
command again. Finished steps are kept. `export: auto` skips such a format.""",
    "E411": """A graph is incomplete.

A graph of more than 2 GB keeps its weights in a second file (ONNX's external data): model.onnx_data beside
model.onnx. Every file that the graph names must be in the graph's own folder, with the size that the graph
declares, and must not be a link. Copy the folder again with all of its files, or export the model again.""",
    "E416": """npm could not install the page's libraries.

The message has npm's own words. Usually npm cannot reach its registry, or the digest of a package does not
match the locked one. After the first download, npm's cache is enough and no network is needed.""",
    "E420": """The connection to the device was lost, or the device refused a step.

The version that was current on the device still is. Type the same command again: data that has arrived is
kept and checked, and not sent again. If another `edgeopt ship` is writing to the same folder, wait for it to
finish.""",
    "E421": """The self-test failed on the device.

The bundle arrived complete, but its model does not load on the device, or answers its own test texts
differently. The bundle was removed again, and the version that was current still is. The usual reason is a
processor on which int8 sums overflow (quantize with `reduce_range`), or another version of ONNX Runtime.""",
    "E422": """The registry or hub could not be reached, or refused the push.

The message has what its client said, without your token. Look at the address, at the token (HF_TOKEN, or
what `hf auth login` keeps; MLFLOW_TRACKING_TOKEN) and whether it may write there, and at the connection. A
push is one commit, or one version: it is there whole, or not at all. Type the same command again.""",
    "E900": """A defect of edgeopt itself.

Something unexpected happened. Finished steps are kept. Type the same command with EDGEOPT_DEBUG=1 in front to
see the whole trace, and report it with the recipe.""",
}
