// Passages in the order of their cosine to a query. Their embeddings were computed when the page was written.
const SHOWN = 10; // passages at most
const WHOLE = 400; // letters of a passage that are shown at once

export class Search {
  /** about: page.json's `search`. read(path): the bytes of a file. */
  static async load(about, read) {
    const [texts, vectors] = await Promise.all([about.passages, about.vectors].map(read));
    return new Search(about, JSON.parse(new TextDecoder().decode(texts)), new Float32Array(vectors.buffer));
  }

  constructor(about, passages, vectors) {
    Object.assign(this, { about, passages, vectors });
  }

  /** A query as the tokenizer is given it. */
  reads(text) {
    const whole = (this.about.prompt + text).trim();
    return this.about.lower ? whole.toLowerCase() : whole;
  }

  /** [{number, cosine}] of the nearest passages, the nearest first; of equal ones the first. */
  nearest(query) {
    const { vectors, passages } = this;
    const width = query.length;
    const length = Math.hypot(...query) || 1;
    const found = passages.map((_, number) => {
      let sum = 0;
      for (let i = 0, at = number * width; i < width; i++, at++) sum += query[i] * vectors[at];
      return { number, cosine: sum / length };
    });
    return found.sort((a, b) => b.cosine - a.cosine || a.number - b.number).slice(0, SHOWN);
  }

  /** What the nearest passages look like. */
  drawn(found) {
    const list = document.createElement("ol");
    list.className = "passages";
    list.append(...found.map(({ number, cosine }) => this._item(this.passages[number], number, cosine)));
    return list;
  }

  _item(text, number, cosine) {
    const item = document.createElement("li");
    item.dataset.number = number;
    const score = document.createElement("span");
    score.className = "share";
    score.textContent = cosine.toFixed(3);
    item.append(score, text.length > WHOLE ? folded(text) : said("p", text));
    return item;
  }
}

/** A long passage, of which the rest is shown on demand. */
function folded(text) {
  const end = text.lastIndexOf(" ", WHOLE);
  const at = end > WHOLE / 2 ? end : WHOLE;
  const details = document.createElement("details");
  details.append(said("summary", `${text.slice(0, at)} …`), said("p", text.slice(at).trim()));
  return details;
}

function said(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}
