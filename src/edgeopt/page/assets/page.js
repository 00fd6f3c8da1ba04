// What is typed goes to the model, and what it answers is drawn. Texts may also stand in the address: #text=…&pair=…
import { Model, read } from "./model.js";

const SHOWN = 10; // bars at most
const PAUSE = 250; // ms without a key before the model is asked

const $ = (id) => document.getElementById(id);
const fields = [...document.querySelectorAll("textarea")];

export async function start(fail) {
  const response = await fetch("page.json");
  if (!response.ok) throw new Error(`page.json: ${response.status} ${response.statusText}`);
  const about = await response.json();
  const arrived = progress(about.bytes);
  const [model, search] = await Promise.all([Model.load(about, arrived), searching(about.search, arrived)]);
  await model.ask(fields.map(() => "")); // the first answer takes longer
  $("loading").hidden = true;

  let turn = 0;
  async function answer() {
    const texts = fields.map((field) => field.value);
    const mine = ++turn;
    const ready = texts.every((text) => text.trim());
    $("ask").disabled = !ready;
    if (!ready) {
      $("result").hidden = true;
      document.body.dataset.state = "ready";
      return;
    }
    document.body.dataset.state = "asking";
    await new Promise((resume) => setTimeout(resume)); // draw, and let newer keys in
    if (mine !== turn) return;
    const from = performance.now();
    const found = await model.ask(search ? texts.map((text) => search.reads(text)) : texts);
    const nearest = search?.nearest(found.logits);
    const took = performance.now() - from;
    if (mine === turn) show(about, found, took, model.threads, nearest && search.drawn(nearest));
  }
  const ask = () => answer().catch((error) => fail(`The model could not be run: ${error.message}`));

  let waiting;
  for (const field of fields) {
    field.addEventListener("input", () => {
      $("ask").disabled = fields.some((each) => !each.value.trim());
      clearTimeout(waiting);
      waiting = setTimeout(ask, PAUSE);
    });
  }
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(waiting);
    ask();
  });
  addEventListener("hashchange", () => fill() && ask());
  fill();
  await ask();
}

/** What searches passages, on a page that has some. */
async function searching(about, arrived) {
  if (!about) return null;
  const { Search } = await import("./search.js");
  return Search.load(about, (path) => read(path, arrived));
}

/** Texts of the address into the fields. */
function fill() {
  const given = new URLSearchParams(location.hash.slice(1));
  const values = ["text", "pair"].slice(0, fields.length).map((name) => given.get(name));
  values.forEach((value, i) => value !== null && (fields[i].value = value));
  return values.some((value) => value !== null);
}

function progress(total) {
  let loaded = 0;
  const mb = (bytes) => (bytes / 1e6).toFixed(1);
  $("progress").max = total;
  return (count) => {
    loaded += count;
    $("progress").value = loaded;
    $("loaded").textContent = loaded < total ? `Loading the model: ${mb(loaded)} of ${mb(total)} MB` : "Starting the model …";
  };
}

function show(about, { logits, cut, tokens, windows }, took, threads, passages) {
  $("bars").replaceChildren();
  $("answer").hidden = Boolean(passages);
  if (passages) {
    $("bars").append(passages);
  } else if (about.regression) {
    $("answer").textContent = logits[0].toFixed(3);
  } else {
    const shares = softmax(logits);
    const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
    $("answer").textContent = about.labels[order[0]];
    $("bars").append(...order.slice(0, SHOWN).map((i) => bar(about.labels[i], shares[i])));
    if (order.length > SHOWN) $("bars").append(element("p", "muted", `and ${order.length - SHOWN} more labels`));
  }
  const read = `${tokens} tokens${windows > 1 ? ` in ${windows} windows` : ""}${cut ? `, the rest was cut off` : ""}`;
  $("facts").textContent = `${took.toFixed(1)} ms · ${read} · ${threads} ${threads > 1 ? "threads" : "thread"}`;
  Object.assign($("result").dataset, { logits: JSON.stringify(logits), took });
  $("result").hidden = false;
  $("error").hidden = true;
  document.body.dataset.state = "answered";
}

function softmax(logits) {
  const top = Math.max(...logits);
  const powers = logits.map((x) => Math.exp(x - top));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((x) => x / sum);
}

function bar(label, share) {
  const track = element("div", "track");
  const fill = element("div", "fill");
  fill.style.width = `${100 * share}%`;
  track.append(fill);
  const row = element("div", "bar");
  row.append(element("span", "name", label), track, element("span", "share", `${(100 * share).toFixed(1)} %`));
  return row;
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
