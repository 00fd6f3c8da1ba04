// Texts to model inputs, as edgeopt.tasks.encode has them: no padding, cut to a length or read in windows.

/** What the longest-first strategy of the tokenizers library leaves of two texts of those lengths. */
function longestFirst(first, second, room) {
  if (first + second <= room) return [first, second];
  let [short, long] = first <= second ? [first, second] : [second, first];
  long = short > room ? short : Math.max(short, room - short);
  if (short + long > room) {
    short = Math.floor(room / 2);
    long = short + (room % 2);
  }
  return first <= second ? [short, long] : [long, short];
}

/** Pieces of at most `room` tokens, neighbors sharing `stride` of them. */
function windows(tokens, room, stride) {
  const pieces = [];
  for (let start = 0; ; start += room - stride) {
    pieces.push(tokens.slice(start, start + room));
    if (start + room >= tokens.length) return pieces;
  }
}

export class Encoder {
  /** tokenizer: of @huggingface/tokenizers. stride: tokens that windows share, null where long texts are cut. */
  constructor(tokenizer, maxLength, stride) {
    Object.assign(this, { tokenizer, maxLength, stride });
    // tokenizers gives both texts 0 there, its port to the browser 0 and 1
    this.numbered = tokenizer.tokenizer.post_processor?.type !== "RobertaProcessing";
  }

  /** {queries, cut}: inputs of each query of one or two texts, by name; whether tokens were left out. */
  encode(texts) {
    const [first, second = null] = texts.map((text) => this.tokenizer.tokenize(text));
    const room = this.maxLength - this._whole([], second && []).tokens.length;
    const left = second && this.stride !== null ? room - first.length : room;
    if (this.stride !== null && left > this.stride) {
      const pieces = windows(second ?? first, left, this.stride);
      return { queries: pieces.map((piece) => (second ? this._query(first, piece) : this._query(piece, null))), cut: false };
    }
    const [one, two] = longestFirst(first.length, second?.length ?? 0, room);
    const query = this._query(first.slice(0, one), second && second.slice(0, two));
    return { queries: [query], cut: one < first.length || two < (second?.length ?? 0) };
  }

  /** With the special tokens and the number of the text that each token is of. */
  _whole(first, second) {
    const processor = this.tokenizer.post_processor;
    return processor ? processor(first, second, true) : { tokens: [...first, ...(second ?? [])] };
  }

  _query(first, second) {
    const { tokens, token_type_ids } = this._whole(first, second);
    const ids = tokens.map((token) => this.tokenizer.token_to_id(token) ?? this.tokenizer.model.unk_token_id);
    const zeros = ids.map(() => 0);
    return { input_ids: ids, attention_mask: ids.map(() => 1), token_type_ids: (this.numbered && token_type_ids) || zeros };
  }
}
