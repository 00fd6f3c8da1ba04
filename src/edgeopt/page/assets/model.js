// The model: loaded with what it needs, and asked.
import { Tokenizer } from "./lib/tokenizers.js";
import * as ort from "./lib/ort.js";
import { Encoder } from "./encode.js";

const MAX_THREADS = 4;

/** The bytes of a file. onBytes(count): called as they arrive. */
export async function read(path, onBytes) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path} could not be loaded: ${response.status} ${response.statusText}`);
  const chunks = [];
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) return new Uint8Array(await new Blob(chunks).arrayBuffer());
    chunks.push(value);
    onBytes(value.length);
  }
}

export class Model {
  /** about: page.json. onBytes(count): called as bytes arrive, of about.bytes in all. */
  static async load(about, onBytes) {
    const paths = ["lib/ort.wasm", about.graph, "tokenizer.json", ...about.weights];
    const [wasm, graph, tokenizer, ...weights] = await Promise.all(paths.map((path) => read(path, onBytes)));
    // threads share memory, which browsers allow on isolated pages alone
    ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MAX_THREADS) : 1;
    ort.env.wasm.wasmBinary = wasm;
    ort.env.wasm.wasmPaths = { mjs: new URL("lib/ort-wasm.js", document.baseURI).href };
    const session = await ort.InferenceSession.create(graph, {
      executionProviders: ["wasm"],
      externalData: about.weights.map((path, i) => ({ path, data: weights[i] })),
    });
    const json = JSON.parse(new TextDecoder().decode(tokenizer));
    return new Model(new Encoder(new Tokenizer(json, {}), about.max_length, about.stride), session, about.output);
  }

  constructor(encoder, session, output) {
    Object.assign(this, { encoder, session, output, threads: ort.env.wasm.numThreads });
  }

  /** The outputs for one or two texts (the mean of its windows'), how many tokens were read, whether some were left out. */
  async ask(texts) {
    const { queries, cut } = this.encoder.encode(texts);
    const answers = [];
    for (const query of queries) {
      const feeds = Object.fromEntries(this.session.inputNames.map((name) => [name, tensor(query[name])]));
      answers.push(Array.from((await this.session.run(feeds, [this.output]))[this.output].data));
    }
    const logits = answers[0].map((_, i) => answers.reduce((sum, each) => sum + each[i], 0) / answers.length);
    return { logits, cut, tokens: queries.reduce((sum, query) => sum + query.input_ids.length, 0), windows: queries.length };
  }
}

function tensor(ids) {
  return new ort.Tensor("int64", BigInt64Array.from(ids, BigInt), [1, ids.length]);
}
