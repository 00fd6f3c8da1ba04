"""What each error code means, for `edgeopt explain`: first line what, then why and how to mend it."""

from __future__ import annotations

EXPLANATIONS: dict[str, str] = {
    "E100": """The command line is not one that edgeopt takes.

An option, an argument or (for `edgeopt explain`) an error code that does not exist, or one that is missing.
`edgeopt COMMAND --help` shows what a command takes; `edgeopt explain` lists the codes. In Python it is an
argument that means nothing here, such as `folder=` for a recipe that is a file.""",
    "E101": """The recipe cannot be read, or there is no recipe of that name.

The file does not exist, is not readable, is not UTF-8, or is far too large to be a recipe. The recipes
that come with edgeopt are listed and copied by name:

    edgeopt recipes ls
    edgeopt recipes copy quickstart my.yaml""",
    "E102": """The file is not YAML that edgeopt reads.

The line and column say where reading stopped; the mistake is there or just above: an indentation that
does not match, a quote or bracket that is not closed, a tab. Anchors and aliases (`&x`, `*x`) are
refused, and so is nesting deeper than 32 levels: write the value out where it is used.""",
    "E103": """A key stands twice in the same mapping.

YAML leaves open which of the two counts, so edgeopt takes neither. Remove one.""",
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

`use:` names a transform, for example `adapter.lora` or `quantize.static`. The message lists those that
are installed. Transforms of other packages are found through their entry point `edgeopt.transforms`:
is the package installed in the same environment?""",
    "E108": """The recipe is of another schema version.

The first key of a recipe says how to read the rest. This edgeopt reads version 1:

    edgeopt: 1""",
    "E109": """A --set cannot be placed.

It has the form KEY=VALUE, where KEY is the path of a key with dots. A step goes by its id, a target by
its name, and any entry of a list by its number from 0. The value is read as YAML.

    --set steps.prune.amount=0.3
    --set gates.0.max_drop=0.01
    --set task.dataset.path=/data/reviews

With `edgeopt gate`, --set changes the gates of a recipe, so it needs --recipe.""",
    "E110": """Two things have the same name, or a name is taken.

Step ids must be unique, because overrides, the log and the report name steps by id; a step without an
id gets the last word of its transform. Target names must be unique because gates name them, and export
formats because each has a folder of its own. The ids `baseline`, `load` and `onnx` are edgeopt's own.""",
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
recipe.lock, predictions.jsonl and latency.json. A run folder appears only when its run has finished.
Apply the recipe again; the steps that are in the store are not built anew.""",
    "E116": """There is no readable lock.

--locked compares the run with recipe.lock of an earlier one, by default the lock in the --out folder.
Run once without --locked, keep the lock that this leaves, and give it with --lock FILE where the run
folder itself is not kept (in CI, most often).""",
    "E117": """The run differs from its lock.

Each line names what differs: a value of the recipe, the model's or the rows' fingerprint, a package's
version, or the digest of a step. Either undo the change, or accept it by running once without --locked,
which writes a new lock. Digests of trained steps also differ between processors, because they add up
floating-point numbers in another order: a lock holds on the kind of machine that it was made on.""",
    "E118": """The gates ask for something that this run did not measure.

`edgeopt gate RUN` decides on what the run measured and measures nothing itself. The metric, target or
sequence length of the gate must have been in the recipe when it was applied. Apply the recipe again;
only the measuring is done anew. `edgeopt gate ARTIFACT --against FILE` measures the model and takes the
baseline's figures from the file: measure that anew with `edgeopt baseline`, with the recipe as it is now.
Torch runs no finished model, so a gate with `against: torch` needs such a file.

With --recipe the gates may be another recipe's, but not the model: one that names another, or other
baseline, steps, exports, seed, lengths or training data, is not what the run was made by, and a verdict
on the run is none on it. A model that is here is known by its files, however its path is written.""",
    "E119": """The matrix does not fit the recipe.

An axis without a variant, a variant that changes a step which no cell has, an `exclude` that names none of
the axes' variants or leaves nothing, or more than 256 combinations. The recipe has the steps of the fullest
cell, and variants take out or change:

    matrix:
      axes:
        prune: {off: {remove: [prune]}, on: {}}
        steps.prune.sparsity: [0.6, 0.8]

A `set` for a step that another axis removed is left out, and cells that come out the same are one. The
names of axis and variant make the name of a cell: letters, digits, `.`, `_` and `-`.""",
    "E120": """One recipe is needed, and this one has a matrix; or a matrix, and this one has none.

`edgeopt gate --recipe` takes one recipe: `--set matrix=null` leaves its matrix out. Under torchrun or
`accelerate launch` apply the cells one by one, each into its folder, and then the matrix on one process,
which finds them finished and puts them side by side:

    torchrun --nproc_per_node 2 -m edgeopt apply r.yaml --cell P-on --out runs/x/cells/P-on
    edgeopt apply r.yaml --out runs/x

In Python `edgeopt.apply` takes one recipe, or a `cell=` of one with a matrix, and `edgeopt.apply_cells` all
of its cells.""",
    "E121": """There is no cell of that name.

`edgeopt plan RECIPE` lists the cells of a matrix. A recipe without `matrix` has none.""",
    "E122": """A plugin that the recipe or a run names cannot be used, or is not installed here.

Transforms, exporters, tasks and families of models are also found in other packages, by entry points. One
of them is used only where a recipe names it, so a plugin that is broken stops no other recipe. Its module
cannot be imported, it is not what it is registered as, it lacks a class variable or a method that its base
class asks for, or two packages (or a package and edgeopt itself) have a plugin of the same name, so that
what runs would depend on chance.

A run whose task or exporter is a plugin's is opened where that package is installed. Mend the package,
uninstall it, or rename the plugin. `edgeopt doctor` lists every plugin that is installed,
and what is wrong with it. docs/how-to/plugins.md says what a plugin is made of, and how to test one.""",
    "E130": """The run was interrupted, by Ctrl-C or SIGTERM.

Nothing half-written is left. Finished steps are in the store, and training goes on from its last
checkpoint, at most about 30 seconds back: type the same command again.""",
    "E131": """This is not a finished model.

`edgeopt gate` and `edgeopt baseline` measure a folder with tokenizer.json and an ONNX graph that has an
output `logits`: the `model` folder of a run, another in that layout, or the graph itself. For each query
it answers floats of the task's shape: (1, classes) for a text, (1, 1) for a score, (1, tokens, tags),
(1, choices), or (1, tokens of the summary, words). config.json
gives the names of the classes, session.json the options that the graph is opened with. In a folder with
several graphs the one that session.json names first is taken, then the int8 one.

    edgeopt gate runs/mine/model --recipe mine.yaml --against runs/fp32/model""",
    "E132": """The baseline file cannot be read, or is not as it was written.

`edgeopt baseline` ends the file with the SHA-256 of its content. A byte that changed since, also white
space, makes it worthless: nobody knows what it said. Copy it again, as a binary file, or measure anew. The
digest finds accidents; it does not say who wrote the file.""",
    "E133": """The baseline is of another model, other rows or another preprocessing.

Two models are compared on the same rows, read in the same way, or not at all. The lines under the message
say what differs: the rows of the report split, their number and order included; max_length and how longer
texts are read; tokenizer.json (unless the recipe distills, as a student may have one of its own); classes;
the recipe's model, how the baseline was trained from it and on which rows, and the seed. Measure it anew:

    edgeopt baseline RECIPE --out baseline.json""",
    "E134": """A finished model alone is not enough for this.

The rows and the gates are those of a recipe: --recipe FILE, unless the model lies in the folder of a run. A
gate that compares (max_drop, min_speedup, max_ratio) needs the baseline:

    edgeopt gate model --recipe mine.yaml --against fp32-model      # measured here, side by side
    edgeopt gate model --recipe mine.yaml --against baseline.json   # of `edgeopt baseline`

Without --against only `min`, `max_mb` and `max_ms` can be decided.

`edgeopt predict` needs the recipe for the task and its columns, unless the model lies in a run or a bundle.""",
    "E140": """There is no bundle.

`edgeopt bundle RUN` writes one, to RUN/bundle.zip or where `--out` says, a folder or a .zip.""",
    "E141": """A key or a signature of a bundle is wrong.

`edgeopt bundle keygen KEY` makes a private key, KEY, and a public one, KEY.pub. `bundle RUN --sign KEY`
signs; `bundle verify BUNDLE --key KEY.pub` refuses what that key did not sign, unsigned bundles too. Keys are
PEM files of Ed25519 without a passphrase, and nobody but you may read the private one. Keep it off the
devices. All this needs the package cryptography: `pip install '.[sign]'` in the checkout of edgeopt.""",
    "E142": """A bundle is not as its manifest says.

A file was changed, is missing, was added, or has a name that leaves the bundle; a zip is cut short, is
compressed, or has something between its entries. Nothing of it was loaded or run. Get it again, or make it
anew.""",
    "E143": """The self-test of a bundle failed.

The files are whole, but the model answers its own test texts otherwise than where it was packed, or does not
load. Another version of ONNX Runtime, or a processor on which int8 sums overflow, can be the reason: measure
the run there, or quantize with `reduce_range`. `bundle --tolerance` says how far a logit may be off.""",
    "E144": """The run cannot be bundled.

A bundle serves tasks with one output a query (text-classification, text-regression, coreference) from a file
that ONNX Runtime opens. It holds texts to test itself by: rows of the report split, which must still be where
the recipe has them, or your own.

    edgeopt bundle runs/mine --texts texts.jsonl""",
    "E145": """The device, or the way to it, does not fit; nothing was copied.

The address is wrong, ssh cannot reach the device, or it lacks something: Python 3.10, onnxruntime,
tokenizers, numpy, disk, or an instruction that the target names under `instructions`. Without that one the
model would be slow or wrong there: bundle a run for a target that does not name it. Or the folder has a
`current` or a `history.json` that no ship made, which is never replaced. `edgeopt ship --dry-run` looks at
all of this and copies nothing.""",
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

recipe.lock holds the SHA-256 of the model, of the predictions and of everything else that was measured;
report.json holds that of recipe.lock and of its own content. A run of which one byte has changed is
refused, because its verdict would be about something else. Copy the folder again from where it was made,
or apply the recipe again: what is in the store is not built anew. Nothing may be put into `model/`
either: change a copy of that folder, and `edgeopt gate COPY --recipe FILE` measures that.""",
    "E151": """The rows that a run was measured on are not to be found.

Without --recipe, `edgeopt gate RUN/model`, `baseline RUN/model` and `bundle RUN` take the rows of the run:
where its recipe stood when it was applied, or beside the run as they lay then, where the tree was moved
as a whole; files where they were files, the hub's where they were the hub's. Their fingerprint must be
the one in recipe.lock. Rows of the working directory, or others of the same name, are never taken.""",
    "E156": """A file of that name is there, and edgeopt did not write it.

`--junit`, and --out of `edgeopt compare` and `edgeopt baseline`, replace a file that the same command wrote
earlier, which they know by how it begins, and an empty one. Everything else may be somebody's only copy, so
it is left as it is. Give another name, or remove the file yourself.""",
    "E157": """A state in the store of finished steps is damaged.

Its state.json is not what edgeopt writes: cut off, changed, or another program's. `edgeopt cache ls` names
it, a plan shows the step as stale, and the next run builds it anew; `edgeopt cache gc` removes it.""",
    "E161": """A page cannot be made of this run.

`edgeopt page` shows one label or one score for a text or a pair of texts, so the task has to be
text-classification or text-regression; and it runs an ONNX file, so the first export of the recipe has to be
one that writes it, as `{format: onnx}` does.""",
    "E162": """npm is not installed.

The page's libraries, onnxruntime-web and the tokenizers, come from npm when the page is written, in the
versions and with the digests that are locked in edgeopt. npm comes with Node.js, from nodejs.org or the
system's packages (`apt install npm`, `brew install node`). The finished page needs neither.""",
    "E163": """The port for `edgeopt page --serve` cannot be used.

Another program listens there, or the system reserves it. `--port` takes another one; 0 takes any that is
free. The page is written in any case, and every other web server can serve its folder.""",
    "E201": """A step needs something that an earlier step took away.

Most often a step that trains stands behind one that works on the ONNX graph, from which there is no way
back to a torch module. Move it up:

    steps:
      - {id: prune, use: prune.magnitude, amount: 0.3}   # torch
      - {id: int8, use: quantize.dynamic}                # ONNX from here on

The lines under the message show which step takes the thing away and which needs it.""",
    "E202": """A step needs something that no step before it brings.

`merge` needs an adapter, `prune.magnitude` a trained head. Put the step that brings it before, for
example `adapter.lora` before `merge`, or `finetune` before `prune.magnitude`.""",
    "E203": """A step cannot work on a model that has something an earlier step brought.

An unmerged adapter must be merged before pruning, quantizing or export; an adapter that changes matrices
cannot be put on a pruned model, because merging it would fill the zeros; a graph is quantized once. An
in-graph adapter (prompt, prefix, bottleneck) cannot be merged: it is exported inside the graph, and steps
that change the weights stand above it. A base in NF4 becomes float again by merging. The help says which step
to move, to remove or to put between:

    - {id: adapt, use: adapter.lora}
    - {id: merge, use: merge}
    - {id: prune, use: prune.magnitude, amount: 0.2}""",
    "E204": """A model without a trained head stands where a trained one is needed.

Every figure is a comparison with an FP32 baseline, and the model of this recipe is a bare encoder, whose
head would be random. Say how the baseline is fine-tuned, and put a step that trains before the steps
that need it; or start from a model that is fine-tuned already:

    baseline: {finetune: {epochs: 3, learning_rate: 3.0e-5}}
    steps:
      - {id: tune, use: finetune, epochs: 3, learning_rate: 3.0e-5}""",
    "E205": """An exporter cannot take what the last step leaves, or a target cannot run what it writes.

It needs a fact that is not there, for example int8 weights; or it quantizes the float model itself, and the
last step trained the model in int8; or its file has fixed shapes, and the task's queries have further axes;
or the target names another `runtime`. Change the steps, or choose another export; `edgeopt exporters` says
what each converts.""",
    "E206": """A step or an exporter needs a package that is not installed here.

Some methods stand on packages that edgeopt does not install by itself, because they are large or do not
exist for every machine. edgeopt is on no package index: type these in its checkout.
`adapter.qlora` needs bitsandbytes:

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

A `teacher` is `baseline`, the id of a step that stands before this one in the recipe, or a checkpoint: a
folder, or a hub id with its owner (`google-bert/bert-base-uncased`, not `bert-base-uncased`, which would be
taken for a step). A later step is not there yet when this one trains.""",
    "E208": """A teacher or a student does not fit.

A teacher needs a trained head for the same classes in the same order. For the terms of layers (`hidden`,
`cosine`, `attention`, `values`) its tokens must be the student's, and its layers must be there and match: a
list in `match` has one of the teacher's layers for each of the student's, and attention is compared head by
head, unless `relation_heads` splits both into as many parts. Logits alone can be learned from a teacher with
another tokenizer, where the model answers once for a whole text. A student's checkpoint must make the same
tokens of the rows as the recipe's model, because both chains are timed on the same. What both tokenizers
make of the first 2,000 rows of each split says whether they do, before anything is computed; a vocabulary
alone does not say it. All rows that are timed are looked at again before they are.

`edgeopt gate` says the same of a candidate whose tokenizer makes other tokens than the baseline's.""",
    "E210": """session.json of a model's folder sets what edgeopt never sets.

It holds the options of ONNX Runtime that a graph was quickest with. Some options of the runtime write
files, load libraries or start as many threads as they are told, so a folder from elsewhere may set only
those that edgeopt chooses among: `disabled_optimizers`, `graph_optimization_level`,
`intra_op_num_threads` (256 at most), `enable_cpu_mem_arena`, `enable_mem_pattern`,
`session.intra_op.allow_spinning` and `session.force_spinning_stop`. The graph itself needs none of them:
without session.json the runtime's own options are taken.""",
    "E211": """A graph declares other tensors than its file has.

Before ONNX Runtime opens a graph that came from elsewhere, edgeopt looks at every tensor in it: the
shape that it declares must be that of the bytes it has, values that are kept beside the graph must be in
its own folder and as many as declared, and no operator may make a tensor of more than 2^28 elements out
of a constant shape. A damaged file fails there, and so does one that was made to take all memory or to
read other files.""",
    "E212": """ONNX Runtime cannot answer a query with this graph.

The graph opened, and then an operator failed on a row (an index outside a table, shapes that do not fit,
more memory than four times the graph and 8 GB), or one row took more than ten minutes, as in a loop that
does not end. The message is the runtime's. Export the model again, and see that the tokenizer beside it
is its own.""",
    "E301": """A data file or dataset folder is not there, or it is not clear which file is meant.

Paths are absolute or relative to the recipe, not to the working directory. A folder must hold one train
file (train.jsonl, .json, .csv, .tsv, .parquet or .conll) and one validation or test file; where the names are
others, name the files:

    dataset: {data_files: {train: a.csv, validation: b.csv}}""",
    "E302": """A data file is malformed.

The place names the line. JSON Lines has one whole object a line; a JSON file may also be one list of
objects. CSV has a header, the same number of cells in each row, and quotes round a cell that holds the
separator. TSV is read as GLUE's files are, where a quotation mark is part of the text, unless the whole
file is quoted as a csv writer (pandas) quotes it. A conll file is one of CoNLL-2012, with a #begin and an
#end line round each document and mentions that end in the sentence they begin in. Each of them may be
compressed by gzip (.gz). Other formats are not read.""",
    "E303": """A column that the task names is not in the data.

`task.text` and `task.label` must be column names, written exactly as in the file's header. The place is
the key in the recipe, or, where only a later row lacks the column, that row. The help lists the columns.
Where the header of a csv file came out as one column, another character stands between:
`task.dataset.delimiter: ";"`.

    task: {text: [sentence1, sentence2], label: label}

The same holds for the columns in `task.slices`.""",
    "E304": """A cell does not hold what the task expects.

A text is empty or not a text; a label is empty, not one of the classes of the train split, or not a
finite number in a regression. The place names the row. Labels are compared as values: 1, 1.0, "1.0" and
true are one class, in whichever file they stand; 007 is a word. A number stands for a named class only
where the order of the names is stated (task.labels, or a dataset of the hub). More than 1,000 different
labels, of fewer than two rows each, are most likely no classes: name another column, list the classes in
task.labels, or use `type: text-regression`. Several labels for one row (multi-label) are a task that
edgeopt does not have yet. For coreference a row holds a document: a list of sentences, each {words:
[text, …], coref_spans: [[entity, first, last], …]}.""",
    "E305": """A split is missing or empty, or train has one class only.

There must be a train split and one to report on: validation, else test, or the one that `task.report`
names. Figures are never measured on train. Where there is one file alone, `split` draws rows from it:

    dataset: {data_files: {train: reviews.csv}, split: {validation: 0.1, seed: 0}}

A row of coreference is a pair of gold mentions: a file whose last column (or coref_spans) marks none has
no rows.""",
    "E306": """A data file is not UTF-8 text.

The place names the line and the byte. Convert the file, for example from Latin-1:

    iconv -f latin1 -t utf-8 old.csv > new.csv""",
    "E308": """The model folder does not exist, or is a file.

`model.id` is a folder in transformers' format (absolute, or relative to the recipe) or a hub id such as
google/electra-small-discriminator. It is taken for a path when such a folder exists, when it starts with
`.`, `/` or `~`, or when it has more than one slash.""",
    "E309": """The model folder lacks config.json or model.safetensors.

edgeopt reads weights from safetensors alone, and from the hub it downloads nothing else. A model that
exists only in an older format is saved anew once, with transformers, and given as a folder:

    from transformers import AutoModel, AutoTokenizer
    AutoModel.from_pretrained("NAME").save_pretrained("folder")
    AutoTokenizer.from_pretrained("NAME").save_pretrained("folder")

For a model that is fine-tuned already, use AutoModelForSequenceClassification, which keeps its head.""",
    "E310": """The model has pickled weights only.

A pickle can run any code when it is read, so edgeopt never reads one, whether it lies in the folder or
an index of weights names it. Where you trust the file, save the model as safetensors with transformers;
`edgeopt explain E309` shows the lines.""",
    "E311": """The tokenizer is missing, damaged, or does not belong to the model.

A state carries tokenizer.json, so that a device can tokenize without transformers. Save it into the
model's folder:

    from transformers import AutoTokenizer
    AutoTokenizer.from_pretrained("NAME").save_pretrained("folder")

From vocab.txt, vocab.json with merges.txt, or a SentencePiece model alone one is made (the last needs
sentencepiece: `pip install '.[sentencepiece]'` in the checkout) and compared with those files on the
rows. A tokenizer that fails on a text, as without its word for unknown ones, or makes no tokens of it, is
not that of a model: an encoder's puts special tokens around each text. A token
without a row among the model's embeddings belongs to another model, or was added without
`model.resize_token_embeddings(len(tokenizer))`.""",
    "E312": """The model or the dataset cannot be had from the hub.

The name is misspelled, the thing is private, or the hub cannot be reached from here; the message ends in
what the hub's library said. Local copies need no network:

    edgeopt apply recipe.yaml --set model.id=FOLDER --set task.dataset.path=FOLDER""",
    "E313": """The model brings code of its own.

Its config.json has an `auto_map`, which asks for Python code to be downloaded and run. edgeopt never
does that. Use a model of a family that transformers itself has.""",
    "E314": """The model is not of an encoder family that edgeopt knows.

It must know where the layers, the attention matrices and the head are. The message lists the families.
Some tasks take fewer families: summarization needs one that transformers has a decoder of, which
DistilBERT and MPNet have not, and it alone takes a pair of encoder and decoder, of those families.
Other decoders are not among them.""",
    "E315": """A file of the model is damaged or does not fit the others.

A weights file that was cut short, an index that names files outside the folder, a config.json that is
not JSON or promises weights that are not there. Copy or download the model again.""",
    "E316": """The model's head is of another kind, or has another number of outputs, than the data needs.

A head with one output gives a score, as cross-encoders do: `task.type: text-regression`. A head of
multi_label_classification says yes or no for each class, which no task of edgeopt does.
Start from the bare encoder, whose head is made anew, or give the data that the head was trained for. If
the data has fewer classes than the task, list all of them in `task.labels`.""",
    "E317": """The folder holds an adapter.

adapter_config.json makes transformers load another model, wherever its base_model_name_or_path leads,
and put the adapter on it. edgeopt never follows it. Merge the adapter into its base once:

    from peft import PeftModel
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    base = AutoModelForSequenceClassification.from_pretrained("BASE", num_labels=2)
    PeftModel.from_pretrained(base, "ADAPTER").merge_and_unload().save_pretrained("folder")
    AutoTokenizer.from_pretrained("BASE").save_pretrained("folder")

Or give the base as `model.id` and train an adapter with one of the adapter.* steps. Where the folder has
a model of its own besides, take adapter_config.json out of it, if the model alone is meant.""",
    "E318": """The classes of the rows are not those of the model's trained head, or nothing says which is which.

A trained head's outputs have an order, and id2label in the checkpoint's config.json says which class each
is. That order is kept, whatever the alphabet says; numbers in the rows are numbers of outputs. Names like
LABEL_0 say nothing: with words in the rows, state `task.labels` in the order of the head's outputs. So, too,
where the rows spell the classes otherwise. Against names that the head has, `task.labels` may not put them
in another order. Where the head is of another task, start from the bare encoder. The same holds for
`edgeopt gate` on a finished model, whose rows need not have every class, and for teachers (E208).""",
    "E319": """The checkpoint has weights that no module of the model takes.

transformers would drop them and compute something else than what was trained: a BERT with
`position_embedding_type: relative_key`, which transformers 5 has no more, loses its distances that way. What
may be dropped is known: heads of pretraining and of other tasks (cls, lm_head, generator_predictions and
the like), a pooler that the task's head does not read, and numbers that the model counts up itself
(position_ids). Use another checkpoint, or one saved by a version of transformers that has these modules'
successors.""",
    "E320": """Files of the tokenizer say different things.

tokenizer.json is used as it is, by training, measuring and serving. Where tokenizer_config.json states
something else (do_lower_case, strip_accents, tokenize_chinese_chars, add_prefix_space, a token's number)
and a row comes out with other ids, only you can know how the model was trained: change the one that is
wrong. The lines show the first such row and where its ids part. A folder with vocab.txt alone that has
words with capitals must state do_lower_case. A tokenizer that was made from older files is compared with
them on the rows in the same way.""",
    "E321": """The tokenizer is to cut long texts at their beginning.

`truncation_side: left` in tokenizer_config.json, or `"direction": "Left"` of the truncation in
tokenizer.json, keeps the end of a text that is longer than the model reads. edgeopt trains, measures and
serves, on a device and in the browser too, with texts that lose their end. If the model was trained so,
write "right"; if it was trained on ends of texts, cut the texts of the data, and those that it will be
asked, before.""",
    "E327": """Rows have no label: it is -1.

SNLI marks with -1 the rows that its annotators did not agree on, and the hub hides the labels of test
splits behind it. Trained or measured as a class of its own it makes every figure wrong. Say that such
rows are left out, and how they are marked:

    task: {missing_label: -1}

They are counted, and the report says how many. Where -1 is a class, name all classes:

    task: {labels: ["-1", "1"]}

Where a whole split is -1, report on another: `task.report: validation`.""",
    "E328": """Rows of the report split stand in train, and `task.leaks: refuse` forbids it.

A model may know the answers of rows that it was trained on, so what is measured on them says little of
others. Texts that differ in case, spaces and punctuation alone count as one. Take the rows out of one of
the two files, or let `task.leaks: drop` leave them out of the report split. With `task.leaks: report`,
the default, they are counted and said.""",
    "E329": """RANK or WORLD_SIZE is not a number that a launcher sets.

`accelerate launch` and torchrun tell each process by these environment variables which of how many it is:
WORLD_SIZE is 1 or more, and RANK is less. Something else has set them here. Without a launcher take them
out: unset RANK WORLD_SIZE LOCAL_RANK MASTER_ADDR MASTER_PORT.""",
    "E401": """A step failed in a way that edgeopt has no better words for.

The message has the library's own words. A step, a plugin or a library that would have ended the process
has failed too. If the recipe looks right, this is a defect: report it with the recipe, everything on
stderr, and the output of `edgeopt doctor`.""",
    "E402": """A step changed nothing.

Its output holds the weights that it was given, so the report would credit it with nothing or hide a
mistake: an adapter left at zero because the training was too short, an amount that rounds to no weight,
a scope with nothing to quantize. Give it parameters that do something, or remove it.""",
    "E403": """A step did not do what it declared, or undid what an earlier one did.

After each step edgeopt looks into the files: the files of a torch module or a graph are there or gone,
zeros are still zeros, the int8 weights are there; and a metric lies within its range. With edgeopt's own
transforms and tasks this is a defect: report it with the recipe. With one of your own, its contract or its
`apply` is wrong, or the task's `measure` or `ranges`; `edgeopt.testing` has tests that say which.""",
    "E404": """The model before and after does not compute the same.

The export to ONNX is compared with torch, and a merge with the adapter it folds in, on real rows of
several lengths. They differ by more than rounding can explain, so nothing built on it could be trusted.
This is a defect of edgeopt or of a library: report it with the recipe.""",
    "E405": """The disk is full.

Nothing half-written is left. Free space and type the same command again; finished steps are kept.

    edgeopt cache ls
    edgeopt cache gc --older-than 30""",
    "E406": """The memory was not enough.

Lower `batch_size` (and raise `gradient_accumulation` by as much, which keeps the result nearly the
same), lower `task.max_length`, or set `gradient_checkpointing: true`. `edgeopt doctor recipe.yaml`
estimates what a recipe needs.""",
    "E407": """Training diverged: the loss or a weight is not a number.

Lower `learning_rate`, raise `warmup_ratio`, or set `precision: fp32`. Usual rates are 1e-5 to 1e-4 for
full fine-tuning (up to 3e-4 for small ELECTRA models) and 1e-4 to 1e-3 for LoRA.""",
    "E408": """The adapter does not fit the model.

Either pruning cut away what it stands on: prefix tuning needs as many heads in every layer, an adapter of
the attention some head that is left, and NF4 on a CPU rows of whole blocks. Or its target modules are not
there: `target_modules` takes `attention`, `all-linear`, or names of linear layers as transformers has them
in this family; the help lists them.

    target_modules: [query, value]        # BERT
    target_modules: [q_lin, v_lin]        # DistilBERT""",
    "E409": """The process that measures latency failed.

Latency, cold start and memory are measured in processes of their own. An exit status below zero is a
signal: -9 most often means that the system ran out of memory, -15 that something stopped it. Type the
same command again; only the measuring is done anew.""",
    "E410": """An exporter's library could not convert the model.

The message is the library's; `export: auto` goes on without such a format. The steps are kept: leave the
format out of `export`, or give it other options, and type the same command again.""",
    "E411": """A graph is not whole.

A graph of more than 2 GB has its weights in a file beside it (ONNX's external data): model.onnx_data beside
model.onnx. Every file that the graph names must be there, as long as the graph says, in the graph's own
folder, and no link. Copy the folder again, with all of its files, or export the model again.""",
    "E416": """npm could not bring the page's libraries.

What npm said is in the message: mostly that it does not reach its registry, or that a package is not the one
whose digest is locked. Once they have been fetched, npm's cache will do without a network.""",
    "E420": """The connection to the device was lost, or the device refused a step.

What was current on the device still is. Type the same command again: what has arrived is kept, checked, and
not sent again. Where another ship to the same folder is at work, wait for it.""",
    "E421": """The self-test failed on the device.

The bundle arrived whole, but its model answers its own test texts otherwise there, or does not load. It was
removed again, and what was current still is. The usual reason is a processor on which int8 sums overflow
(quantize with `reduce_range`) or another version of ONNX Runtime.""",
    "E422": """The registry or hub could not be reached, or refused the push.

The message has what its client said, without your token. Look at the address, at the token (HF_TOKEN, or
what `hf auth login` keeps; MLFLOW_TRACKING_TOKEN) and whether it may write there, and at the connection. A
push is one commit, or one version: it is there whole, or not at all. Type the same command again.""",
    "E900": """A defect of edgeopt itself.

Something happened that nobody foresaw. What was finished is kept. Type the same command with EDGEOPT_DEBUG=1
in front to see the whole trace, and report it with the recipe.""",
}
