// A grown model in the reader's browser: tokenizer and forward pass in plain JavaScript, with every head's output and
// pattern, and the residual stream, at hand. Nothing is computed elsewhere and nothing that is typed leaves the page.
//
//   const model = await SuccessorHeads.load(share => …);        // share of the weights that has come, 0 to 1
//   const run = model.run(model.encode(" Monday, Tuesday,"));    // run.logits, run.patterns[1][2], run.streams[4]
//
// Row vectors throughout: a linear layer is x @ W.T + b with W as it is stored, [out, in]. Weights are those of the
// shipped safetensors file, in half precision there and in single precision here; sums are taken in double.
Object.assign((window.SuccessorHeads ??= {}), (function () {
  "use strict";
  // Data is brought by script tags, one a piece: a page that is opened from a folder may not fetch files, and pieces
  // are what a progress bar can count. They lie beside this script.
  const HERE = document.currentScript.src.replace(/[^/]*$/, "");
  const ROPE_BASE = 10000;

  // --- what is brought -------------------------------------------------------------------------------------------

  function bring(name) {
    return new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = HERE + "data/" + name;
      script.onload = () => { script.remove(); resolve(); };
      script.onerror = () => { script.remove(); reject(new Error(`${name} could not be read`)); };
      document.head.append(script);
    });
  }

  const received = { about: null, piece: null }; // filled in by the scripts that are brought

  function bytesOf(base64) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  let loading = null;
  const listeners = new Set();

  /* The model; brought once a page, whoever asks. Raises an Error that says what could not be read; asking again tries again. */
  function load(onProgress) {
    if (onProgress) listeners.add(onProgress);
    if (!loading) loading = bringAll().catch((error) => { loading = null; throw error; });
    return loading.finally(() => listeners.delete(onProgress));
  }

  async function bringAll() {
    await bring("about.js");
    const about = received.about, bytes = new Uint8Array(about.bytes);
    let filled = 0;
    for (const name of about.pieces) { // one after the other, so that only one piece is in memory twice
      await bring(name);
      const piece = bytesOf(received.piece);
      received.piece = null;
      bytes.set(piece, filled);
      filled += piece.length;
      for (const tell of listeners) tell(filled / bytes.length);
    }
    if (filled !== bytes.length) throw new Error(`${filled} of ${bytes.length} bytes came`);
    return new Model(about, tensorsOf(bytes));
  }

  /* Tensors of a safetensors file in half precision: {name: {shape, values}}. */
  function tensorsOf(bytes) {
    const single = new Float32Array(65536); // every half-precision number there is
    for (let half = 0; half < 65536; half++) {
      const sign = half >> 15 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
      single[half] = sign * (exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15));
    }
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    delete header.__metadata__;
    const tensors = {};
    for (const [name, { dtype, shape, data_offsets: [start, end] }] of Object.entries(header)) {
      if (dtype !== "F16") throw new Error(`${name} is ${dtype}, and F16 is what this page reads`);
      const halves = new Uint16Array(bytes.buffer, 8 + length + start, (end - start) / 2);
      const values = new Float32Array(halves.length);
      for (let i = 0; i < halves.length; i++) values[i] = single[halves[i]];
      tensors[name] = { shape, values };
    }
    return tensors;
  }

  // --- the tokenizer: byte pairs, as GPT-NeoX's -------------------------------------------------------------------

  // The tokenizer file's own expression; what it calls white space is Unicode's, which JavaScript's \s is not quite.
  const WORDS = /'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}{1,3}| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

  /* The letter that stands for each byte in the vocabulary: itself where it can be seen, else one from 256 on. */
  function lettersOfBytes() {
    const letters = [];
    for (let byte = 0, next = 256; byte < 256; byte++) {
      const seen = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
      letters.push(String.fromCharCode(seen ? byte : next++));
    }
    return letters;
  }

  class Tokenizer {
    constructor({ vocabulary, merges, end }) {
      this.words = vocabulary;
      this.end = end; // the text of the token that ends a document, which is never split
      this.ids = new Map(vocabulary.map((word, id) => [word, id]));
      this.ranks = new Map(merges.map((pair, rank) => [pair, rank]));
      this.letters = lettersOfBytes();
      this.bytes = new Map(this.letters.map((letter, byte) => [letter, byte]));
    }

    encode(text) {
      const ids = [];
      text.split(this.end).forEach((part, place) => {
        if (place) ids.push(this.ids.get(this.end));
        for (const [word] of part.matchAll(WORDS)) ids.push(...this.pieces(word));
      });
      return ids;
    }

    /* Tokens of one word: the pair that was merged first in training is merged first here, until none is left. */
    pieces(word) {
      let parts = Array.from(new TextEncoder().encode(word), (byte) => this.letters[byte]);
      while (parts.length > 1) {
        let best = Infinity, pair = null;
        for (let i = 0; i + 1 < parts.length; i++) {
          const rank = this.ranks.get(parts[i] + " " + parts[i + 1]);
          if (rank < best) [best, pair] = [rank, [parts[i], parts[i + 1]]];
        }
        if (pair === null) break;
        const merged = [];
        for (let i = 0; i < parts.length; i++) {
          if (parts[i] === pair[0] && parts[i + 1] === pair[1]) { merged.push(pair[0] + pair[1]); i++; } else merged.push(parts[i]);
        }
        parts = merged;
      }
      return parts.map((part) => this.ids.get(part));
    }

    decode(ids) {
      const bytes = ids.flatMap((id) => this.words[id] === this.end ? [...new TextEncoder().encode(this.end)] : Array.from(this.words[id], (letter) => this.bytes.get(letter)));
      return new TextDecoder().decode(new Uint8Array(bytes));
    }
  }

  // --- arithmetic -----------------------------------------------------------------------------------------------

  /* x @ W.T + b into `out`, for `rows` rows of x. Four outputs share each x that is read: nearly all of the time goes here. */
  function linear(x, rows, weight, bias, nIn, nOut, out) {
    for (let r = 0, x0 = 0, y = 0; r < rows; r++, x0 += nIn, y += nOut) {
      let o = 0;
      for (; o + 3 < nOut; o += 4) {
        const w0 = o * nIn, w1 = w0 + nIn, w2 = w1 + nIn, w3 = w2 + nIn;
        let s0 = 0, s1 = 0, s2 = 0, s3 = 0;
        for (let i = 0; i < nIn; i++) {
          const v = x[x0 + i];
          s0 += v * weight[w0 + i]; s1 += v * weight[w1 + i]; s2 += v * weight[w2 + i]; s3 += v * weight[w3 + i];
        }
        out[y + o] = s0; out[y + o + 1] = s1; out[y + o + 2] = s2; out[y + o + 3] = s3;
      }
      for (; o < nOut; o++) {
        let sum = 0;
        for (let i = 0; i < nIn; i++) sum += x[x0 + i] * weight[o * nIn + i];
        out[y + o] = sum;
      }
      if (bias) for (o = 0; o < nOut; o++) out[y + o] += bias[o];
    }
    return out;
  }

  function layerNorm(x, rows, size, { weight, bias }, epsilon) {
    const out = new Float32Array(rows * size);
    for (let r = 0, start = 0; r < rows; r++, start += size) {
      let mean = 0, square = 0;
      for (let i = start; i < start + size; i++) mean += x[i];
      mean /= size;
      for (let i = start; i < start + size; i++) square += (x[i] - mean) ** 2;
      const divisor = Math.sqrt(square / size + epsilon);
      for (let i = 0; i < size; i++) out[start + i] = ((x[start + i] - mean) / divisor) * weight[i] + bias[i];
    }
    return out;
  }

  /* x times the normal distribution's share below x, to one part in ten million: Chebyshev's fit of erfc (Numerical Recipes, 6.2). */
  function gelu(x) {
    const z = Math.abs(x) * Math.SQRT1_2, t = 1 / (1 + 0.5 * z);
    const tail = 0.5 * t * Math.exp(-z * z - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 +
      t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277)))))))));
    return x * (x < 0 ? tail : 1 - tail);
  }

  function softmax(values) {
    const highest = values.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = Array.from(values, (value) => Math.exp(value - highest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  }

  // --- the model: GPT-NeoX, attention and MLP side by side ------------------------------------------------------

  class Model {
    constructor(about, tensors) {
      const { config } = about;
      this.about = about;
      this.tokenizer = new Tokenizer(about.tokenizer);
      Object.assign(this, { nLayers: config.num_hidden_layers, nHeads: config.num_attention_heads, dModel: config.hidden_size,
        dMlp: config.intermediate_size, dVocab: config.vocab_size, longest: config.max_position_embeddings, epsilon: config.layer_norm_eps });
      this.dHead = this.dModel / this.nHeads;
      this.dRotary = this.dHead * config.rope_parameters.partial_rotary_factor;
      const pair = (path) => ({ weight: tensors[path + ".weight"].values, bias: tensors[path + ".bias"].values });
      this.embedding = tensors["gpt_neox.embed_in.weight"].values;
      this.unembedding = tensors["embed_out.weight"].values;
      this.finalNorm = pair("gpt_neox.final_layer_norm");
      this.blocks = Array.from({ length: this.nLayers }, (_, layer) => {
        const of = (name) => pair(`gpt_neox.layers.${layer}.${name}`);
        return { norm: of("input_layernorm"), queryKeyValue: of("attention.query_key_value"), dense: of("attention.dense"),
          mlpNorm: of("post_attention_layernorm"), mlpIn: of("mlp.dense_h_to_4h"), mlpOut: of("mlp.dense_4h_to_h") };
      });
      this.inputs = new Map(); // of heads, for lists that were asked for
      this.means = about.means; // of every head's output at the end of the book's lists: [layer][head][d_head]
    }

    encode(text) { return this.tokenizer.encode(text); }
    text(id) { return this.tokenizer.decode([id]); }

    norm(x, rows, norm) { return layerNorm(x, rows, this.dModel, norm, this.epsilon); }

    embed(ids) { return this.rowsOf(this.embedding, ids); }

    rowsOf(table, ids) {
      const out = new Float32Array(ids.length * this.dModel);
      ids.forEach((id, row) => out.set(table.subarray(id * this.dModel, (id + 1) * this.dModel), row * this.dModel));
      return out;
    }

    /* What a block's MLP adds to the stream x, [row, d_model]. */
    mlp(layer, x, rows) {
      const { mlpNorm, mlpIn, mlpOut } = this.blocks[layer];
      const hidden = linear(this.norm(x, rows, mlpNorm), rows, mlpIn.weight, mlpIn.bias, this.dModel, this.dMlp, new Float32Array(rows * this.dMlp));
      for (let i = 0; i < hidden.length; i++) hidden[i] = gelu(hidden[i]);
      return linear(hidden, rows, mlpOut.weight, mlpOut.bias, this.dMlp, this.dModel, new Float32Array(rows * this.dModel));
    }

    /* Turn the first entries of a query or a key by angles that grow with its position. */
    rotate(values, start, position) {
      const half = this.dRotary / 2;
      for (let i = 0; i < half; i++) {
        const angle = position * ROPE_BASE ** (-i / half), cos = Math.cos(angle), sin = Math.sin(angle);
        const a = values[start + i], b = values[start + half + i];
        values[start + i] = a * cos - b * sin;
        values[start + half + i] = b * cos + a * sin;
      }
    }

    /* A forward pass over token ids.

       `off` are heads [layer, head] that write their mean at the last position; `push` is {position, vector}, added to
       the stream in front of block 1, where MLP0 has just written. `before` is an earlier run of this model: positions
       that are the same there are taken from it, so that one more word costs one position.

       Returns {ids, off, push, streams: [layer + 1] of [position, d_model], heads: [layer] of [position, d_model] with
       the heads' outputs side by side, patterns: [layer][head] of [query, key], logits at the last position}. */
    run(ids, { off = [], push = null, before = null } = {}) {
      const n = ids.length, { dModel, dHead, nHeads } = this;
      const run = { ids, off, push, streams: [], heads: [], patterns: [], keys: [], values: [], logits: null };
      const from = this.sameStart(run, before), rows = n - from;
      const carried = (kept, width) => { // an array for all positions, those that are known filled in
        const whole = new Float32Array(n * width);
        if (kept) whole.set(kept.subarray(0, from * width));
        return whole;
      };
      let stream = carried(before && before.streams[0], dModel);
      stream.set(this.embed(ids.slice(from)), from * dModel);
      for (let layer = 0; layer < this.nLayers; layer++) {
        if (layer === 1 && push && push.position >= from) {
          stream = stream.slice();
          for (let i = 0; i < dModel; i++) stream[push.position * dModel + i] += push.vector[i];
        }
        const { norm, queryKeyValue, dense } = this.blocks[layer], x = stream.subarray(from * dModel);
        const qkv = linear(this.norm(x, rows, norm), rows, queryKeyValue.weight, queryKeyValue.bias, dModel, 3 * dModel, new Float32Array(rows * 3 * dModel));
        const keys = carried(before && before.keys[layer], dModel), values = carried(before && before.values[layer], dModel);
        const heads = carried(before && before.heads[layer], dModel), queries = new Float32Array(rows * dModel);
        for (let r = 0; r < rows; r++) for (let h = 0; h < nHeads; h++) {
          const at = r * 3 * dModel + h * 3 * dHead, to = (from + r) * dModel + h * dHead; // each head's query, key and value, one after the other
          queries.set(qkv.subarray(at, at + dHead), r * dModel + h * dHead);
          keys.set(qkv.subarray(at + dHead, at + 2 * dHead), to);
          values.set(qkv.subarray(at + 2 * dHead, at + 3 * dHead), to);
          this.rotate(queries, r * dModel + h * dHead, from + r);
          this.rotate(keys, to, from + r);
        }
        const patterns = Array.from({ length: nHeads }, (_, h) => this.attend(h, { n, from, queries, keys, values, heads, kept: before && before.patterns[layer][h], keptLength: before && before.ids.length }));
        for (const [of, head] of off) if (of === layer) heads.set(this.means[layer][head], (n - 1) * dModel + head * dHead);
        const written = linear(heads.subarray(from * dModel), rows, dense.weight, dense.bias, dModel, dModel, new Float32Array(rows * dModel));
        const added = this.mlp(layer, x, rows), next = carried(before && before.streams[layer + 1], dModel);
        for (let i = 0; i < added.length; i++) next[from * dModel + i] = x[i] + written[i] + added[i];
        run.streams.push(stream);
        run.heads.push(heads);
        run.patterns.push(patterns);
        run.keys.push(keys);
        run.values.push(values);
        stream = next;
      }
      run.streams.push(stream);
      run.logits = this.unembed(stream.subarray((n - 1) * dModel));
      return run;
    }

    /* How many positions a run has in common with an earlier one. The last is always run anew: heads may be off there, in either. */
    sameStart(run, before) {
      if (!before) return 0;
      const shared = Math.min(run.ids.length, before.ids.length) - 1;
      let same = 0;
      while (same < shared && run.ids[same] === before.ids[same]) same++;
      const alike = (a, b) => a === b || (a && b && a.position === b.position && a.vector.every((value, i) => value === b.vector[i]));
      return alike(run.push, before.push) ? same : Math.min(same, ...[run.push, before.push].filter(Boolean).map((push) => push.position));
    }

    /* One head's pattern, [query, key]; what it reads goes into its columns of `heads`. */
    attend(head, { n, from, queries, keys, values, heads, kept, keptLength }) {
      const { dModel, dHead } = this, pattern = new Float32Array(n * n), scale = 1 / Math.sqrt(dHead), column = head * dHead;
      for (let q = 0; q < from; q++) pattern.set(kept.subarray(q * keptLength, q * keptLength + from), q * n);
      for (let q = from; q < n; q++) {
        const scores = new Float64Array(q + 1), query = (q - from) * dModel + column;
        for (let k = 0; k <= q; k++) {
          let sum = 0;
          for (let i = 0; i < dHead; i++) sum += queries[query + i] * keys[k * dModel + column + i];
          scores[k] = sum * scale;
        }
        const shares = softmax(scores);
        pattern.set(shares, q * n);
        for (let i = 0; i < dHead; i++) {
          let sum = 0;
          for (let k = 0; k <= q; k++) sum += shares[k] * values[k * dModel + column + i];
          heads[q * dModel + column + i] = sum;
        }
      }
      return pattern;
    }

    /* Logits of token ids, or of the whole vocabulary, from one row of the last stream. */
    unembed(stream, ids = null) {
      const normed = this.norm(stream, 1, this.finalNorm);
      if (!ids) return linear(normed, 1, this.unembedding, null, this.dModel, this.dVocab, new Float32Array(this.dVocab));
      return ids.map((id) => { let sum = 0; for (let i = 0; i < this.dModel; i++) sum += normed[i] * this.unembedding[id * this.dModel + i]; return sum; });
    }

    /* What a head adds to the stream when it hands z, [row, d_head], to the output projection; without the bias, which is no head's. */
    writes(layer, head, z, rows) {
      const { dModel, dHead } = this, { weight } = this.blocks[layer].dense, out = new Float32Array(rows * dModel);
      for (let r = 0; r < rows; r++) for (let d = 0; d < dModel; d++) {
        let sum = 0;
        for (let i = 0; i < dHead; i++) sum += z[r * dHead + i] * weight[d * dModel + head * dHead + i];
        out[r * dModel + d] = sum;
      }
      return out;
    }

    /* Direct effect of every head at the last position, [layer][head], as `direct_effects.on_answers` has it: by how much
       the answer's logit, or its lead over the mean of `rivals`, falls when what the head adds to the last stream is
       replaced by its mean, and the final norm is computed anew. */
    directEffects(run, answer, rivals = []) {
      const { dModel, dHead } = this, last = (run.ids.length - 1) * dModel, stream = run.streams[this.nLayers].subarray(last, last + dModel);
      const others = rivals.filter((id) => id !== answer);
      const lead = (values) => {
        const [logit, ...rest] = this.unembed(values, [answer, ...others]);
        return rest.length ? logit - rest.reduce((a, b) => a + b, 0) / rest.length : logit;
      };
      const intact = lead(stream);
      return run.heads.map((heads, layer) => this.means[layer].map((mean, head) => {
        const z = heads.subarray(last + head * dHead, last + (head + 1) * dHead);
        const written = this.writes(layer, head, z.map((value, i) => value - mean[i]), 1);
        return intact - lead(stream.map((value, i) => value - written[i]));
      }));
    }

    /* What a head reads of each token alone, [token, d_model], as `ov_circuit.head_input` has it. MLP0 of this family reads
       the embedding itself, beside attention 0, so "mlp0 after attention" is "mlp0". */
    headInput(ids, source) {
      const key = `${source} ${ids}`;
      if (!this.inputs.has(key)) this.inputs.set(key, this.readAlone(ids, source));
      return this.inputs.get(key);
    }

    readAlone(ids, source) {
      const embedded = this.embed(ids), rows = ids.length;
      if (source === "embedding") return embedded;
      const x = this.mlp(0, embedded, rows);
      if (source === "residual" || source === "block 0") for (let i = 0; i < x.length; i++) x[i] += embedded[i];
      if (source === "block 0") {
        const { norm, dense } = this.blocks[0], normed = this.norm(embedded, rows, norm);
        for (let head = 0; head < this.nHeads; head++) {
          const written = this.writes(0, head, this.reads(0, head, normed, rows, true), rows);
          for (let i = 0; i < x.length; i++) x[i] += written[i];
        }
        for (let i = 0; i < x.length; i++) x[i] += dense.bias[i % this.dModel];
      }
      return x;
    }

    /* x W_V of one head, [row, d_head]. */
    reads(layer, head, x, rows, withBias) {
      const { dModel, dHead } = this, { weight, bias } = this.blocks[layer].queryKeyValue, first = (head * 3 + 2) * dHead;
      return linear(x, rows, weight.subarray(first * dModel, (first + dHead) * dModel), withBias ? bias.subarray(first, first + dHead) : null, dModel, dHead, new Float32Array(rows * dHead));
    }

    /* The logits of `candidates` that a head writes on reading each of `ids`, [read][promoted], as `ov_circuit.effective_ov_logits` has it. */
    headMatrix(layer, head, ids, { candidates = ids, source = "mlp0", head_norm: headNorm = false, final_norm: finalNorm = false } = {}) {
      const rows = ids.length, columns = candidates.length;
      let x = this.headInput(ids, source);
      if (headNorm) x = this.norm(x, rows, this.blocks[layer].norm);
      let written = this.writes(layer, head, this.reads(layer, head, x, rows, headNorm), rows);
      if (finalNorm) written = this.norm(written, rows, this.finalNorm);
      const logits = linear(written, rows, this.rowsOf(this.unembedding, candidates), null, this.dModel, columns, new Float32Array(rows * columns));
      return ids.map((_, row) => logits.subarray(row * columns, (row + 1) * columns));
    }
  }

  return { load, softmax, receive: (name, value) => { received[name] = value; } };
})());
